"""The ledger: rows that survive, and a new one where the old one cannot be used."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from roadseg.archive.ledger import (
    SCHEMA,
    Ledger,
    archive_rows,
    ledger_path,
    open_ledger,
)
from roadseg.archive.result import ClipResult, Output, read_clip_file, write_clip_file
from roadseg.core.errors import SinkError

RESULT = ClipResult(
    clip="in/a.mp4",
    name="day/a",
    state="done",
    identity="quick-1",
    work="w",
    frames_in=7,
    frames_out=7,
    frames_lost=1,
    seconds=1.5,
    duration_s=0.28,
    model="segnet-lite",
    model_sha256="ab",
    options='{"view": "overlay"}',
    version="1",
    outputs=(Output("overlay", "day/a/overlay.mp4", 120), Output("timeline", "day/a/t", 30)),
    attempts=2,
    parts=("in/a.mp4", "in/b.mp4"),
    warnings=("one", "two"),
)


def put_result(output: Path, result: ClipResult = RESULT) -> None:
    (output / result.name).mkdir(parents=True)
    write_clip_file(output / result.name, result)


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    failed = ClipResult("x", "b", "failed", exit_code=3, error="is empty", fix="copy it")
    with open_ledger(tmp_path) as ledger:
        ledger.put(RESULT)
        ledger.put(failed)
    with open_ledger(tmp_path) as ledger:
        assert ledger.notes == []
        assert list(ledger.rows()) == [failed, RESULT]
        assert ledger.get("day/a") == RESULT
        assert ledger.get("none") is None
        ledger.put(replace(RESULT, outputs=RESULT.outputs[:1]))
        assert [row.bytes_out for row in ledger.rows()] == [0, 120]


def test_results_are_json_too() -> None:
    assert ClipResult.from_json(RESULT.to_json()) == RESULT
    values = RESULT.to_json()
    values["frames_in"] = "many"
    with pytest.raises(ValueError, match="frames_in: expected int"):
        ClipResult.from_json(values)


def test_the_file_beside_results_has_what_is_the_same_each_time(tmp_path: Path) -> None:
    put_result(tmp_path)
    assert read_clip_file(tmp_path / "day" / "a") == replace(RESULT, seconds=None, attempts=1)
    first = (tmp_path / "day" / "a" / "clip.json").read_bytes()
    write_clip_file(tmp_path / "day" / "a", replace(RESULT, seconds=9.0, attempts=1))
    assert (tmp_path / "day" / "a" / "clip.json").read_bytes() == first


@pytest.mark.parametrize("text", ["", "{", '{"version_of_file": 7}', "[]"])
def test_a_damaged_file_beside_results_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "clip.json").write_text(text)
    assert read_clip_file(tmp_path) is None
    assert read_clip_file(tmp_path / "none") is None


def damage(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)


def no_database(path: Path) -> None:
    path.write_text("a text")


def other_version(path: Path) -> None:
    base = sqlite3.connect(path)
    base.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    base.close()


def other_tables(path: Path) -> None:
    base = sqlite3.connect(path)
    base.execute("ALTER TABLE clips DROP COLUMN fix")
    base.commit()
    base.close()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (damage, "is damaged"),
        (no_database, "is damaged"),
        (other_version, f"is of version {SCHEMA + 1} and not {SCHEMA}"),
        (other_tables, "is damaged"),
    ],
)
def test_a_ledger_that_cannot_be_used_is_kept_and_made_anew(
    tmp_path: Path, spoil, why: str
) -> None:
    put_result(tmp_path)
    open_ledger(tmp_path).close()
    path = ledger_path(tmp_path)
    spoil(path)
    spoilt = path.read_bytes()
    with pytest.raises(SinkError, match=why):
        list(archive_rows(tmp_path))
    with open_ledger(tmp_path) as ledger:
        assert ledger.notes[0] == (
            f"ledger.sqlite {why}: it is now ledger-backup-1.sqlite, and is made anew"
        )
        assert [row.name for row in ledger.rows()] == ["day/a"]
    assert (tmp_path / "ledger-backup-1.sqlite").read_bytes() == spoilt


def test_a_ledger_that_is_gone_is_made_from_the_results(tmp_path: Path) -> None:
    put_result(tmp_path)
    # A copy of a result is not the result of another clip; what is unfinished is not one either.
    (tmp_path / "copy").mkdir()
    write_clip_file(tmp_path / "copy", RESULT)
    put_result(tmp_path / ".unfinished", replace(RESULT, name="x"))
    with open_ledger(tmp_path) as ledger:
        assert ledger.notes == ["ledger.sqlite has the 1 results that are there"]
        assert [row.name for row in ledger.rows()] == ["day/a"]


def test_a_run_that_was_killed_before_it_made_tables_leaves_nothing(tmp_path: Path) -> None:
    ledger_path(tmp_path).touch()
    with open_ledger(tmp_path) as ledger:
        assert ledger.notes == []
        assert list(ledger.rows()) == []


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    for shard, name in (((1, 2), "a"), ((2, 2), "b")):
        with open_ledger(tmp_path, shard) as ledger:
            ledger.put(replace(RESULT, name=name))
    with open_ledger(tmp_path) as ledger:
        ledger.put(replace(RESULT, name="a"))
    assert [row.name for row in archive_rows(tmp_path)] == ["a", "b"]


def test_of_several_rows_the_one_counts_that_speaks_of_what_is_there(tmp_path: Path) -> None:
    failed = replace(RESULT, state="failed", outputs=())
    newer = replace(RESULT, identity="quick-2")
    with open_ledger(tmp_path) as ledger:
        ledger.put(failed)
        ledger.put(replace(failed, name="other"))
    for shard, row in (((1, 2), RESULT), ((1, 4), newer)):
        with open_ledger(tmp_path, shard) as ledger:
            ledger.put(row)
    put_result(tmp_path, newer)
    assert [(r.name, r.state) for r in archive_rows(tmp_path)] == [
        ("day/a", "done"),
        ("other", "failed"),
    ]
    assert next(archive_rows(tmp_path)).identity == "quick-2"


def test_who_reads_rows_one_by_one_keeps_nobody_from_writing(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        for number in range(3):
            ledger.put(replace(RESULT, name=f"{number}"))
        reader = archive_rows(tmp_path)
        next(reader)
        ledger._base.execute("PRAGMA busy_timeout = 0")
        ledger.put(replace(RESULT, name="9"))
        assert [row.name for row in reader] == ["1", "2", "9"]


def test_rows_come_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadseg.archive.ledger._PAGE", 3)
    with open_ledger(tmp_path) as ledger:
        for number in range(7):
            ledger.put(replace(RESULT, name=f"{number}"))
        assert [row.name for row in ledger.rows()] == list("0123456")
        assert all(row.outputs == RESULT.outputs for row in ledger.rows())


def test_a_ledger_that_stays_locked_is_called_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadseg.archive.ledger._PATIENCE_S", 0.0)
    with open_ledger(tmp_path) as ledger:
        other = sqlite3.connect(ledger.path)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SinkError, match="was locked by another program"):
            ledger.put(RESULT)
        other.close()
        ledger.put(RESULT)


def test_an_archive_without_a_ledger_says_so(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="there is no ledger"):
        list(archive_rows(tmp_path))


def test_what_is_kept_about_an_archive_comes_back(tmp_path: Path) -> None:
    with Ledger(ledger_path(tmp_path)) as ledger:
        assert ledger.recall("work") is None
        ledger.remember("work", "1")
        ledger.remember("work", "2")
        assert ledger.recall("work") == "2"
