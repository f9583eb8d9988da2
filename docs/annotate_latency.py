# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Seconds until a running server answers, idle and beside a training, for docs/annotate.md.

In one terminal ``make label STUDIES=studies MODELS=bundles/lung_xray_segmentation``, a folder with at least one final
label; in another ``.venv-label/bin/python docs/annotate_latency.py``.
"""

from __future__ import annotations

import argparse
import json
import threading
import time

import numpy as np
import requests

ENDLESS = {"max_epochs": 1, "steps_per_epoch": 100_000}


def timed(method: str, url: str, **given: object) -> float:
    """Seconds until an answer."""
    start = time.perf_counter()
    requests.request(method, url, **given).raise_for_status()
    return time.perf_counter() - start


def report(name: str, infer: str, info: str, preset: str, number: int) -> None:
    """Ask for masks one after the other, and for the server's information all the while."""
    told: list[float] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.1):
            told.append(timed("GET", info))

    asking = threading.Thread(target=ask)
    asking.start()
    given = {"data": {"params": json.dumps({"preset": preset})}}
    found = [timed("POST", infer, **given) for _ in range(number)]
    done.set()
    asking.join()
    words = [
        f"{what}: median {np.median(v):.2f} s, longest {max(v):.2f} s" for what, v in ((preset, found), ("info", told))
    ]
    print(f"{name}: {'; '.join(words)}", flush=True)


def main() -> None:
    """Ask an idle server, then one that trains."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="lung_xray_segmentation")
    parser.add_argument("--number", type=int, default=20)
    args = parser.parse_args()
    image = sorted(requests.get(f"{args.url}/datastore/?output=all").json()["objects"])[0]
    infer, info = f"{args.url}/infer/{args.model}?image={image}", f"{args.url}/info/"
    timed("POST", infer)
    for preset in ("fast", "balanced"):
        report("idle", infer, info, preset, args.number)
    requests.post(f"{args.url}/train/{args.model}", json=ENDLESS).raise_for_status()
    while "Engine run" not in "".join(requests.get(f"{args.url}/train/").json().get("details", [])):
        time.sleep(1)
    for preset in ("fast", "balanced"):
        report("beside a training", infer, info, preset, args.number)
    requests.delete(f"{args.url}/train/").raise_for_status()


if __name__ == "__main__":
    main()
