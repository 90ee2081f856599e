"""Frames for the page of `roadseg eval --report`, and a reader of that page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from roadseg.backends.fake import FakeBackend
from roadseg.core.types import Labels
from roadseg.evaluation.evaluate import FrameResult, evaluate_backend
from roadseg.evaluation.flicker import Flicker
from roadseg.evaluation.report.report import Report

VOID_TAGS = {"meta", "img", "br", "path", "rect", "circle", "polyline"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.files: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert tag not in ("script", "link", "iframe"), "nothing from elsewhere"
        self.files += [v for k, v in values.items() if k == "src" and v]
        self.links += [v for k, v in values.items() if k == "href" and v]
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID_TAGS

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


def frame(
    index: int, predicted: Labels, true: Labels, scores: np.ndarray | None = None
) -> FrameResult:
    image = np.full((*true.shape, 3), 100, np.uint8)
    return FrameResult(index, image, true, predicted, scores)


def half(left: int, right: int, hw: tuple[int, int] = (60, 80)) -> Labels:
    ids = np.full(hw, left, np.uint8)
    ids[:, hw[1] // 2 :] = right
    return ids


class Frames:
    """Three frames that the fake backend labels right but for a square that grows."""

    def __init__(self, count: int = 3) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self):  # type: ignore[no-untyped-def]
        for i in range(self.count):
            true = half(0, 3, (64, 96))
            seen = true.copy()
            seen[4 : 8 + 6 * i, 4:20] = 1
            green = (seen.astype(np.uint16) * 256 + 128) // 11
            yield np.repeat(green[..., None], 3, 2).astype(np.uint8), true


def write_report(
    folder: Path,
    *,
    frames: int = 3,
    names: list[str] | None = None,
    flicker: Flicker | None = None,
) -> Page:
    report = Report(frames, names, flicker)
    observers = [report] if flicker is None else [flicker, report]
    scores = evaluate_backend(FakeBackend((64, 96)), Frames(frames), observers=observers)
    origin = {"weights": "a<b.bin, SHA-256 0123abcd", "data": "/data/camvid, split val"}
    page = report.write(folder, "fake <&> 1.0", ["camvid", "CPU"], scores, origin)
    assert page == folder / "index.html"
    return read_page(page)
