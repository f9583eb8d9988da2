# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The command ``semgan``: one file a command, which holds arguments and messages only."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

# in the order of the help; each is a file of this folder with add_arguments(parser) and run(options)
COMMANDS = {
    "segment": "segment images or volumes",
    "evaluate": "segment the images of a list and score them against their labels",
    "check": "tell what is wrong with the images and labels of a datalist, before anything is trained",
    "new": "make a bundle for images and labels of your own",
    "train": "train a bundle: U-Net, generative model, encoder, student",
    "adapt": "let weights learn a new scanner or modality from images without labels",
    "calibrate": "find out how the confidence of masks tells their Dice, on labelled images",
    "synthesise": "write labelled samples of a generative model, to train other networks from",
    "label": "start a MONAI Label server for annotators",
    "demo": "let models draw images, and segment these",
    "table": "train and evaluate with several numbers of labels, and write the table",
    "benchmark": "measure the speed of training, refinement and generator",
}


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that names the option or command nearest to one that it does not know."""

    def error(self, message: str) -> NoReturn:
        """End the program; exit code 2."""
        # argparse lists the choices that there are
        wrong, _, choices = message.partition("(choose from")
        known = choices.strip(" )").replace("'", "").split(", ") if choices else list(self._option_string_actions)
        for word in wrong.replace("'", " ").split():
            near = difflib.get_close_matches(word.partition("=")[0], known, n=1)
            if near and near[0] != word and (choices or word.startswith("-")):
                message += f"; did you mean {near[0]}?"
                break
        super().error(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the command line; ``sys.argv`` by default.

    Returns:
        The exit code: 0 when all went well, 1 when something failed, 2 for a wrong command line, 130 when the user
        interrupted it.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = next((word for word in words if not word.startswith("-")), None)
    parser = Parser(prog="semgan", description="SemanticGAN for MONAI. Each command has a help of its own.")
    parser.add_argument("--version", action="store_true", help="tell the version and end")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for command, summary in COMMANDS.items():
        sub = commands.add_parser(
            command, help=summary, description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        # commands import torch and MONAI only when they run, and others not even their arguments
        if command == name or "_ARGCOMPLETE" in os.environ:
            importlib.import_module(f"monai_semgan.cli.{command}").add_arguments(sub)
    complete(parser)
    options, unknown = parser.parse_known_args(words)
    if options.version:
        from monai_semgan import __version__

        print(__version__)
        return 0
    if options.command is None:
        parser.print_help()
        return 2
    if unknown:
        commands.choices[options.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        say("loading torch and MONAI")
        return importlib.import_module(f"monai_semgan.cli.{options.command}").run(options) or 0
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        told = str(stopped) or "the same command goes on, of segment and evaluate with --resume"
        print(f"interrupted: {told}", file=sys.stderr)
        return 130


def complete(parser: argparse.ArgumentParser) -> None:
    """Let shells complete words, where argcomplete is installed."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def say(text: str) -> None:
    """Tell the user what takes time; nobody where standard error is no terminal."""
    # one of the processes that torchrun started
    if sys.stderr.isatty() and os.environ.get("RANK", "0") == "0":
        print(f"semgan: {text} ...", file=sys.stderr, flush=True)


def at_least(least: int) -> Callable[[str], int]:
    """Make the ``type`` of an argument that is a whole number and no smaller."""

    def whole(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return whole


def check_path(path: str | None, message: str) -> None:
    """Look for what the user names before seconds are spent on imports.

    Args:
        path: the path; None is not looked for.
        message: what to tell, with ``{}`` for the path.

    Raises:
        FileNotFoundError: when it does not exist.
    """
    if path is not None and not Path(path).exists():
        raise FileNotFoundError(message.format(path))


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the option for settings of the bundle's configs."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="ID=VALUE",
        dest="settings",
        help="a setting of the bundle's configs by its id, such as batch_size=4; may be given several times",
    )


def read_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Read the values of ``--set``, as YAML does.

    Raises:
        ValueError: when one is no ID=VALUE.
    """
    import yaml

    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--set {pair} is no ID=VALUE, such as batch_size=4")
        settings[name] = yaml.safe_load(value)
    return settings


def distributed(config: str) -> list[str]:
    """The config that shares work, in a process that ``torchrun`` started beside others."""
    return [config] if int(os.environ.get("WORLD_SIZE", 1)) > 1 else []
