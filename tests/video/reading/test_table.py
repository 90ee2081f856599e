"""Timelines read back: whole ones, and what is left of others."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import numpy as np
import pytest

from roadseg.core.errors import SourceError, UsageError
from roadseg.video.reading import Timeline, table
from roadseg.video.reading.table import intervals, read_timeline
from tests.video.reading.test_timeline import NAMES, UNKNOWN, row

pytestmark = pytest.mark.usefixtures("as_typed")

KINDS = ["csv", "jsonl", "parquet"]


def write(path: Path, rows: int = 6) -> Path:
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow")
    timeline = Timeline(path, NAMES)
    for index in range(rows):
        timeline.write(row(index, **(UNKNOWN if index % 3 == 2 else {})))
    timeline.close(ok=True)
    return path


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(table)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read(tmp_path: Path, kind: str) -> None:
    read = read_timeline(write(tmp_path / f"drive.{kind}"))
    assert read.notes == ()
    assert read.times_s == [index / 25 for index in range(6)]
    assert read.numbers("free_m") == [12.345679, 12.345679, None] * 2
    assert read.numbers("share_traffic_light") == [0.25] * 6
    assert read.columns["corridor_nearest_class"] == ["traffic light", "traffic light", None] * 2
    assert read.columns["events"][2] == "walker;close, very"
    assert read.numbers("nonsense") is None
    assert "free_profile_m" not in read.columns, "one number a row is what a column has"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_file_cut_anywhere_gives_its_whole_rows(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"drive.{kind}")
    data = path.read_bytes()
    ends = [index for index, byte in enumerate(data) if byte == ord("\n")]
    rows_before = 2 if kind == "csv" else 1
    for cut in range(ends[rows_before - 1] + 1, len(data)):
        path.write_bytes(data[:cut])
        read = read_timeline(path)
        whole = sum(end < cut for end in ends) - (kind == "csv")
        # An object may be whole without its line's end; the last number of a row may be cut.
        assert whole <= len(read.times_s) <= whole + (kind == "jsonl")
        assert read.times_s == [index / 25 for index in range(len(read.times_s))]


def test_damage_in_the_middle_costs_its_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "drive.csv")
    lines = path.read_bytes().split(b"\n")
    lines[2] = b"\x00\xff\xfe,,garbage"
    lines[4] = lines[4][:9]
    path.write_bytes(b"\n".join(lines))
    read = read_timeline(path)
    assert len(read.times_s) == 4
    assert read.notes == ("2 rows of drive.csv cannot be read and are left out",)


def test_json_lines_of_all_sorts(tmp_path: Path) -> None:
    path = tmp_path / "drive.jsonl"
    lines = [
        '{"time_s": 2, "free_m": 5}',
        '{"time_s": 1, "other": "text", "free_m": "wide"}',
        '{"time_s": null}',
        '{"time_s": true}',
        "[1, 2]",
        "[" * 100_000,
        '{"time_s": NaN}',
        '{"time_s": 3, "free_m": Infinity',
    ]
    path.write_text("\n".join(lines))
    read = read_timeline(path)
    assert read.times_s == [1, 2]
    assert read.numbers("free_m") == [None, 5]
    assert read.notes == ("6 rows of drive.jsonl cannot be read and are left out",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("drive.csv", b"", "holds no row of a timeline"),
        ("drive.csv", b"a,b\n1,2\n", "holds no row of a timeline"),
        ("drive.jsonl", b"\xff\xd8\xff", "holds no row of a timeline"),
        ("drive.parquet", b"PAR1", "is damaged or no Parquet"),
        ("drive.parquet", b"time_s\n1\n", "is damaged or no Parquet"),
        ("missing.csv", None, "cannot read .*missing.csv"),
        ("missing.parquet", None, "cannot read .*missing.parquet"),
    ],
)
def test_what_is_no_timeline(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_timeline(tmp_path / name)


def test_another_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give what --timeline FILE.csv wrote"):
        read_timeline(tmp_path / "drive.mp4")


def test_random_bytes_are_refused_in_a_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(60):
        path = tmp_path / f"drive.{KINDS[index % 2]}"
        path.write_bytes(rng.integers(0, 256, 400, np.uint8).tobytes())
        with pytest.raises(SourceError):
            read_timeline(path)


def test_rows_that_were_mixed_with_random_bytes_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    whole = write(tmp_path / "drive.jsonl").read_bytes()
    for _ in range(40):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 5):
            data[at] = int(rng.integers(0, 256))
        (tmp_path / "bad.jsonl").write_bytes(bytes(data))
        read = read_timeline(tmp_path / "bad.jsonl")
        assert 1 <= len(read.times_s) <= 6
        json.dumps(read.columns, allow_nan=False)


def test_an_event_that_comes_again_is_another_one() -> None:
    times = [0.0, 1.0, 2.0, 3.0]
    assert intervals(times, ["a", None, "a", "a"]) == [("a", 0.0, 0.0), ("a", 2.0, 3.0)]
