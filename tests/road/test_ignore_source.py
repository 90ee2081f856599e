from __future__ import annotations

import doctest
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.road import ignore_source, read_ignore_mask

pytestmark = pytest.mark.usefixtures("as_typed")

LOWER = [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(ignore_source, extraglobs={"np": np}).failed == 0


def test_a_picture_a_file_and_words_say_the_same(tmp_path: Path) -> None:
    picture = np.zeros((40, 60), np.uint8)
    picture[20:] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), picture)
    (tmp_path / "mask.json").write_text(json.dumps({"polygons": [LOWER], "note": "bonnet"}))
    (tmp_path / "pixels.JSON").write_text(
        json.dumps({"polygons": [[[0, 20], [60, 20], [60, 40], [0, 40]]]})
    )
    sources = [tmp_path / name for name in ("mask.png", "mask.json", "pixels.JSON")]
    for source in [*sources, "0,0.5 1,0.5 1,1 0,1", " 0,20 60,20 60,40 0,40 ; "]:
        mask = read_ignore_mask(source, (40, 60))
        np.testing.assert_array_equal(mask.counts((40, 60)), 255 - picture)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "nonsense",
        "[" * 100_000,
        '{"polygons": 3}',
        '{"polygons": []}',
        '{"polygons": [[]]}',
        '{"polygons": [[[0, 1, 2]]]}',
        '{"polygons": [[["0", "1"], [0, 1], [1, 1]]]}',
        '{"polygons": [[[0, NaN], [0, 1], [1, 1]]]}',
        '{"polygons": [[[0, 1e300], [0, 1], [1, 1]]]}',
        '{"polygons": [[[true, false], [0, 1], [1, 1]]]}',
        '{"polygons": [[[0, 1], [1, 1]]]}',
        '{"polygons": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}',
    ],
)
def test_files_that_are_none_are_refused_in_a_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mask.json"
    path.write_text(content)
    with pytest.raises(UsageError) as error:
        read_ignore_mask(path, (40, 60))
    assert error.value.fix
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("0,1 1,1", "ignored area 1 has 2 corners"),
        ("0,0.5 1,0.5 1,1; 0,1", "ignored area 2 has 1 corners"),
        ("0,0.5 1,0.5 1,1; 0,1 1", "ignored area 2: corner 2 is '1': write X,Y"),
        ("0,0 60,0 60,40", "corners above 2 are pixels"),
        ("2,2 3,2 3,3", None),
        ("none.json", "cannot read the ignore mask none.json"),
        ("none.png", "cannot read the ignore mask none.png"),
        ("0,0 1,0 1,1 0,1", "leaves nothing"),
    ],
)
def test_mistakes_are_named(source: str, message: str | None) -> None:
    with pytest.raises(UsageError, match=message):
        read_ignore_mask(source)
