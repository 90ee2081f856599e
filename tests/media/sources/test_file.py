"""Video files: every frame in order, with its time; what is wrong is said in one line."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from roadseg.core.errors import SourceError, UsageError
from roadseg.core.types import Frame
from roadseg.media.sinks.mp4 import Mp4Sink
from roadseg.media.sources.base import Source
from roadseg.media.sources.opening import open_source

MakeClip = Callable[..., Path]
ShadeOf = Callable[[int], int]


def read_all(source: Source) -> list[Frame]:
    frames = []
    with source:
        while (frame := source.read()) is not None:
            frames.append(frame)
        assert source.read() is None, "the end stays the end"
    return frames


def assert_shades(frames: list[Frame], shades: list[int]) -> None:
    assert [round(float(f.image_bgr.mean())) for f in frames] == pytest.approx(shades, abs=5)


def test_every_frame_in_order_with_number_time_and_description(
    make_clip: MakeClip, shade_of: ShadeOf
) -> None:
    path = make_clip(frames=12, size_hw=(48, 64), rate=10)

    source = open_source(str(path))
    frames = read_all(source)

    assert_shades(frames, [shade_of(i) for i in range(12)])
    assert [f.index for f in frames] == list(range(12))
    assert [f.time_s for f in frames] == [i / 10 for i in range(12)]
    assert all(f.image_bgr.shape == (48, 64, 3) for f in frames)
    assert all(f.image_bgr.dtype == np.uint8 for f in frames)
    captured = [f.captured_s for f in frames]
    assert captured == sorted(captured)
    assert source.info.kind == "file"
    assert source.info.name == str(path)
    assert source.info.path == path
    assert source.info.size_hw == (48, 64)
    assert source.info.rate == 10
    assert source.info.frame_count == 12
    assert not source.info.has_audio
    assert source.frames_lost == 0
    assert source.warnings == []


def test_variable_frame_rate_keeps_each_frames_own_time(make_clip: MakeClip) -> None:
    ticks = [0, 40, 47, 200, 1000, 1001, 1500]
    path = make_clip("vfr.mkv", frames=7, ticks=ticks, time_base=Fraction(1, 1000))

    source = open_source(str(path))

    assert source.info.time_base == Fraction(1, 1000)
    assert [f.time_s for f in read_all(source)] == [t / 1000 for t in ticks]


def test_times_start_at_zero_where_the_files_do_not(make_clip: MakeClip) -> None:
    ticks = [500 + 40 * i for i in range(5)]
    path = make_clip("late.mkv", frames=5, ticks=ticks, time_base=Fraction(1, 1000))

    source = open_source(str(path))

    assert source.info.start_s == Fraction(1, 2)
    assert [f.time_s for f in read_all(source)] == [0.0, 0.04, 0.08, 0.12, 0.16]


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (5, 5), (12, 12), (99, 12)])
def test_max_frames(make_clip: MakeClip, limit: int, expected: int) -> None:
    source = open_source(str(make_clip(frames=12)), max_frames=limit)

    assert source.info.frame_count == expected
    assert len(read_all(source)) == expected
    assert source.warnings == []


def test_loop_goes_on_with_numbers_and_times(make_clip: MakeClip, shade_of: ShadeOf) -> None:
    path = make_clip("loop.ts", frames=4, rate=25, audio="aac")

    source = open_source(str(path), loop=True, max_frames=10)
    frames = read_all(source)

    assert_shades(frames, [shade_of(i % 4) for i in range(10)])
    assert [f.index for f in frames] == list(range(10))
    assert [f.time_s for f in frames] == pytest.approx([i / 25 for i in range(10)])
    assert not source.info.has_audio, "it would end after the first round"
    assert source.info.frame_count == 10
    assert open_source(str(path), loop=True).info.frame_count is None


def test_size_that_changes_midway_shows_in_the_frames(
    tmp_path: Path, make_clip: MakeClip, shade_of: ShadeOf
) -> None:
    # Both clips count their time from the same start: the clock falls back at the seam.
    small = make_clip("small.ts", frames=75, size_hw=(48, 64))
    large = make_clip("large.ts", frames=3, size_hw=(96, 128))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(small.read_bytes() + large.read_bytes())

    frames = read_all(open_source(str(joined)))

    assert [f.size_hw for f in frames] == [(48, 64)] * 75 + [(96, 128)] * 3
    assert_shades(frames[:75], [shade_of(i) for i in range(75)])
    steps = np.diff([f.time_s for f in frames])
    np.testing.assert_allclose(steps, 0.04, atol=0.02)


def _set_rotation(path: Path, quarter_turns: int) -> None:
    """Write the display matrix of the video track, as telephones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags, ids and times, layers
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarter_turns]
    one = 1 << 16
    matrix = (cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_rotation_tag_is_honoured(make_clip: MakeClip, quarter_turns: int) -> None:
    upright = np.zeros((48, 64, 3), dtype=np.uint8)
    upright[:24, :32] = 255  # top left
    path = make_clip(images=[upright] * 2)
    _set_rotation(path, quarter_turns)

    source = open_source(str(path))
    (frame, _) = read_all(source)

    # The matrix turns clockwise, and so does this.
    expected = np.rot90(upright, -quarter_turns)
    assert source.info.size_hw == expected.shape[:2]
    assert frame.image_bgr.shape == expected.shape
    assert np.abs(frame.image_bgr.astype(int) - expected).mean() < 5


@pytest.mark.parametrize("size_hw", [(2, 2), (2, 64), (64, 2), (34, 50)])
def test_small_and_unusual_sizes(make_clip: MakeClip, size_hw: tuple[int, int]) -> None:
    frames = read_all(open_source(str(make_clip(frames=2, size_hw=size_hw))))

    assert [f.size_hw for f in frames] == [size_hw] * 2


def test_one_pixel(make_clip: MakeClip) -> None:
    path = make_clip("dot.avi", frames=2, size_hw=(1, 1), codec="mjpeg")

    frames = read_all(open_source(str(path)))

    assert [f.size_hw for f in frames] == [(1, 1)] * 2


@pytest.mark.parametrize("matrix", [1, 6], ids=["bt709", "bt601"])
@pytest.mark.parametrize("full_range", [False, True])
def test_declared_colour_matrix_and_range_are_honoured(
    make_clip: MakeClip, matrix: int, full_range: bool
) -> None:
    colour = np.array([58, 27, 199], dtype=np.uint8)
    options = {"crf": "0", "preset": "ultrafast"}
    path = make_clip(images=[np.broadcast_to(colour, (32, 32, 3)).copy()] * 2, options=options)
    kr, kb = (0.2126, 0.0722) if matrix == 1 else (0.299, 0.114)
    blue, green, red = colour / 255
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)
    if full_range:
        yuv = (255 * luma, 128 + 255 * cb, 128 + 255 * cr)
    else:
        yuv = (16 + 219 * luma, 128 + 224 * cb, 128 + 224 * cr)

    import av

    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options=options)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full_range else 1
        planes = [
            np.full(n, round(v), dtype=np.uint8) for n, v in zip((1024, 256, 256), yuv, strict=True)
        ]
        frame = av.VideoFrame.from_ndarray(np.concatenate(planes).reshape(48, 32), "yuv420p")
        frame.colorspace, frame.color_range = matrix, 2 if full_range else 1
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    (read,) = read_all(open_source(str(path)))

    np.testing.assert_allclose(read.image_bgr[16, 16].astype(int), colour, atol=3)


class TestDamage:
    """A damaged file gives what it still holds, and says what it lost."""

    @pytest.fixture
    def noisy(self) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return list(rng.integers(0, 256, (20, 48, 64, 3), dtype=np.uint8))

    def test_cut_in_the_middle_counts_what_is_lost(
        self, make_clip: MakeClip, noisy: list[np.ndarray]
    ) -> None:
        path = make_clip(images=noisy, faststart=True, audio="aac")
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])

        source = open_source(str(path))
        frames = read_all(source)

        assert 5 <= len(frames) <= 15
        assert source.info.frame_count == 20
        assert source.frames_lost == 20 - len(frames)
        assert source.warnings[0] == (
            f"{path} is damaged or was cut off: {len(frames)} frames decoded, "
            f"{20 - len(frames)} lost"
        )

    @pytest.mark.parametrize("name", ["a.mkv", "a.avi"])
    def test_cut_in_other_containers(
        self, make_clip: MakeClip, noisy: list[np.ndarray], name: str
    ) -> None:
        path = make_clip(name, images=noisy, codec="mpeg4")
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])

        source = open_source(str(path))
        frames = read_all(source)

        assert 2 <= len(frames) <= 15
        assert source.frames_lost == 20 - len(frames)
        about = "about " if name == "a.mkv" else ""
        assert source.warnings[0] == (
            f"{path} is damaged or was cut off: {len(frames)} frames decoded, "
            f"{about}{20 - len(frames)} lost"
        )

    @pytest.mark.parametrize("begins", [0.3, 0.8])
    def test_zeros_in_an_avi_are_lost_pictures(self, make_clip: MakeClip, begins: float) -> None:
        """As of a recorder that lost its power, or a repaired card."""
        rng = np.random.default_rng(0)
        images = list(rng.integers(0, 256, (150, 48, 64, 3), dtype=np.uint8))
        path = make_clip("zeros.avi", images=images, codec="mjpeg", pix_fmt="yuvj420p")
        data = bytearray(path.read_bytes())
        at, end = int(len(data) * begins), data.rindex(b"idx1")
        data[at:end] = bytes(end - at)
        path.write_bytes(data)

        source = open_source(str(path))
        frames = read_all(source)

        assert len(frames) == pytest.approx(150 * begins, abs=10)
        assert source.frames_lost == 150 - len(frames)
        assert source.warnings[0].startswith(f"{path} is damaged or was cut off")

    def test_holes_in_the_middle_do_not_end_the_file(
        self, make_clip: MakeClip, noisy: list[np.ndarray]
    ) -> None:
        # With one thread x264 writes the same bytes every time, and the hole is where it was.
        path = make_clip("holes.ts", images=noisy, options={"x264-params": "threads=1"})
        data = bytearray(path.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 2000] = bytes(2000)
        path.write_bytes(data)

        source = open_source(str(path))
        frames = read_all(source)

        assert len(frames) >= 15
        assert frames[-1].time_s == pytest.approx(19 / 25, abs=0.09), "it goes on after the hole"
        assert source.warnings

    def test_accounting_is_left_out_when_the_end_is_not_reached(
        self, make_clip: MakeClip, noisy: list[np.ndarray]
    ) -> None:
        path = make_clip(images=noisy, faststart=True)
        path.write_bytes(path.read_bytes()[:-1000])

        source = open_source(str(path), max_frames=3)

        assert len(read_all(source)) == 3
        assert (source.frames_lost, source.warnings) == (0, [])

    def test_looping_a_damaged_file_reports_it_once(
        self, make_clip: MakeClip, noisy: list[np.ndarray]
    ) -> None:
        path = make_clip(images=noisy, faststart=True)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])

        source = open_source(str(path), loop=True, max_frames=50)

        assert len(read_all(source)) == 50
        assert len(source.warnings) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
class TestPipes:
    """What comes through a pipe is there once: nobody else may read it."""

    @pytest.fixture
    def pipe(self, make_clip: MakeClip, tmp_path: Path) -> Iterator[Path]:
        clip = make_clip("a.ts", frames=50, audio="aac")
        path = tmp_path / "pipe"
        os.mkfifo(path)
        writer = threading.Thread(target=self._write, args=(path, clip.read_bytes()))
        writer.start()
        yield path
        writer.join(60)
        assert not writer.is_alive()

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError), path.open("wb") as file:
            file.write(data)

    def test_a_file_that_is_written_has_every_picture(self, pipe: Path, tmp_path: Path) -> None:
        source = open_source(str(pipe))
        assert not source.info.has_audio
        sink = Mp4Sink(tmp_path / "out.mp4", source.info)
        for frame in read_all(source):
            sink.write(frame.picture, frame)
        sink.close(ok=True)
        assert (sink.frames_out, source.frames_lost) == (50, 0)
        assert sink.warnings == [
            f"{tmp_path / 'out.mp4'} has no sound: it comes through a pipe, which is read once"
        ]

    def test_it_cannot_begin_again(self, pipe: Path) -> None:
        with pytest.raises(UsageError, match="is a pipe, which is read once"):
            open_source(str(pipe), loop=True)


class TestRefusals:
    """Each a single line that says what to do."""

    def refused(self, spec: object) -> str:
        with pytest.raises(SourceError) as caught:
            open_source(str(spec))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "gone.mp4"
        assert self.refused(path) == (
            f"no such file: {path}: spec takes a video file, a webcam number, an rtsp:// or "
            "http(s):// URL, an image, a folder or a glob"
        )

    def test_empty(self, tmp_path: Path) -> None:
        path = tmp_path / "empty.mp4"
        path.touch()
        assert self.refused(path) == f"{path} is empty (0 bytes): copy or record it again"

    def test_text_renamed(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.mp4"
        path.write_text("these are notes, not pictures\n" * 100)
        assert self.refused(path) == (
            f"{path} is not a video that FFmpeg can read: give a video file, an image or a folder"
        )

    def test_text_that_ffmpeg_would_play_as_a_film(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("these are notes, not pictures\n" * 100)
        assert self.refused(path) == (
            f"{path} is not a video: give a video file, an image or a folder"
        )

    def test_cut_before_the_index(self, make_clip: MakeClip) -> None:
        path = make_clip(frames=5)
        whole = path.read_bytes()
        path.write_bytes(whole[: whole.index(b"moov") - 4])
        assert self.refused(path) == (
            f"{path} was cut off: its index (the moov atom) is missing, so none of it can be "
            "decoded: copy it again, or repair it with a tool such as untrunc"
        )

    def test_cut_right_after_the_index(self, make_clip: MakeClip) -> None:
        path = make_clip(frames=5, faststart=True)
        whole = path.read_bytes()
        path.write_bytes(whole[: whole.index(b"mdat") + 20])
        text = self.refused(path)
        assert text.startswith(f"{path} holds no frame that can be decoded")
        assert text.endswith(": it is damaged or was cut off: copy or record it again")

    def test_sound_only(self, tmp_path: Path) -> None:
        import wave

        path = tmp_path / "sound.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(8000))
        assert self.refused(path) == (f"{path} has no video stream: give a file that has pictures")

    def test_unreadable(self, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
        import av

        path = make_clip(frames=1)

        def deny(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(av, "open", deny)
        assert self.refused(path) == (
            f"cannot read {path} (permission denied): change its permissions, or run as somebody "
            "who may read it"
        )

    def test_colon_in_a_name_is_no_protocol(
        self, tmp_path: Path, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_clip("12:30:05.mp4", frames=2)
        monkeypatch.chdir(tmp_path)
        assert len(read_all(open_source("12:30:05.mp4"))) == 2

    @pytest.mark.parametrize("limit", [0, -1])
    def test_no_frames_wanted(self, make_clip: MakeClip, limit: int) -> None:
        with pytest.raises(UsageError) as caught:
            open_source(str(make_clip(frames=1)), max_frames=limit)
        assert str(caught.value) == f"cannot process {limit} frames: use max_frames=1 or more"


def test_real_clip(video_dir: Path) -> None:
    source = open_source(str(video_dir / "highway_960x540_25fps.mp4"), max_frames=60)
    frames = read_all(source)

    assert source.info.rate == 25
    assert source.info.has_audio
    assert [f.size_hw for f in frames] == [(540, 960)] * 60
    assert [f.time_s for f in frames] == [i / 25 for i in range(60)]
