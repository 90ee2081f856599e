"""Pictures that a video file gives in the planes it holds them in."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from roadseg.core.planes import Colours, Planes
from roadseg.core.types import Frame
from roadseg.media.sources.opening import open_source
from tests.support.clips import set_display_matrix
from tests.support.planes import ALL_COLOURS, natural

MakeClip = Callable[..., Path]

LOSSLESS = {"crf": "0", "preset": "ultrafast"}


def read_all(path: Path, *, planar: bool) -> list[Frame]:
    with open_source(str(path), planar=planar) as source:
        return list(iter(source.read, None))


def says_planar(path: Path, *, asked: bool = True) -> bool:
    with open_source(str(path), planar=asked) as source:
        return source.info.planar


def write_planes(path: Path, pictures: list[Planes], *, tagged: bool = True) -> Path:
    height, width = pictures[0].size_hw
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options=LOSSLESS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if tagged:
            colours = pictures[0].colours
            stream.codec_context.colorspace = {"bt709": 1, "bt601": 6}[colours.matrix]
            stream.codec_context.color_range = 2 if colours.full_range else 1
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture.packed, "yuv420p")))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
@pytest.mark.parametrize("size_hw", [(48, 64), (54, 98)])
def test_they_are_those_of_the_file_to_the_bit(
    tmp_path: Path, colours: Colours, size_hw: tuple[int, int]
) -> None:
    pictures = [Planes.of_bgr(natural(size_hw, seed), colours) for seed in range(3)]
    path = write_planes(tmp_path / "clip.mp4", pictures)
    assert says_planar(path)
    frames = read_all(path, planar=True)
    assert len(frames) == 3
    # The first ones are looked at last: the decoder has not written into them since.
    for picture, frame in zip(pictures, frames, strict=True):
        assert isinstance(frame.picture, Planes)
        assert frame.picture.colours == colours
        for name in "yuv":
            np.testing.assert_array_equal(getattr(frame.picture, name), getattr(picture, name))


@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
def test_their_bgr_is_nearer_to_the_truth_than_ffmpegs(tmp_path: Path, colours: Colours) -> None:
    """FFmpeg rounds down, which takes a level and a half from green, and repeats the colour of a
    block, where ours go from one to the next."""
    image_bgr = natural((96, 128))
    path = write_planes(tmp_path / "clip.mp4", [Planes.of_bgr(image_bgr, colours)] * 2)
    planar, plain = (read_all(path, planar=each)[0].image_bgr.astype(int) for each in (True, False))
    assert np.abs(planar - image_bgr).mean() < 1 < np.abs(plain - image_bgr).mean()
    np.testing.assert_allclose((planar - image_bgr).mean(axis=(0, 1)), 0, atol=0.3)
    np.testing.assert_allclose((plain - planar).mean(axis=(0, 1)), -1, atol=0.8)


@pytest.mark.parametrize(("rows", "matrix"), [(576, "bt601"), (720, "bt709")])
def test_untagged_colours_are_those_that_players_take(
    tmp_path: Path, rows: int, matrix: str
) -> None:
    picture = Planes.of_bgr(natural((rows, 64)))
    (frame,) = read_all(write_planes(tmp_path / "clip.mp4", [picture], tagged=False), planar=True)
    assert isinstance(frame.picture, Planes)
    assert (frame.picture.colours.matrix, frame.picture.colours.full_range) == (matrix, False)


def test_times_and_all_else_are_the_same(make_clip: MakeClip) -> None:
    path = make_clip(
        frames=9, time_base=Fraction(1, 1000), ticks=[0, 40, 90, 91, 200, 260, 300, 500, 610]
    )
    assert says_planar(path)
    assert not says_planar(path, asked=False)
    for planar, plain in zip(
        read_all(path, planar=True), read_all(path, planar=False), strict=True
    ):
        assert isinstance(planar.picture, Planes)
        assert isinstance(plain.picture, np.ndarray)
        for name in ("index", "time_s", "duration_s", "is_last", "source_s", "size_hw"):
            assert getattr(planar, name) == getattr(plain, name)


def clip_of(tmp_path: Path, pixel_format: str, size_hw: tuple[int, int], **context: object) -> Path:
    path = tmp_path / "clip.mkv"
    image = cv2.cvtColor(natural(size_hw), cv2.COLOR_BGR2RGB)
    with av.open(str(path), "w") as output:
        codec = "ffv1" if size_hw[0] % 2 or pixel_format == "yuva420p" else "libx264"
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = size_hw[1], size_hw[0], pixel_format
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pixel_format)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("pixel_format", "size_hw", "context"),
    [
        ("yuv420p10le", (48, 64), {}),
        ("yuv422p", (48, 64), {}),
        ("yuv444p", (48, 64), {}),
        ("yuva420p", (48, 64), {}),
        ("yuv420p", (47, 63), {}),
        ("yuv420p", (48, 64), {"sample_aspect_ratio": Fraction(4, 3)}),
        ("yuv420p", (48, 64), {"colorspace": 9}),
        ("yuv420p", (48, 64), {"color_trc": 18}),
    ],
    ids=["10 bit", "4:2:2", "4:4:4", "alpha", "odd", "oblong pixels", "BT.2020", "HDR"],
)
def test_others_come_in_bgr_as_ever(
    tmp_path: Path, pixel_format: str, size_hw: tuple[int, int], context: dict[str, object]
) -> None:
    path = clip_of(tmp_path, pixel_format, size_hw, **context)
    (planar,), (plain,) = (read_all(path, planar=each) for each in (True, False))
    assert isinstance(planar.picture, np.ndarray)
    np.testing.assert_array_equal(planar.picture, plain.picture)
    assert not says_planar(path)


def test_a_turned_picture_comes_in_bgr(make_clip: MakeClip) -> None:
    path = make_clip(images=[natural((48, 64))] * 2)
    set_display_matrix(path, (0, 1, -1, 0))
    assert not says_planar(path)
    for frame in read_all(path, planar=True):
        assert isinstance(frame.picture, np.ndarray)
        assert frame.size_hw == (64, 48)
