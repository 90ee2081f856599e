"""Timestamps as files give them, and files that end too early, by worked examples."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from roadseg.video.timeline import Timeline
from roadseg.video.truncation import is_cut_off


@pytest.mark.parametrize(
    ("stamps", "ticks"),
    [
        ([0, 40, 80], [0, 40, 80]),
        ([500, 540, 600], [0, 40, 100]),
        ([None, None, None], [0, 40, 80]),
        ([0, None, 90], [0, 40, 90]),
        ([0, 40, 40, 30, 80], [0, 40, 41, 42, 80]),
        ([0, 40, 60_040, 60_080], [0, 40, 60_040, 60_080]),
        ([9_000, 9_040, 0, 40, 80], [0, 40, 80, 120, 160]),
        ([0, 40, 99_000_000, 99_000_040], [0, 40, 80, 120]),
    ],
    ids="plain late missing hole stutter gap restart wild".split(),  # noqa: SIM905
)
def test_timeline(stamps: list[int | None], ticks: list[int]) -> None:
    timeline = Timeline(step=40, ticks_per_s=1000)
    assert [timeline.ticks(s) for s in stamps] == ticks


def test_timeline_with_an_origin_may_begin_before_zero() -> None:
    timeline = Timeline(step=40, ticks_per_s=1000, origin=100)
    assert [timeline.ticks(s) for s in (60, 100, 140)] == [-40, 0, 40]


def test_timeline_restarts_for_a_loop() -> None:
    timeline = Timeline(step=40, ticks_per_s=1000)
    assert [timeline.ticks(s) for s in (7, 47)] == [0, 40]
    timeline.restart()
    assert [timeline.ticks(s) for s in (7, 47)] == [80, 120]


def box(name: bytes, payload: int) -> bytes:
    return struct.pack(">I4s", 8 + payload, name) + bytes(payload)


def wide_box(name: bytes, payload: int) -> bytes:
    return struct.pack(">I4sQ", 1, name, 16 + payload) + bytes(payload)


def open_box(name: bytes, payload: int) -> bytes:
    """A last box that runs to the end of the file."""
    return struct.pack(">I4s", 0, name) + bytes(payload)


def riff(payload: int) -> bytes:
    return struct.pack("<4sI4s", b"RIFF", 4 + payload, b"AVI ") + bytes(payload)


def matroska(payload: int, *, unknown: bool = False) -> bytes:
    header = bytes.fromhex("1A45DFA3") + b"\x83abc"
    size = b"\xff" if unknown else (payload | 1 << 28).to_bytes(4, "big")
    return header + bytes.fromhex("18538067") + size + bytes(payload)


@pytest.mark.parametrize(
    "whole",
    [
        box(b"ftyp", 12) + box(b"moov", 30) + box(b"mdat", 100),
        box(b"ftyp", 12) + wide_box(b"mdat", 100),
        riff(200) + riff(100),
        matroska(100),
    ],
    ids=["boxes", "wide box", "riff", "matroska"],
)
def test_cut_off(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(whole)
    assert not is_cut_off(path)
    path.write_bytes(whole[:-10])
    assert is_cut_off(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"plain text that is nothing",
        box(b"ftyp", 12) + open_box(b"mdat", 50),
        box(b"ftyp", 12) + b"\x00\x00\x01\x00\xff\xfe\xfd\xfc" + bytes(20),
        riff(100) + b"JUNKJUNKJUNK",
        matroska(10, unknown=True),
        matroska(10)[:6],
    ],
)
def test_not_known_to_be_cut_off(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert not is_cut_off(path)
