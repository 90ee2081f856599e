"""The mp4 sink: the pictures that it writes are read back and compared."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from roadseg.core.planes import Colours, Planes
from roadseg.media.sinks.mp4 import Mp4Sink
from roadseg.media.sinks.sink import Sink, open_sink
from roadseg.media.sources.opening import open_source
from tests.support.mp4 import INFO, frame_at, grey, leftovers, read_back, transcode
from tests.support.planes import ALL_COLOURS

pytestmark = pytest.mark.usefixtures("as_typed")


def test_pictures_times_and_tags_come_back(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    sink = open_sink(out, INFO)
    assert isinstance(sink, Sink)
    for i in range(10):
        sink.write(grey(20 * i), frame_at(i))
    assert not out.exists(), "nothing under the final name before it is complete"
    sink.close(ok=True)
    sink.close(ok=True)

    frames = read_back(out)
    assert sink.frames_out == len(frames) == 10
    assert sink.warnings == []
    assert leftovers(tmp_path) == ["out.mp4"]
    for i, frame in enumerate(frames):
        assert frame.time_s == pytest.approx(i / 25, abs=1e-9)
        np.testing.assert_allclose(frame.image_bgr.astype(int), 20 * i, atol=4)
    with av.open(str(out)) as container:
        video = container.streams.video[0]
        assert video.codec_context.name == "h264"
        assert video.codec_context.pix_fmt == "yuv420p"
        assert video.average_rate == 25
        assert video.duration * video.time_base == Fraction(10, 25)
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "faststart"
    umask = os.umask(0)
    os.umask(umask)
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask, "readable by others as usual"


@pytest.mark.parametrize("height", [240, 720])
@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (58, 27, 199), (128, 64, 128), (255,) * 3]
)
def test_colours_come_back_within_a_few_levels(
    tmp_path: Path, height: int, colour: tuple[int, int, int]
) -> None:
    out = tmp_path / "out.mp4"
    sink = Mp4Sink(out, INFO)
    image = np.broadcast_to(np.array(colour, dtype=np.uint8), (height, 64, 3)).copy()
    sink.write(image, frame_at(0))
    sink.close(ok=True)

    (frame,) = read_back(out)
    np.testing.assert_allclose(frame.image_bgr[height // 2, 32].astype(int), colour, atol=5)
    with av.open(str(out)) as container:
        decoded = next(container.decode(video=0))
        assert decoded.colorspace == 6
        assert decoded.color_range == 1


def test_detail_survives(tmp_path: Path) -> None:
    """Mean error of a natural-looking picture stays small: no shift, no swapped channels."""
    y, x = np.mgrid[0:90, 0:160]
    image = np.stack([x + 40, 2 * y, 255 - x], axis=2).astype(np.uint8)
    out = tmp_path / "out.mp4"
    sink = Mp4Sink(out, INFO)
    for i in range(3):
        sink.write(image, frame_at(i))
    sink.close(ok=True)
    for frame in read_back(out):
        assert np.abs(frame.image_bgr.astype(int) - image).mean() < 2.5


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 64), (45, 63), (45, 64), (48, 63)])
def test_odd_sizes_are_padded_by_their_last_line(tmp_path: Path, size_hw: tuple[int, int]) -> None:
    out = tmp_path / "out.mp4"
    sink = Mp4Sink(out, INFO)
    for i in range(2):
        sink.write(grey(100, size_hw), frame_at(i))
    sink.close(ok=True)

    frames = read_back(out)
    height, width = size_hw
    assert [f.size_hw for f in frames] == [(height + height % 2, width + width % 2)] * 2
    np.testing.assert_allclose(frames[0].image_bgr.astype(int), 100, atol=3)


@pytest.mark.parametrize("size_hw", [(96, 128), (720, 64)])
@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
def test_planes_are_written_as_they_are_and_tagged(
    tmp_path: Path, size_hw: tuple[int, int], colours: Colours
) -> None:
    bgr = (58, 27, 199)
    image = np.broadcast_to(np.array(bgr, np.uint8), (*size_hw, 3)).copy()
    out = tmp_path / "out.mp4"
    sink = Mp4Sink(out, INFO)
    sink.write(Planes.of_bgr(image, colours), frame_at(0))
    # Another size, and pictures in BGR or other planes, follow the first picture.
    sink.write(image, frame_at(1))
    sink.write(Planes.of_bgr(image, Colours("bt709")), frame_at(2))
    sink.write(Planes.of_bgr(np.tile(image, (2, 2, 1)), colours), frame_at(3))
    sink.close(ok=True)

    frames = read_back(out)
    assert len(frames) == 4
    for frame in frames:
        assert frame.size_hw == size_hw
        middle = frame.image_bgr[size_hw[0] // 2, size_hw[1] // 2]
        np.testing.assert_allclose(middle.astype(int), bgr, atol=5)
    with av.open(str(out)) as container:
        decoded = next(container.decode(video=0))
        assert decoded.colorspace == {"bt601": 6, "bt709": 1}[colours.matrix]
        assert decoded.color_range == (2 if colours.full_range else 1)


def test_size_change_is_fitted_into_the_first_size(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    sink = Mp4Sink(out, INFO)
    sink.write(grey(200, (48, 64)), frame_at(0))
    sink.write(grey(200, (96, 32)), frame_at(1))
    sink.close(ok=True)

    first, second = read_back(out)
    assert first.size_hw == second.size_hw == (48, 64)
    np.testing.assert_allclose(second.image_bgr[24, 28:36].astype(int), 200, atol=6)
    np.testing.assert_allclose(second.image_bgr[24, :16].astype(int), 0, atol=6)


def test_size_can_be_given(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    sink = open_sink(out, INFO, (24, 32))
    sink.write(grey(9), frame_at(0))
    sink.close(ok=True)
    assert read_back(out)[0].size_hw == (24, 32)


def test_real_clip_with_sound(tmp_path: Path, video_dir: Path) -> None:
    clip = video_dir / "highway_960x540_25fps.mp4"
    sink = transcode(clip, tmp_path / "out.mp4", max_frames=30)
    assert (sink.frames_out, sink.warnings) == (30, [])
    with open_source(str(clip), max_frames=30) as source:
        originals = list(iter(source.read, None))
    copies = read_back(tmp_path / "out.mp4")
    assert [c.time_s for c in copies] == [o.time_s for o in originals]
    for original, copy in zip(originals, copies, strict=True):
        assert np.abs(copy.image_bgr.astype(int) - original.image_bgr).mean() < 4
