"""Where the target is a pipe, or leads to one: it is written to, and stays what it is.

A device such as `/dev/null` goes the same way; a test that used one could leave none behind.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from roadseg.core.errors import SinkError
from roadseg.core.files import claimed_file
from roadseg.core.types import Frame, Image
from roadseg.media.sinks.clips.clip_file import ClipFile
from roadseg.media.sinks.clips.tap import PacketTap
from roadseg.media.sinks.mp4 import Mp4Sink
from roadseg.media.sinks.png import PngFileSink, PngMaskSink
from roadseg.media.sources.base import SourceInfo
from roadseg.video.reading.columns import Column
from roadseg.video.reading.parquet import ParquetTable

pytestmark = [
    pytest.mark.usefixtures("as_typed"),
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes"),
]

INFO = SourceInfo("test", "file", (48, 64), Fraction(25), None, False, None)


class Pipe:
    """A named pipe that somebody reads."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._read: list[bytes] = []
        # Open for writing, too: a reader that comes first would otherwise wait for a writer.
        self._ours = os.open(path, os.O_RDWR)
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while data := os.read(self._ours, 1 << 16):
            if data.endswith(b"THE END"):
                self._read.append(data[: -len(b"THE END")])
                return
            self._read.append(data)

    def content(self) -> bytes:
        """What was written, and whether it still is a pipe."""
        assert self.path.is_fifo()
        os.write(self._ours, b"THE END")
        self._thread.join(30)
        assert not self._thread.is_alive()
        os.close(self._ours)
        return b"".join(self._read)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def place(tmp_path: Path, elsewhere: Path) -> Iterator[Path]:
    """A folder in which and beside which nothing may be left."""
    folder = tmp_path / "place"
    folder.mkdir()
    yield folder
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert list(elsewhere.iterdir()) == []


@pytest.fixture(params=["itself", "a link"])
def target(request: pytest.FixtureRequest, place: Path) -> Callable[[str], tuple[Path, Pipe]]:
    """Makes a pipe of a name, or a link of that name to one."""

    def make(name: str) -> tuple[Path, Pipe]:
        if request.param == "itself":
            pipe = Pipe(place / name)
            return pipe.path, pipe
        pipe = Pipe(place / "pipe")
        (place / name).symlink_to(pipe.path)
        return place / name, pipe

    return make


Target = Callable[[str], tuple[Path, Pipe]]


def picture(level: int) -> tuple[Image, Frame]:
    image_bgr = np.full((48, 64, 3), level, np.uint8)
    return image_bgr, Frame(image_bgr, level, level / 25, 0.0)


def test_a_video(target: Target) -> None:
    path, pipe = target("out.mp4")
    sink = Mp4Sink(path, INFO)
    for level in range(5):
        sink.write(*picture(level))
    sink.sync()
    sink.close(ok=True)
    assert sink.warnings == []
    content = pipe.content()
    with av.open(io.BytesIO(content)) as container:
        assert len(list(container.decode(video=0))) == 5
    # Whoever reads a pipe cannot go back: the index comes before the pictures.
    assert content.index(b"moov") < content.index(b"mdat")


def test_a_video_that_is_given_up_leaves_nothing(target: Target) -> None:
    path, pipe = target("out.mp4")
    Mp4Sink(path, INFO).close(ok=False)
    assert pipe.content() == b""


def test_a_video_that_breaks_off(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pipe = target("out.mp4")
    sink = Mp4Sink(path, INFO)
    for level in range(3):
        sink.write(*picture(level))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sink, "_mux_behind", fail)
    with pytest.raises(SinkError, match="disk is full"):
        sink.write(*picture(3))
    with av.open(io.BytesIO(pipe.content())) as container:
        assert len(list(container.decode(video=0))) >= 1


def test_two_videos_into_one_device(target: Target) -> None:
    """It is not anybody's alone, as a file would be."""
    path, pipe = target("out.mp4")
    sinks = [Mp4Sink(path, INFO) for _ in range(2)]
    for sink in sinks:
        sink.close(ok=False)
    assert pipe.content() == b""


def test_a_picture(target: Target) -> None:
    path, pipe = target("out.png")
    sink = PngFileSink(path, replace(INFO, frame_count=1))
    image_bgr, frame = picture(7)
    sink.write(image_bgr, frame)
    sink.close(ok=True)
    read = cv2.imdecode(np.frombuffer(pipe.content(), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read, image_bgr)


def test_a_picture_of_a_folder(target: Target) -> None:
    path, pipe = target("000007.png")
    sink = PngMaskSink(path.parent, INFO)
    sink.write(np.full((4, 6), 3, np.uint8), picture(7)[1])
    sink.close(ok=True)
    assert pipe.content().startswith(b"\x89PNG")


def test_a_clip(target: Target) -> None:
    path, pipe = target("clip.mp4")
    clip = ClipFile(path, "walker", 0.0)
    tap = PacketTap(clip.write)
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        for level in range(3):
            frame = av.VideoFrame.from_ndarray(picture(level)[0], "bgr24")
            frame.pts, frame.time_base = level, Fraction(1, 25)
            tap.before(frame)
            for packet in stream.encode(frame):
                tap.take(packet)
        for packet in stream.encode(None):
            tap.take(packet)
    assert clip.close()
    with av.open(io.BytesIO(pipe.content())) as written:
        assert len(list(written.decode(video=0))) == 3


def test_a_timeline_of_parquet(target: Target) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path, pipe = target("rows.parquet")
    with claimed_file(path, "--timeline"):
        table = ParquetTable(path, [Column("frame", "int")])
        table.write([5])
        table.close(ok=True)
    assert pq.read_table(io.BytesIO(pipe.content())).to_pylist() == [{"frame": 5}]
