"""The log of a run: strict JSON, and nothing in it that no checkpoint stands for."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from roadseg.core.errors import SinkError
from roadseg.training.log import append_line, forget_after, read_log

pytestmark = pytest.mark.usefixtures("as_typed")


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    append_line(tmp_path, {"epoch": 1, "miou": math.nan, "iou": [0.5, math.nan, math.inf]})
    text = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    assert text == '{"epoch": 1, "miou": null, "iou": [0.5, null, null]}\n'
    assert read_log(tmp_path) == [{"epoch": 1, "miou": None, "iou": [0.5, None, None]}]


def test_lines_behind_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        append_line(tmp_path, {"epoch": epoch})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"epoch": 4, "lo')  # killed, or out of space, while it wrote
    assert [line["epoch"] for line in read_log(tmp_path)] == [1, 2, 3]
    forget_after(tmp_path, 2)
    assert (tmp_path / "log.jsonl").read_text(encoding="utf-8") == '{"epoch": 1}\n{"epoch": 2}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]


def test_no_log_is_an_empty_one(tmp_path: Path) -> None:
    forget_after(tmp_path, 3)
    assert read_log(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_damaged_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("hello\n")
    with pytest.raises(SinkError) as caught:
        read_log(tmp_path)
    assert str(caught.value) == (
        f"{path} is damaged (Expecting value: line 1 column 1 (char 0)): remove it, or choose "
        "another --output"
    )


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(SinkError) as caught:
        append_line(tmp_path, {"epoch": 1})
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'log.jsonl'} (Is a directory): free some space and go on with "
        "--resume"
    )
