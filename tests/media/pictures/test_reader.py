"""Pictures as players show them: turned, mirrored, square, in the right colours, without combs."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from roadseg.core.types import Image
from roadseg.media.pictures.hdr import to_sdr
from roadseg.media.sinks.sink import open_sink
from roadseg.media.sources.opening import open_source
from tests.support.clips import set_display_matrix

MakeClip = Callable[..., Path]

_LOSSLESS = {"crf": "0", "preset": "ultrafast"}

# By the numbers of ISO/IEC 23091-2: the shares of red and blue in brightness.
_MATRICES = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114)}
_MATRICES |= {7: (0.212, 0.087), 9: (0.2627, 0.0593)}


def read_first(path: Path) -> tuple[Image, tuple[int, int] | None, list[str]]:
    with open_source(str(path)) as source:
        frames = list(iter(source.read, None))
        return frames[0].image_bgr, source.info.size_hw, source.warnings


def yuv_clip(
    path: Path, bgr: tuple[int, int, int], size_hw: tuple[int, int], matrix: int, *, full: bool
) -> Path:
    """One colour, taken apart by `matrix` (2: untagged, as players take it)."""
    height, width = size_hw
    kr, kb = _MATRICES.get(matrix, _MATRICES[1 if height >= 720 else 5])
    blue, green, red = (v / 255 for v in bgr)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)
    values = (
        (255 * luma, 128 + 255 * cb, 128 + 255 * cr)
        if full
        else (16 + 219 * luma, 128 + 224 * cb, 128 + 224 * cr)
    )
    counts = (height * width, height * width // 4, height * width // 4)
    planes = [np.full(n, round(v), dtype=np.uint8) for n, v in zip(counts, values, strict=True)]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options=_LOSSLESS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full else (0 if matrix == 2 else 1)
        frame = av.VideoFrame.from_ndarray(
            np.concatenate(planes).reshape(height * 3 // 2, width), "yuv420p"
        )
        frame.colorspace = matrix
        frame.color_range = 2 if full else 1
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def as_players_show(path: Path) -> Image:
    """The first picture by its tags; without them BT.709 from 720 rows on, else BT.601."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        tagged = int(frame.colorspace)
        matrix = tagged if tagged in _MATRICES else (1 if frame.height >= 720 else 5)
        return frame.reformat(format="bgr24", src_colorspace=matrix).to_ndarray()


@pytest.mark.parametrize("size_hw", [(576, 64), (720, 64)])
@pytest.mark.parametrize("matrix", [1, 2, 5, 6, 9])
@pytest.mark.parametrize("full", [False, True])
def test_colours_go_through_unchanged(
    tmp_path: Path, size_hw: tuple[int, int], matrix: int, full: bool
) -> None:
    for i, colour in enumerate([(58, 27, 199), (200, 120, 40), (90, 160, 90), (250, 250, 250)]):
        path = yuv_clip(tmp_path / f"{i}.mp4", colour, size_hw, matrix, full=full)
        seen, _, _ = read_first(path)
        np.testing.assert_allclose(seen[300, 32].astype(int), colour, atol=3)

        out = tmp_path / f"{i}-out.mp4"
        with open_source(str(path)) as source:
            sink = open_sink(out, source.info)
            for frame in iter(source.read, None):
                sink.write(frame.image_bgr, frame)
        sink.close(ok=True)

        before, after = (as_players_show(p)[300, 32].astype(int) for p in (path, out))
        np.testing.assert_allclose(after, before, atol=3)


@pytest.mark.parametrize(
    "matrix",
    [
        *[(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)],
        *[(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)],
    ],
)
def test_the_display_matrix_turns_and_mirrors(
    make_clip: MakeClip, matrix: tuple[int, int, int, int]
) -> None:
    stored = np.zeros((48, 64, 3), dtype=np.uint8)
    stored[:24, :16] = 255  # high at the top left, so that no two of the eight look alike
    path = make_clip(images=[stored] * 2)
    set_display_matrix(path, matrix)

    shown, size_hw, warnings = read_first(path)

    a, b, c, d = matrix
    rows, columns = np.mgrid[:48, :64]
    x, y = a * columns + c * rows, b * columns + d * rows
    expected = np.zeros((*((48, 64) if a else (64, 48)), 3), dtype=np.uint8)
    expected[y - y.min(), x - x.min()] = stored
    assert size_hw == expected.shape[:2]
    assert shown.flags.c_contiguous
    assert np.abs(shown.astype(int) - expected).mean() < 5
    assert warnings == []


@pytest.mark.parametrize(
    ("size_hw", "aspect", "shown_hw"),
    [
        ((48, 64), "4:3", (48, 85)),
        ((48, 64), "1:2", (96, 64)),
        ((48, 64), "1:1", (48, 64)),
        ((48, 64), "1:100", (48, 64)),
    ],
)
def test_pixels_are_square(
    tmp_path: Path, size_hw: tuple[int, int], aspect: str, shown_hw: tuple[int, int]
) -> None:
    path = tmp_path / "a.mp4"
    disc = np.zeros((*size_hw, 3), dtype=np.uint8)
    disc[:, size_hw[1] // 2 :] = 255
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options=_LOSSLESS)
        stream.height, stream.width = size_hw
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(aspect.replace(":", "/"))
        output.mux(stream.encode(av.VideoFrame.from_ndarray(disc, format="bgr24")))
        output.mux(stream.encode(None))

    shown, described_hw, _ = read_first(path)

    assert shown.shape[:2] == described_hw == shown_hw
    half = shown_hw[1] // 2
    assert shown[:, : half - 3].max() < 10
    assert shown[:, half + 3 :].min() > 245


def moving_edge(i: int) -> Image:
    picture = np.zeros((64, 96, 3), dtype=np.uint8)
    picture[:, : 10 + 6 * i] = 255
    return picture


def combs(picture: Image) -> float:
    """How much rows differ from those above and below, which are alike."""
    rows = picture[..., 0].astype(int)
    return float(np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean())


def test_interlaced_pictures_are_made_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    with av.open(str(path), "w") as output:
        options = {"x264-params": "interlaced=1", "crf": "5"}
        stream = output.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i in range(10):
            woven = moving_edge(2 * i // 2)
            woven[1::2] = moving_edge(i + 1)[1::2]
            output.mux(stream.encode(av.VideoFrame.from_ndarray(woven, format="bgr24")))
        output.mux(stream.encode(None))
    with av.open(str(path)) as container:
        stored = [f.reformat(format="bgr24").to_ndarray() for f in container.decode(video=0)]

    with open_source(str(path)) as source:
        frames = list(iter(source.read, None))

    assert len(frames) == len(stored) == 10
    assert [f.time_s for f in frames] == pytest.approx([i / 25 for i in range(10)], abs=1e-4)
    assert frames[-1].is_last
    for frame, woven in zip(frames[1:-1], stored[1:-1], strict=True):
        assert combs(frame.image_bgr) < combs(woven) / 3
    assert source.warnings == [
        f"{path} is interlaced: its 10 pictures of two halves each were deinterlaced"
    ]


class TestHdr:
    def test_reference_white_and_black_are_those_of_sdr(self) -> None:
        # HLG has reference white at 75% of the signal, PQ at 58% (ITU-R BT.2408).
        for transfer, white in ((18, 0.75), (16, 0.58)):
            grey = to_sdr(np.array([[0.0] * 3, [white] * 3, [1.0] * 3]), transfer)
            np.testing.assert_allclose(grey[0], 0, atol=1e-6)
            assert 0.93 < grey[1].min() < 0.97, "a little room for highlights"
            np.testing.assert_allclose(grey[2], 1, atol=1e-3)

    def test_brighter_stays_brighter(self) -> None:
        ramp = np.linspace(0, 1, 100)[:, None].repeat(3, axis=1)
        for transfer in (16, 18):
            assert (np.diff(to_sdr(ramp, transfer)[:, 1]) >= -1e-9).all()

    def test_an_sdr_picture_in_hlg_looks_as_it_did(self, tmp_path: Path) -> None:
        sdr = np.array([[20, 40, 160], [150, 90, 60], [60, 130, 70], [128, 128, 128]], np.uint8)
        # The inverse of what a player does (ITU-R BT.2087 and BT.2100), by hand.
        light = (sdr[:, ::-1] / 255.0) ** 2.4 * 203
        to_2020 = np.array(
            [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
        )
        shown = light @ to_2020.T / 1000
        luminance = shown @ [0.2627, 0.6780, 0.0593]
        scene = shown * (luminance ** (1 / 1.2 - 1))[:, None]
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        hlg = np.where(
            scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
        )
        picture = np.zeros((64, 64, 3))
        for i in range(4):
            picture[:, 16 * i : 16 * i + 16] = hlg[i]
        path = _hlg_clip(tmp_path / "a.mov", picture)

        seen, _, warnings = read_first(path)

        for i in range(4):
            np.testing.assert_allclose(seen[32, 16 * i + 8].astype(int), sdr[i], atol=6)
        assert warnings == []


def _hlg_clip(path: Path, rgb: np.ndarray) -> Path:
    """10-bit H.264 in BT.2020 and HLG; `rgb` is (H, W, 3) in 0..1, constant in 2x2 blocks.

    Phones write HEVC, but FFmpeg 8 reads uninitialised memory where it writes HEVC into MOV, and
    then refuses now and again. What is tested, the colours, is the same in both.
    """
    red, green, blue = np.moveaxis(rgb, -1, 0)
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    cb, cr = (blue - luma) / 1.8814, (red - luma) / 1.4746
    levels = [(64 + 876 * luma), (512 + 896 * cb)[::2, ::2], (512 + 896 * cr)[::2, ::2]]
    height, width = luma.shape
    planes = np.concatenate([np.round(p).astype(np.uint16).ravel() for p in levels])
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "2"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = 9, 18, 9
        context.color_range = 1
        frame = av.VideoFrame(width, height, "yuv420p10le")
        at = 0
        for plane in frame.planes:
            rows = planes[at : at + plane.width * plane.height].reshape(plane.height, plane.width)
            at += rows.size
            padded = np.zeros((plane.height, plane.line_size // 2), np.uint16)
            padded[:, : plane.width] = rows
            plane.update(padded.tobytes())
        frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = 9, 18, 9, 1
        frame.pts = 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def test_picture_of_a_drawn_circle_stays_a_circle(tmp_path: Path) -> None:
    """What is drawn on square pixels is round in the result, whatever the source's pixels."""
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options=_LOSSLESS)
        stream.width, stream.height, stream.pix_fmt = 96, 128, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        black = np.zeros((128, 96, 3), dtype=np.uint8)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(black, format="bgr24")))
        output.mux(stream.encode(None))
    out = tmp_path / "out.mp4"
    with open_source(str(path)) as source:
        sink = open_sink(out, source.info)
        for frame in iter(source.read, None):
            drawn = frame.image_bgr.copy()
            cv2.circle(drawn, (96, 64), 40, (255, 255, 255), -1)
            sink.write(drawn, frame)
    sink.close(ok=True)

    with av.open(str(out)) as container:
        video = container.streams.video[0]
        shown = as_players_show(out)[..., 0] > 128
        aspect = float(video.sample_aspect_ratio or 1)
    across, down = shown.any(axis=0).sum() * aspect, shown.any(axis=1).sum()
    assert across == pytest.approx(down, abs=2)
