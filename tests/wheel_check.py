# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Build the wheel, install it into an environment of its own, and work with it outside any clone.

``make test-wheel``. The environment takes all other packages from the one that runs this: nothing is downloaded.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.tiny_bundle import tiny_bundle, tiny_data

REPOSITORY = Path(__file__).resolve().parent.parent
# weights of three bundles, of which little can be compressed; package indexes take files of 100 MB at most
LARGEST_WHEEL_MB = 95


def run(*command: str | Path, folder: Path, environment: dict[str, str] | None = None) -> str:
    """Run a command in a folder and return what it prints; ends the program when it fails."""
    start = time.perf_counter()
    # neither the clone nor its environment may be found by other ways than the one that is checked
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=inherited | (environment or {}), capture_output=True, text=True
    )
    words = " ".join(Path(word).name for word in map(str, command))
    print(f"{time.perf_counter() - start:5.1f} s  {words}", flush=True)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{done.stderr}\nexit code {done.returncode}")
    return done.stdout


def build(folder: Path) -> Path:
    """Build the wheel from the clone's files, without what an earlier build left."""
    shutil.rmtree(REPOSITORY / "build" / "lib", ignore_errors=True)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, folder=REPOSITORY)
    (wheel,) = folder.glob("*.whl")
    size = wheel.stat().st_size / 1e6
    print(f"{wheel.name}: {size:.1f} MB")
    if size > LARGEST_WHEEL_MB:
        sys.exit(f"the wheel has {size:.1f} MB, more than {LARGEST_WHEEL_MB}: what got into it?")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Make an environment that holds the wheel, and looks for all other packages where this program does."""
    run(sys.executable, "-m", "venv", folder, folder=folder.parent)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, folder=folder.parent)
    # a folder that a .pth file names is searched last, and its own .pth files, an editable install's, are not read
    (packages,) = folder.glob("lib/python*/site-packages")
    shared = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "shared.pth").write_text("\n".join(shared) + "\n")
    origin = run(python, "-c", "import monai_semgan; print(monai_semgan.__file__)", folder=folder.parent).strip()
    if packages.resolve() not in Path(origin).resolve().parents:
        sys.exit(f"monai_semgan was imported from {origin}, not from the wheel in {packages}")
    return packages / "monai_semgan"


def statuses(report: Path) -> list[str]:
    """The column ``status`` of a report."""
    with report.open(newline="", encoding="utf-8") as file:
        return [row["status"] for row in csv.DictReader(file)]


def expect(found: object, wanted: object, what: str) -> None:
    """End the program when something is not as it should be."""
    if found != wanted:
        sys.exit(f"{what}: {found}, should be {wanted}")


def main() -> None:
    """Build, install, then demo, training, and a bundle copied elsewhere."""
    with tempfile.TemporaryDirectory(prefix="semgan_wheel_") as name:
        root = Path(name)
        package = install(build(root), root / "environment")
        python, semgan = (root / "environment" / "bin" / tool for tool in ("python", "semgan"))
        work = root / "work"
        work.mkdir()

        run(semgan, "demo", "lung_xray", "--number", "2", folder=work)
        report = work / "demo_output" / "lung_xray_segmentation" / "results" / "report.csv"
        expect(statuses(report), ["ok", "ok"], "the demo's report")

        datalist = tiny_data(root / "data")
        short = ("--set", "max_epochs=1", "--set", "steps_per_epoch=2")
        train = ("--datalist", datalist, "--train-list", "train_2", *short)
        run(semgan, "train", "lung_xray", "--stages", "unet", *train, "--output", work / "full", folder=work)
        expect((work / "full" / "unet" / "model.pt").is_file(), True, "the U-Net's weights")

        # a bundle's folder alone, copied elsewhere, its network made small
        bundle = tiny_bundle(root / "elsewhere", package)
        # teachers of one epoch agree on little
        run(semgan, "train", bundle, *train, "--set", "agreement=0", "--output", work / "tiny", folder=work)
        weights = work / "tiny" / "encoder" / "model.pt"
        expect(weights.is_file(), True, "weights of the training")
        run(
            *(python, "-m", "monai.bundle", "run"),
            *("--config_file", "['configs/inference.yaml','configs/evaluate.yaml']"),
            *("--datalist", datalist, "--dataset_dir", datalist.parent, "--list_key", "test", "--ckpt_path", weights),
            *("--output_dir", work / "scores"),
            folder=bundle,
        )
        expect(statuses(work / "scores" / "report.csv"), ["ok", "ok"], "the copied bundle's report")
        expect(json.loads((work / "scores" / "summary.json").read_text())["failed"], 0, "failed images")
    print("the wheel works outside a clone")


if __name__ == "__main__":
    main()
