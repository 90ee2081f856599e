"""Files that hold more than one video, damaged headers, and tags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from roadseg.core.errors import SourceError
from roadseg.media.sources.file import open_file

MakeClip = Callable[..., Path]


def several(
    path: Path,
    levels: list[int],
    *,
    sizes_hw: list[tuple[int, int]] | None = None,
    names: list[str] | None = None,
    cover: int | None = None,
) -> Path:
    """A file with a video stream of each grey level; number `cover` is a song's cover."""
    with av.open(str(path), "w") as output:
        streams = []
        for i in range(len(levels)):
            stream = output.add_stream("mjpeg" if i == cover else "libx264", rate=25)
            stream.height, stream.width = sizes_hw[i] if sizes_hw else (48, 64)
            stream.pix_fmt = "yuvj420p" if i == cover else "yuv420p"
            if names:
                stream.metadata["title"] = names[i]
            if i == cover:
                stream.disposition = Disposition.attached_pic
            streams.append(stream)
        for _ in range(5):
            for i, (level, stream) in enumerate(zip(levels, streams, strict=True)):
                if i == cover and _:
                    continue
                grey = np.full((stream.height, stream.width, 3), level, dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, format="bgr24")
                output.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        for stream in streams:
            output.mux(stream.encode(None))
    return path


def level_of(path: Path, number: int | None = None) -> tuple[int, list[str]]:
    with open_file(path, loop=False, max_frames=None, stream=number) as source:
        frames = list(iter(source.read, None))
        assert len(frames) == 5
        return round(float(frames[0].image_bgr.mean()), -1), source.warnings


def test_the_first_camera_is_taken_and_a_line_names_all(tmp_path: Path) -> None:
    path = several(
        tmp_path / "a.mkv", [50, 100], sizes_hw=[(48, 64), (96, 128)], names=["Front", "Rear"]
    )
    assert level_of(path) == (
        50,
        [
            f"{path} holds the pictures of 2 cameras or video streams: 1 (Front, 64x48), "
            "2 (Rear, 128x96); this is number 1, choose another with stream"
        ],
    )


@pytest.mark.parametrize(("number", "level"), [(1, 50), (2, 100), (3, 150)])
def test_any_of_them_can_be_chosen(tmp_path: Path, number: int, level: int) -> None:
    path = several(tmp_path / "a.mp4", [50, 100, 150])
    assert level_of(path, number) == (level, [])


@pytest.mark.parametrize(
    ("count", "number", "there", "use"),
    [
        (1, 2, "1 video stream", "1"),
        (2, 3, "video streams 1 to 2", "1|2"),
        (2, 0, "video streams 1 to 2", "1|2"),
    ],
)
def test_one_that_is_not_there(
    tmp_path: Path, count: int, number: int, there: str, use: str
) -> None:
    path = several(tmp_path / "a.mp4", [50] * count)
    with pytest.raises(SourceError) as caught:
        level_of(path, number)
    assert str(caught.value) == (
        f"{path} has {there}, and stream={number} is asked for: use stream={use}"
    )


def test_a_small_preview_is_not_the_default(tmp_path: Path) -> None:
    path = several(tmp_path / "a.mp4", [50, 100], sizes_hw=[(32, 32), (96, 128)])
    level, warnings = level_of(path)
    assert level == 100
    assert "this is number 2" in warnings[0]
    assert level_of(path, 1) == (50, [])


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    path = several(tmp_path / "a.mp4", [50, 100], cover=0)
    with av.open(str(path)) as container:
        covers = [s.disposition & Disposition.attached_pic for s in container.streams]
        assert any(covers)
    assert level_of(path) == (100, [])


def test_looping_goes_on_with_the_same_stream(tmp_path: Path) -> None:
    path = several(tmp_path / "a.mp4", [50, 100])
    with open_file(path, loop=True, max_frames=12, stream=2) as source:
        frames = list(iter(source.read, None))
    assert {round(float(f.image_bgr.mean()), -1) for f in frames} == {100}


def test_a_codec_that_nobody_knows(make_clip: MakeClip) -> None:
    path = make_clip("a.avi", codec="mpeg4", frames=5)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"FMP4", b"\x00?\x07i"))
    with pytest.raises(SourceError) as caught:
        open_file(path, loop=False, max_frames=None)
    assert str(caught.value) == (
        f"{path}: there is no decoder for its video codec: convert it to H.264"
    )


def test_tags_that_are_no_utf8(make_clip: MakeClip) -> None:
    path = make_clip("a.mkv", frames=5)
    data = path.read_bytes()
    assert b"DURATION" in data
    path.write_bytes(data.replace(b"00:00:00.2", b"\xa4\xff:00:00.2", 1))
    with open_file(path, loop=False, max_frames=None) as source:
        assert len(list(iter(source.read, None))) == 5


def test_tags_are_described(tmp_path: Path, make_clip: MakeClip) -> None:
    clip = make_clip(frames=3)
    tagged = tmp_path / "tagged.mp4"
    with av.open(str(clip)) as given, av.open(str(tagged), "w") as output:
        output.metadata["creation_time"] = "2024-05-06T07:08:09.000000Z"
        output.metadata["title"] = "Süd"
        stream = output.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    with open_file(tagged, loop=False, max_frames=None) as source:
        assert source.info.tags["creation_time"] == "2024-05-06T07:08:09.000000Z"
        assert source.info.tags["title"] == "Süd"
