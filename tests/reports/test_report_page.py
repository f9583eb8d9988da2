# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The page of a run: its structure, and how it works in a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.data.utils import no_collation
from monai.engines import Evaluator
from monai.transforms import Compose, LoadImaged

from monai_semgan.data import FAILURE, CohortDataset, cohort
from monai_semgan.formats import FormatReader
from monai_semgan.networks.nets.dice_calibration import Quality
from monai_semgan.predictor import Prediction
from monai_semgan.reports import CohortReport
from monai_semgan.reports.cohort_report import read_csv, shown
from monai_semgan.transforms import DisplayOrderd
from tests.image_files import gradient, write_png

ODD = "<b>a & \"b\" 'c' #1 50%.png"
DICE = {"good.png": 0.97, ODD: 0.6, "fair.png": 0.9}
ABOUT = {"bundle": "tiny 1.0", "weights": "<none>", "preset": None, "classes": {"lung": [255, 128, 0]}}
VOID = {"meta", "link", "img", "input"}
BROWSER = next((b for name in ("chromium", "chromium-browser", "google-chrome") if (b := shutil.which(name))), None)
# clicks through a page and writes down what it sees
PROBE = """
<script>
const seen = {}, names = () => cards.filter(c => !c.hidden).map(c => rows.get(c).file);
const order = () => [...list.children].map(c => rows.get(c).file);
const set = (name, value) => {
  form.elements[name].value = value;
  form.dispatchEvent(new Event("input"));
  return names();
};
seen.all = names();
for (const only of ["look", "failed", "warned", "all"]) seen["only " + only] = set("only", only);
set("by", "-predicted_dice"); seen.best = order();
set("by", "file"); seen.file = order();
set("by", ""); seen.worst = order();
seen.named = set("named", "GOOD");
seen.output = document.querySelector("output").value;
seen.controls = form.checkVisibility();
document.querySelectorAll("img").forEach(image => image.loading = "eager");
Promise.all([...document.images].map(image => image.decode())).then(() => {
  seen.drawn = [...document.images].every(image => image.naturalWidth === image.width);
  seen.requests = performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:"));
  const told = document.createElement("pre");
  told.id = "seen";
  told.textContent = JSON.stringify(seen);
  document.body.append(told);
});
</script>
"""


class Page(HTMLParser):
    """What a page holds; checks that tags are closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def files(self) -> list[str]:
        return [json.loads(card["data-row"])["file"] for card in self.all("article")]


def run(folder: Path, resume: bool = False, about: dict[str, Any] | None = ABOUT) -> Path:
    """Report on three pictures, of which one has a warning, and one file that is none."""
    (folder / "in").mkdir(exist_ok=True)
    for name in DICE:
        if not (folder / "in" / name).exists():
            write_png(folder / "in" / name, gradient(60, 40).astype(np.uint8))
    (folder / "in" / "<img src=x>.png").write_text("junk")

    def predict(engine: Any, items: list[dict[str, Any]]) -> list[Prediction]:
        return [
            Prediction(item, failure=item[FAILURE])
            if FAILURE in item
            else Prediction(
                item,
                mask=MetaTensor((item["image"][0] > 60).float(), meta=item["image"].meta),
                image=torch.full((1, 60, 40), 0.5),
                reconstruction=torch.zeros(1, 60, 40),
                quality=Quality(DICE[item["file"]], 0.5, 0.99),
                warnings=("fair.png: it has a <frame>",) if item["file"] == "fair.png" else (),
            )
            for item in items
        ]

    orient = DisplayOrderd("image")
    read = LoadImaged("image", reader=FormatReader(2), ensure_channel_first=True)
    report = CohortReport(folder / "out", display=Compose([read, orient]), orient=orient, resume=resume, about=about)
    dataset = CohortDataset(cohort(folder / "in"), read, finished=report.finished)
    loader = DataLoader(dataset, batch_size=2, num_workers=0, collate_fn=no_collation)
    Evaluator("cpu", loader, iteration_update=predict, val_handlers=[report], decollate=False).run()
    return folder / "out" / "report.html"


def test_page_shows_every_row_worst_first_and_nothing_as_markup(tmp_path: Path) -> None:
    path = run(tmp_path)
    page = Page(path)
    assert page.files == ["<img src=x>.png", ODD, "fair.png", "good.png"]
    assert [card["class"].split() for card in page.all("article")] == [
        ["failed"],
        ["ok", "look"],
        ["ok", "warned"],
        ["ok"],
    ]
    for told in (
        ODD,
        "<img src=x>.png is damaged",
        "it has a <frame>",
        "<none>",
        "0.60",
        "3 segmented",
        "1 to look at",
    ):
        assert told in page.text, told
    rows = {row["file"]: row for row in read_csv(tmp_path / "out" / "report.csv")[1]}
    assert f"{float(rows['good.png']['reconstruction_error']):.4g}" in page.text
    images = page.all("img")
    assert len(images) == 3
    for image in images:
        assert image["src"].startswith("data:image/jpeg;base64,") and image["alt"] and image["loading"] == "lazy"
        # 60 x 40 pixels, twice
        assert (image["width"], image["height"]) == ("256", "192")
        assert len(image["src"]) < 27_000
    links = [link["href"] for link in page.all("a")]
    assert links and all((tmp_path / "out" / unquote(link)).is_file() for link in links)


def test_page_asks_for_no_other_file(tmp_path: Path) -> None:
    path = run(tmp_path)
    page = Page(path)
    sources = [value for _, given in page.tags for name, value in given.items() if name in ("src", "srcset", "data")]
    assert all(source.startswith("data:") for source in sources)
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"https?://|@import|url\(", path.read_text(encoding="utf-8"))


def test_rows_of_earlier_runs_keep_their_pictures(tmp_path: Path) -> None:
    first = Page(run(tmp_path))
    again = Page(run(tmp_path, resume=True))
    assert again.files == first.files
    assert [image["src"] for image in again.all("img")] == [image["src"] for image in first.all("img")]
    # a row of a run without a page
    next((tmp_path / "out" / "thumbnails").glob("good*")).unlink()
    assert len(Page(run(tmp_path, resume=True)).all("img")) == 2


def test_no_page_where_none_is_wanted(tmp_path: Path) -> None:
    path = run(tmp_path, about=None)
    assert not path.exists() and not (tmp_path / "out" / "thumbnails").exists()


def test_numbers_are_short() -> None:
    assert [shown(v) for v in (0.123456, 12345.6, 7, "007", None)] == ["0.1235", "12346", 7, "007", ""]


@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
def test_page_works_in_a_browser(tmp_path: Path) -> None:
    path = run(tmp_path)
    probed = path.with_name("probed.html")
    probed.write_text(path.read_text(encoding="utf-8").replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
    command += ["--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom", probed.as_uri()]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
    assert ":CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    seen = json.loads(html.unescape(found[1]))
    worst = ["<img src=x>.png", ODD, "fair.png", "good.png"]
    assert seen["all"] == seen["only all"] == seen["worst"] == worst
    assert (seen["only look"], seen["only failed"], seen["only warned"]) == ([ODD], worst[:1], ["fair.png"])
    assert seen["best"] == ["good.png", "fair.png", ODD, "<img src=x>.png"]
    assert set(seen["file"]) == set(worst) and seen["file"].index("fair.png") < seen["file"].index("good.png")
    assert seen["named"] == ["good.png"] and seen["output"] == "1 of 4 shown"
    assert seen["controls"] and seen["drawn"] and seen["requests"] == []
