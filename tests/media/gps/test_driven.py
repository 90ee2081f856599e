"""How far a clip went, by the track beside it or inside of it."""

from __future__ import annotations

import doctest
import sys
from pathlib import Path

import pytest

from roadseg.core.errors import SourceError
from roadseg.media.gps import sidecar, track
from roadseg.media.gps.clip import driven_m
from roadseg.media.gps.sidecar import nmea, sidecar_of
from roadseg.media.gps.track import Fix, distance_m
from tests.support.clips import write_clip
from tests.support.gps import add_blackvue_track, rmc, write_gpx

MINUTE_M = 1853.3  # of latitude, on a sphere
STEP = 0.006  # minutes a second: 11 m


@pytest.mark.parametrize("module", [track, sidecar])
def test_examples(module) -> None:
    assert doctest.testmod(module).failed == 0


def north(*lats_m: float, every_s: float | None = 1.0) -> list[Fix]:
    return [
        Fix(48 + lat_m / (60 * MINUTE_M), 11.0, None if every_s is None else i * every_s)
        for i, lat_m in enumerate(lats_m)
    ]


@pytest.mark.parametrize(
    ("fixes", "metres"),
    [
        ([], 0),
        (north(0), 0),
        (north(0, 20, 40, 20), 60),
        # A receiver that stands wanders; slow driving is none of it.
        (north(0, 2, -2, 3, 1, -1), 0),
        (north(*range(0, 101)), 100),
        # Lost for a minute, in a tunnel: the way between is a straight line.
        ([*north(0, 20), Fix(48 + 1500 / (60 * MINUTE_M), 11.0, 61.0)], 1500),
        # Somewhere else for a moment.
        (north(0, 20, 9_000, 40, 60), 40),
        (north(0, 20, 9_000, 9_020, every_s=None), 40),
        (north(0, 20, 40, every_s=0.0), 40),
    ],
)
def test_a_way_is_what_was_driven(fixes: list[Fix], metres: float) -> None:
    assert distance_m(fixes) == pytest.approx(metres, abs=5.0)


@pytest.mark.parametrize("suffix", [".gpx", ".nmea", ".gps", ".GPX", ".NMEA"])
@pytest.mark.parametrize("times", [True, False])
def test_a_file_of_the_clips_name(tmp_path: Path, suffix: str, times: bool) -> None:
    clip = write_clip(tmp_path / "a.MP4")
    assert sidecar_of(clip) is None
    if suffix.lower() == ".gpx":
        write_gpx(tmp_path / f"a{suffix}", [48 + i * STEP / 60 for i in range(101)], times=times)
    else:
        lines = [rmc(i, i * STEP) for i in range(101)]  # over midnight
        (tmp_path / f"a{suffix}").write_bytes("\r\n".join(lines).encode())
    assert driven_m(clip) == pytest.approx(100 * STEP * MINUTE_M, rel=1e-3)


def test_sentences_that_say_nothing_are_passed_over() -> None:
    lines = [
        rmc(0, 1.0, status="V"),
        rmc(1, 2.0)[:-1] + "?",
        rmc(2, 3.0).replace("48", "49"),  # another sum
        "$GPRMC,120000,A,,,,,,,,,,",
        "$GPGGA,235905.00,4804.0000,N,01100.0000,E,0,00,,,M,,M,,",
        "$GPGSV,3,1,11",
        "\0\ufffd",
        "[1]$GNGGA,235906.00,4805.0000,S,01100.0000,W,1,08,1.0,500,M,,M,,[2]" + rmc(7, 6.0),
    ]
    fixes = list(nmea(lines))
    assert [(round(each.lat_deg * 60 - 2880, 3), each.lon_deg) for each in fixes[-1:]] == [(6, 11)]
    assert (fixes[-2].lat_deg, fixes[-2].lon_deg) == (pytest.approx(-48 - 5 / 60), -11)
    assert [each.time_s - 86340 for each in fixes] == [1.0, 6.0, 7.0]


def test_a_file_without_a_place_says_nothing(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4")
    (tmp_path / "a.nmea").write_bytes(b"\xff\xfe junk")
    assert driven_m(clip) is None


@pytest.mark.parametrize(
    "text", ["", "no XML", '<gpx><trkpt lat="x" lon="1"/></gpx>', "<gpx><trkpt/></gpx>"]
)
def test_what_is_not_gpx_is_an_error(tmp_path: Path, text: str) -> None:
    clip = write_clip(tmp_path / "a.mp4")
    (tmp_path / "a.gpx").write_text(text)
    with pytest.raises(SourceError, match=r"a\.gpx is not GPX \("):
        driven_m(clip)


def test_a_track_inside_of_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mapillary_tools", reason="needs the extra gps")
    clip = write_clip(tmp_path / "a.mp4")
    assert driven_m(clip) is None
    add_blackvue_track(clip, [rmc(i, i * STEP) for i in range(50)])
    assert driven_m(clip) == pytest.approx(49 * STEP * MINUTE_M, rel=1e-3)
    # What was put beside it was put there on purpose.
    write_gpx(tmp_path / "a.gpx", [48 + i * STEP / 60 for i in range(11)])
    assert driven_m(clip) == pytest.approx(10 * STEP * MINUTE_M, rel=1e-3)
    (tmp_path / "a.gpx").unlink()
    monkeypatch.setitem(sys.modules, "mapillary_tools", None)
    assert driven_m(clip) is None


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_a_clip_that_is_damaged_has_no_track(tmp_path: Path, name: str) -> None:
    data = add_blackvue_track(write_clip(tmp_path / "whole.mp4"), [rmc(1, 1)]).read_bytes()
    for some in (b"", b"junk" * 100, data[:500], data[:-70], data[: len(data) // 2]):
        (tmp_path / name).write_bytes(some)
        assert driven_m(tmp_path / name) is None
