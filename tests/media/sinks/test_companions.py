"""GPS tracks and the like go into the result, where mp4 can hold them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from roadseg.media.sinks.mp4_boxes import keep_whole_fragments
from roadseg.media.sinks.sink import Sink, open_sink
from roadseg.media.sources.opening import open_source

_TICK = Fraction(1, 90_000)


def recording(
    path: Path, codec: str, *, begins_s: float = 0.0, seconds: int = 3, first_s: float = 0.0
) -> Path:
    """Pictures at 10 a second, and from `first_s` on each half second of data that says when it was
    written."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=10, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = _TICK
        data = output.add_data_stream(codec)
        data.metadata["handler_name"] = "GPS"
        for i in range(10 * seconds):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = round((begins_s + i / 10) / _TICK), _TICK
            output.mux(video.encode(frame))
            if i % 5 == 0 and i / 10 >= first_s:
                packet = av.Packet(f"{i / 10:.1f}".encode())
                packet.pts = packet.dts = round((begins_s + i / 10) / _TICK)
                packet.time_base, packet.stream = _TICK, data
                output.mux(packet)
        output.mux(video.encode(None))
    return path


def convert(source_path: Path, output: Path, max_frames: int | None = None) -> Sink:
    with open_source(str(source_path), max_frames=max_frames) as source:
        sink = open_sink(output, source.info)
        for frame in iter(source.read, None):
            sink.write(frame.image_bgr, frame)
    sink.close(ok=True)
    return sink


def data_of(path: Path) -> list[tuple[float, str]]:
    """When each packet of data is shown, and what it says."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.data
        packets = [p for p in container.demux(stream) if p.size]
        return [(round(float(p.pts * p.time_base), 3), bytes(p).decode()) for p in packets]


@pytest.mark.parametrize("first_s", [0.0, 2.0, 99.0])
def test_data_that_comes_late_keeps_no_pictures_from_the_disk(
    tmp_path: Path, first_s: float
) -> None:
    path = recording(tmp_path / "a.mp4", "bin_data", first_s=first_s)
    with open_source(str(path)) as source:
        sink = open_sink(tmp_path / "out.mp4", source.info)
        for number, frame in enumerate(iter(source.read, None), 1):
            sink.write(frame.image_bgr, frame)
            if number == 24:
                (part,) = tmp_path.glob(".out.mp4*.part")
                killed = tmp_path / "killed.mp4"
                killed.write_bytes(part.read_bytes())
    assert keep_whole_fragments(killed) >= 9
    sink.close(ok=True)
    if first_s < 3:
        assert data_of(tmp_path / "out.mp4") == data_of(path) != []


@pytest.mark.parametrize("begins_s", [0.0, 2.0])
def test_data_is_carried_along_in_step(tmp_path: Path, begins_s: float) -> None:
    source = recording(tmp_path / "a.mp4", "bin_data", begins_s=begins_s)
    sink = convert(source, tmp_path / "out.mp4")
    assert sink.warnings == []
    texts = [text for _, text in data_of(source)]
    assert len(texts) >= 5
    assert data_of(tmp_path / "out.mp4") == [(float(text), text) for text in texts]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.data[0].metadata["handler_name"] == "GPS"
        assert sum(1 for _ in container.decode(video=0)) == 30


def test_data_ends_with_the_pictures(tmp_path: Path) -> None:
    source = recording(tmp_path / "a.mp4", "bin_data")
    convert(source, tmp_path / "out.mp4", max_frames=12)
    assert [text for _, text in data_of(tmp_path / "out.mp4")] == ["0.0", "0.5", "1.0"]


def test_what_mp4_cannot_hold_is_named(tmp_path: Path) -> None:
    source = recording(tmp_path / "a.ts", "klv")
    sink = convert(source, tmp_path / "out.mp4")
    assert sink.warnings == [f"{tmp_path / 'out.mp4'} leaves out what mp4 cannot hold: data (klv)"]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [s.type for s in container.streams] == ["video"]
        assert sum(1 for _ in container.decode(video=0)) == 30


def test_a_loop_repeats_the_pictures_alone(tmp_path: Path) -> None:
    source = recording(tmp_path / "a.mp4", "bin_data")
    with open_source(str(source), loop=True, max_frames=5) as looping:
        assert not looping.info.has_data
    with open_source(str(source)) as once:
        assert once.info.has_data
