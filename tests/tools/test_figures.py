"""The documentation's figures are the manifest's."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import SinkError
from roadseg.weights import RungScores, load_manifest
from tests.support import ROOT
from tools.figures import figures_of, refresh_documents, replace_figures, write_picture

MARKED = re.compile(r"<!-- ([\w-]+):(\w+) -->(.*?)<!-- / -->", re.DOTALL)


def test_figures_between_markers_are_replaced_and_nothing_else() -> None:
    text = "a <!-- m:x -->old<!-- / --> b <!-- n:x -->kept<!-- / --> <!-- m:y -->\n1\n<!-- / -->"
    renewed = replace_figures(text, "m", {"x": r"\1 new", "y": "\n2\n", "absent": "z"})
    assert renewed == (
        r"a <!-- m:x -->\1 new<!-- / --> b <!-- n:x -->kept<!-- / --> "
        "<!-- m:y -->\n2\n<!-- / -->"
    )


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("README.md", {"miou"}),
        ("docs/accuracy.md", {"table", "classes", "cost"}),
        ("docs/performance.md", {"ladder"}),
    ],
)
def test_documents_state_what_the_manifest_states(path: str, keys: set[str]) -> None:
    stated = {
        (name, key): figure
        for name, key, figure in MARKED.findall((ROOT / path).read_text(encoding="utf-8"))
    }
    assert {key for name, key in stated if name == "segnet-lite"} == keys
    for (name, key), figure in stated.items():
        assert figure == figures_of(load_manifest()[name])[key]


def test_the_ladder_as_a_table() -> None:
    entry = replace(
        load_manifest()["segnet-lite"],
        ladder=(
            RungScores(192 * 256, 12.6, {"val": 0.6509, "720p": 0.6647}),
            RungScores(352 * 480, 43.4, {"val": 0.728, "720p": 0.7496}),
        ),
    )
    assert figures_of(entry)["ladder"].splitlines()[1:] == [
        "| input for 4:3 | for 16:9 | processor time | mIoU, validation | mIoU, 720p |",
        "|---|---|---|---|---|",
        "| 352x480 | 320x576 | 43 ms | 0.728 | 0.750 |",
        "| 192x256 | 160x288 | 13 ms | 0.651 | 0.665 |",
    ]
    assert "ladder" not in figures_of(replace(entry, ladder=()))


def test_documents_are_refreshed_with_the_curves(tmp_path: Path) -> None:
    entry = load_manifest()["segnet-lite"]
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("<!-- segnet-lite:miou -->0<!-- / -->")
    for name in ("accuracy.md", "performance.md"):
        (tmp_path / "docs" / name).write_text("nothing marked")
    run = tmp_path / "run"
    run.mkdir()
    (run / "curves.png").write_bytes(b"picture")
    written = refresh_documents(entry, run, tmp_path)
    curves = tmp_path / "docs" / "curves" / "segnet-lite.png"
    assert written == [tmp_path / "README.md", curves]
    miou = entry.validation["int8 on val"]["miou"]
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == (
        f"<!-- segnet-lite:miou -->{miou:.3f}<!-- / -->"
    )
    assert curves.read_bytes() == b"picture"
    with pytest.raises(SinkError, match=r"cannot refresh the documentation \(.*nowhere"):
        refresh_documents(entry, run, tmp_path / "nowhere")


def test_the_picture_shows_the_frame_beside_its_labels(tmp_path: Path) -> None:
    frame = np.full((96, 128, 3), 90, np.uint8)
    path = tmp_path / "picture.jpg"
    write_picture(path, frame, "segnet-lite")
    picture = cv2.imread(str(path))
    assert picture.shape == (96, 256, 3)
    assert np.abs(picture[:, :120].astype(int) - 90).max() < 8
    assert picture[:, 128:].std() > 5
    with pytest.raises(SinkError, match="cannot write"):
        write_picture(tmp_path / "none" / "picture.jpg", frame, "segnet-lite")
