"""The mp4 sink: times and tags of the recording are kept."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from roadseg.media.sinks.mp4 import Mp4Sink
from tests.support.mp4 import INFO, MakeClip, frame_at, grey, read_back, transcode

pytestmark = pytest.mark.usefixtures("as_typed")


@pytest.mark.parametrize("time_base", [Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 1000000)])
def test_variable_frame_rate_is_carried(
    tmp_path: Path, make_clip: MakeClip, time_base: Fraction
) -> None:
    # Twelve exact millisecond times, told in ticks of any clock.
    times_ms = [0, 40, 47, 200, 1000, 1001, 1500, 1540, 1600, 1700, 1900, 2500]
    per_ms = Fraction(1, 1000) / time_base
    info = replace(INFO, time_base=time_base, rate=Fraction(24000, 1001))
    out = tmp_path / "out.mp4"
    sink = Mp4Sink(out, info)
    for i, t in enumerate(times_ms):
        sink.write(grey(10 * i), frame_at(i, float(t * per_ms * time_base)))
    sink.close(ok=True)

    assert [f.time_s for f in read_back(out)] == pytest.approx(
        [t / 1000 for t in times_ms], abs=1e-9
    )


def test_ntsc_times_of_a_whole_clip_are_exact(tmp_path: Path, make_clip: MakeClip) -> None:
    source = make_clip(frames=30, rate=Fraction(30000, 1001))
    transcode(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        video = container.streams.video[0]
        assert video.average_rate == Fraction(30000, 1001)
        stamps = [f.pts * f.time_base for f in container.decode(video)]
    assert stamps == [i * Fraction(1001, 30000) for i in range(30)]


def test_times_that_do_not_advance_are_nudged(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    sink = Mp4Sink(out, replace(INFO, time_base=Fraction(1, 1000)))
    for i, t in enumerate((0.0, 0.04, 0.04, 0.02, 0.1)):
        sink.write(grey(10 * i), frame_at(i, t))
    sink.close(ok=True)
    assert [f.time_s for f in read_back(out)] == pytest.approx([0, 0.04, 0.041, 0.042, 0.1])


def test_tags_of_the_recording_are_kept(tmp_path: Path) -> None:
    tags = {
        "creation_time": "2024-05-06T07:08:09.000000Z",
        "location": "+52.2000+000.1200/",
        "title": "Vor dem Café",
        "com.apple.quicktime.make": "Maker",
        "comment": "",
        "major_brand": "qt  ",
        "encoder": "somebody else's",
    }
    out = tmp_path / "out.mp4"
    sink = Mp4Sink(out, replace(INFO, tags=tags))
    sink.write(grey(9), frame_at(0))
    sink.close(ok=True)
    with av.open(str(out)) as container:
        found = dict(container.metadata)
    for key in ("creation_time", "location", "title", "com.apple.quicktime.make"):
        assert found[key] == tags[key]
    assert found["major_brand"] == "isom"
    assert found["encoder"] != tags["encoder"]
