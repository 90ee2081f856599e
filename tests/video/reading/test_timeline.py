from __future__ import annotations

import csv
import doctest
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadseg.core.errors import BackendError, SinkError, UsageError
from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.types import Frame
from roadseg.video.reading import Read, Reading, ReadingOptions, Row, Timeline, columns
from roadseg.video.reading.parquet import read_rows

pytestmark = pytest.mark.usefixtures("as_typed")

NAMES = ["road", "traffic light"]


def row(index: int, **changes: object) -> Row:
    values: dict[str, object] = {
        "shares": (0.5, 0.25),
        "road_share": 0.5,
        "free_px": 30.0,
        "free_m": 12.3456789,
        "occupied": 0.125,
        "nearest_px": 30,
        "nearest_m": 12.5,
        "nearest_class": "traffic light",
        "free_parts_px": (30.04, 12.0),
        "free_parts_m": (12.3456789, math.inf),
    }
    events = changes.pop("events", ())
    values.update(changes)
    frame = Frame(np.zeros((1, 1, 3), np.uint8), index, index / 25, captured_s=0.0)
    labels = LabelMap(np.zeros((1, 1), np.uint8), Geometry((1, 1), (1, 1)))
    reading = Reading(**values)  # type: ignore[arg-type]
    return Row(Read(frame, labels, reading, events), 40.0, "segnet-lite")  # type: ignore[arg-type]


UNKNOWN = {
    "free_m": math.inf,
    "occupied": math.nan,
    "nearest_px": None,
    "nearest_m": None,
    "nearest_class": None,
    "events": ("walker", "close, very"),
}


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(columns)
    assert result.attempted > 0
    assert result.failed == 0


def test_what_is_hidden_in_the_pictures_is_said(tmp_path: Path) -> None:
    path = tmp_path / "drive.csv"
    timeline = Timeline(path, NAMES, ("people", "car"))
    timeline.write(row(0))
    timeline.close(ok=True)
    (written,) = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    assert written["hidden"] == "people;car"


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "drive.csv"
    timeline = Timeline(path, NAMES)
    timeline.write(row(0))
    timeline.write(row(7, **UNKNOWN))
    timeline.close(ok=True)
    header, first, second = csv.reader(path.read_text(encoding="utf-8").splitlines())
    assert header == [
        "frame",
        "time_s",
        "age_ms",
        "model",
        "road_share",
        "free_px",
        "free_m",
        "free_profile_px",
        "free_profile_m",
        "corridor_occupied",
        "corridor_nearest_px",
        "corridor_nearest_m",
        "corridor_nearest_class",
        "events",
        "doubt",
        "doubtful",
        "hidden",
        "share_road",
        "share_traffic_light",
    ]
    assert first == [
        *("0", "0.0", "40.0", "segnet-lite", "0.5", "30.0", "12.345679"),
        *(
            "30.0 12.0",
            "12.3 nan",
            "0.125",
            "30",
            "12.5",
            "traffic light",
            "",
            "",
            "",
            "",
            "0.5",
            "0.25",
        ),
    ]
    assert second[:1] + second[6:7] + second[9:14] == ["7", *[""] * 5, "walker;close, very"]
    profile = [float(word) for word in second[8].split()]
    assert profile == pytest.approx([12.3, math.nan], nan_ok=True)


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "drive.jsonl"
    timeline = Timeline(path, NAMES)
    timeline.write(row(0))
    timeline.write(row(1, **UNKNOWN))
    timeline.close(ok=True)
    first, second = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert first["corridor_nearest_class"] == "traffic light"
    assert (first["frame"], first["share_traffic_light"], first["events"]) == (0, 0.25, None)
    assert (second["free_m"], second["corridor_occupied"]) == (None, None)
    assert first["free_profile_px"] == [30.0, 12.0]
    assert first["free_profile_m"] == [12.3, None]


def two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are written in pairs, however slow the machine is."""
    monkeypatch.setattr("roadseg.video.reading.parquet._BATCH_ROWS", 2)
    monkeypatch.setattr("roadseg.video.reading.parquet._BATCH_S", math.inf)


def test_parquet_has_types_and_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    two_at_a_time(monkeypatch)
    path = tmp_path / "drive.parquet"
    timeline = Timeline(path, NAMES)
    for index in range(5):
        timeline.write(row(index, **(UNKNOWN if index == 4 else {})))
    timeline.sync()
    assert not path.exists()
    timeline.close(ok=True)
    assert os.listdir(tmp_path) == ["drive.parquet"]
    table = pq.read_table(path)
    assert table["frame"].to_pylist() == [0, 1, 2, 3, 4]
    assert table["free_m"].to_pylist()[3:] == [12.345679, None]
    assert table["free_profile_px"].to_pylist() == [[30.0, 12.0]] * 5
    assert table["free_profile_m"].to_pylist() == [[12.3, None]] * 5
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["frame"], types["time_s"], types["events"]) == ("int64", "double", "string")
    assert table.schema.field("free_profile_m").type.value_type == "double"


def test_parquet_without_a_row_is_a_table(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    timeline = Timeline(tmp_path / "drive.parquet", NAMES)
    timeline.close(ok=True)
    assert pq.read_table(tmp_path / "drive.parquet").num_rows == 0


def test_parquet_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "drive.parquet"
    path.write_text("before")
    timeline = Timeline(path, NAMES)
    timeline.write(row(0))
    timeline.close(ok=False)
    timeline.close(ok=True)
    assert os.listdir(tmp_path) == ["drive.parquet"]
    assert path.read_text(encoding="utf-8") == "before"


@pytest.mark.parametrize("cut", [0, 1, 7, 300])
def test_rows_of_a_killed_run_are_read_and_named_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    two_at_a_time(monkeypatch)
    path = tmp_path / "drive.parquet"
    killed = Timeline(path, NAMES)
    for index in range(5):
        killed.write(row(index))
    (part,) = tmp_path.iterdir()
    # As a killed process leaves it: neither closed nor, perhaps, written to its end.
    data = part.read_bytes()
    part.write_bytes(data[: len(data) - cut])
    expected = [0, 1, 2, 3] if cut == 0 else [0, 1]
    names, columns_, is_cut = read_rows(path)
    assert is_cut
    assert columns_[names.index("frame")] == expected
    after = Timeline(path, NAMES)
    (warning,) = after.warnings
    assert f"was killed: its {len(expected)} rows are now in" in warning
    after.write(row(9))
    after.close(ok=True)
    assert sorted(os.listdir(tmp_path)) == ["drive-interrupted-1.parquet", "drive.parquet"]
    left = pq.read_table(tmp_path / "drive-interrupted-1.parquet")
    assert left["frame"].to_pylist() == expected
    killed.close(ok=False)


def test_rows_of_a_slow_source_do_not_wait_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    now_s = 0.0
    monkeypatch.setattr("roadseg.video.reading.parquet.time.monotonic", lambda: now_s)
    path = tmp_path / "drive.parquet"
    killed = Timeline(path, NAMES)
    for index in range(5):
        now_s = index * 1.5
        killed.write(row(index))
    names, values, is_cut = read_rows(path)
    assert is_cut
    assert values[names.index("frame")] == [0, 1, 2, 3, 4]
    killed.close(ok=False)


def test_a_killed_run_without_a_row_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / ".drive.parquet.123-abcdef.part").write_bytes(b"\xff\xff\xff\xff")
    timeline = Timeline(tmp_path / "drive.parquet", NAMES)
    assert timeline.warnings == []
    assert os.listdir(tmp_path) == []


def test_parquet_on_a_disk_that_fills_up_keeps_the_rows_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    two_at_a_time(monkeypatch)
    path = tmp_path / "drive.parquet"
    timeline = Timeline(path, NAMES)
    timeline.write(row(0))
    timeline.write(row(1))
    table = timeline._table

    class Full:
        def __init__(self, writer: Any) -> None:
            self.close = writer.close

        def write_batch(self, _: object) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(table, "_writer", Full(table._writer))  # type: ignore[attr-defined]
    timeline.write(row(2))
    with pytest.raises(SinkError, match="No space left"):
        timeline.write(row(3))
    timeline.close(ok=False)
    assert pq.read_table(path)["frame"].to_pylist() == [0, 1]
    assert os.listdir(tmp_path) == ["drive.parquet"]


@pytest.mark.parametrize("name", ["drive.csv", "drive.jsonl"])
def test_a_run_that_is_cut_leaves_every_row(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    timeline = Timeline(path, NAMES)
    timeline.write(row(0))
    timeline.write(row(1))
    # As a killed process leaves it: never closed.
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == (3 if name.endswith("csv") else 2)
    timeline.sync()
    timeline.close(ok=True)
    assert path.read_text(encoding="utf-8").splitlines() == lines


def test_an_older_file_is_kept_until_there_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "drive.csv"
    path.write_text("before")
    timeline = Timeline(path, NAMES)
    timeline.close(ok=False)
    assert path.read_text(encoding="utf-8") == "before"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "drive.csv"
    path.symlink_to("/dev/full")
    timeline = Timeline(path, NAMES)
    with pytest.raises(SinkError, match=r"cannot write .*drive.csv .*[Nn]o space left"):
        timeline.write(row(0))
    timeline.close(ok=False)


def test_a_disk_that_fills_up_leaves_whole_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roadseg.video.reading import lines_file

    class SmallDisk(lines_file.FileIO):
        room = 600

        def write(self, data: object) -> int:
            part = memoryview(data)[: self.room]  # type: ignore[arg-type]
            if not part:
                raise OSError(28, "No space left on device")
            self.room -= len(part)
            return super().write(part)

    monkeypatch.setattr(lines_file, "FileIO", SmallDisk)
    path = tmp_path / "drive.jsonl"
    timeline = Timeline(path, NAMES)
    timeline.write(row(0))
    with pytest.raises(SinkError, match="No space left"):
        timeline.write(row(1))
    timeline.close(ok=False)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [0]


def test_other_files_are_refused_before_the_run() -> None:
    with pytest.raises(UsageError, match=r"cannot write a timeline to drive.txt: use --timeline"):
        ReadingOptions(timeline=Path("drive.txt")).check()


def test_parquet_without_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BackendError, match=r"pip install 'roadseg\[timeline\]'"):
        ReadingOptions(timeline=Path("drive.parquet")).check()
