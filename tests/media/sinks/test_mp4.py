"""The mp4 sink: what it writes is read back and compared."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from roadseg.core.errors import SinkError, UsageError
from roadseg.core.planes import Colours, Planes
from roadseg.core.types import Frame, Image
from roadseg.media.sinks import encoder
from roadseg.media.sinks import mp4 as mp4_sink
from roadseg.media.sinks.mp4 import Mp4Sink
from roadseg.media.sinks.pixels import even, letterbox
from roadseg.media.sinks.sink import NullSink, Sink, open_sink
from roadseg.media.sources.base import SourceInfo
from roadseg.media.sources.opening import open_source
from roadseg.video.outputs import Outputs
from tests.support.planes import ALL_COLOURS

pytestmark = pytest.mark.usefixtures("as_typed")

MakeClip = Callable[..., Path]

INFO = SourceInfo(
    name="test",
    kind="file",
    size_hw=(48, 64),
    rate=Fraction(25),
    frame_count=None,
    has_audio=False,
    path=None,
    time_base=Fraction(1, 25),
)


def frame_at(index: int, time_s: float | None = None) -> Frame:
    """A frame's number and time; sinks do not look at its picture."""
    time_s = index / 25 if time_s is None else time_s
    return Frame(np.zeros((1, 1, 3), dtype=np.uint8), index, time_s, 0.0)


def grey(level: int, size_hw: tuple[int, int] = (48, 64)) -> Image:
    return np.full((*size_hw, 3), level, dtype=np.uint8)


def transcode(source_path: Path, output: Path, *, max_frames: int | None = None) -> Sink:
    """Source to sink, unchanged."""
    with open_source(str(source_path), max_frames=max_frames) as source:
        sink = open_sink(output, source.info)
        while (frame := source.read()) is not None:
            sink.write(frame.image_bgr, frame)
    sink.close(ok=True)
    return sink


def read_back(path: Path) -> list[Frame]:
    with open_source(str(path)) as source:
        return list(iter(source.read, None))


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


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


def test_even_worked_example() -> None:
    image = np.arange(3, dtype=np.uint8).reshape(1, 3, 1).repeat(3, axis=2)
    padded = even(image)
    assert padded[..., 0].tolist() == [[0, 1, 2, 2], [0, 1, 2, 2]]
    assert even(padded) is padded


def test_letterbox_keeps_the_shape_on_black() -> None:
    fitted = letterbox(grey(200, (10, 10)), (10, 30))
    assert fitted.shape == (10, 30, 3)
    assert (fitted[:, 10:20] == 200).all()
    assert (fitted[:, :10] == 0).all()
    assert (fitted[:, 20:] == 0).all()
    assert letterbox(grey(1, (1, 1000)), (4, 4)).any(axis=2).sum() == 4
    image = grey(1, (4, 4))
    assert letterbox(image, (4, 4)) is image


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


class TestSound:
    def packets(self, path: Path) -> tuple[str, list[Fraction], list[bytes]]:
        """Codec, start of each packet in seconds, and its bytes."""
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            read = [p for p in container.demux(stream) if p.size]
            times = [p.pts * p.time_base for p in read]
            return stream.codec_context.name, times, [bytes(p) for p in read]

    @pytest.mark.parametrize("codec", ["aac", "libmp3lame"])
    def test_is_copied_bit_for_bit_at_the_same_times(
        self, tmp_path: Path, make_clip: MakeClip, codec: str
    ) -> None:
        source = make_clip(frames=50, audio=codec)
        sink = transcode(source, tmp_path / "out.mp4")

        name, times, data = self.packets(source)
        copy_name, copy_times, copy_data = self.packets(tmp_path / "out.mp4")
        assert sink.warnings == []
        assert copy_name == name
        assert copy_data == data[: len(copy_data)]
        assert len(data) - len(copy_data) <= 3, "all but what lies behind the last picture"
        assert [float(t) for t in copy_times] == pytest.approx(
            [float(t) for t in times[: len(copy_times)]], abs=1e-3
        )

    @pytest.mark.parametrize(
        ("name", "codec"), [("a.mkv", "pcm_s16le"), ("a.avi", "pcm_s16le"), ("a.ts", "aac")]
    )
    def test_of_other_containers_becomes_aac(
        self, tmp_path: Path, make_clip: MakeClip, name: str, codec: str
    ) -> None:
        source = make_clip(name, frames=50, audio=codec)
        sink = transcode(source, tmp_path / "out.mp4")

        assert sink.warnings == []
        copied_name, times, _ = self.packets(tmp_path / "out.mp4")
        assert copied_name == "aac"
        assert 1.7 < times[-1] < 2.05
        assert self.pitch_hz(tmp_path / "out.mp4") == pytest.approx(440, abs=5)

    @staticmethod
    def pitch_hz(path: Path) -> float:
        with av.open(str(path)) as container:
            rate = container.streams.audio[0].rate
            parts = [f.to_ndarray()[0] for f in container.decode(audio=0)]
        wave = np.concatenate(parts)[rate // 4 : rate // 4 + rate].astype(float)
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
        return float(np.argmax(spectrum) * rate / len(wave))

    def test_ends_with_the_last_picture(self, tmp_path: Path, make_clip: MakeClip) -> None:
        source = make_clip(frames=100, audio="aac")
        transcode(source, tmp_path / "out.mp4", max_frames=25)

        _, times, _ = self.packets(tmp_path / "out.mp4")
        assert 0.8 < times[-1] < 1.0
        assert len(read_back(tmp_path / "out.mp4")) == 25

    def test_stays_in_step_when_the_picture_starts_late(
        self, tmp_path: Path, make_clip: MakeClip
    ) -> None:
        ticks = [500 + 40 * i for i in range(25)]
        source = make_clip(
            "a.mkv", frames=25, ticks=ticks, time_base=Fraction(1, 1000), audio="aac", audio_s=1.5
        )
        transcode(source, tmp_path / "out.mp4")

        _, times, data = self.packets(source)
        _, copy_times, copy_data = self.packets(tmp_path / "out.mp4")
        at = data.index(copy_data[1])  # the first may be clipped by the edit list
        assert float(copy_times[1]) == pytest.approx(float(times[at]) - 0.5, abs=2e-3)
        assert float(times[at]) >= 0.4, "no more of it than a decoder's run-up"
        assert read_back(tmp_path / "out.mp4")[0].time_s == 0

    @pytest.mark.parametrize("from_s", [0.0, 3.0, None])
    def test_is_not_waited_for_while_the_file_grows(
        self, tmp_path: Path, from_s: float | None
    ) -> None:
        """Whenever sound begins, or if it never does, a process that is killed leaves pictures."""
        source = tmp_path / "late.mkv"
        with av.open(str(source), "w") as output:
            video = output.add_stream("libx264", rate=25)
            video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
            sound = output.add_stream("aac", rate=48000)
            sound.codec_context.layout = "mono"
            for i in range(150):
                if from_s is not None and i / 25 >= from_s:
                    samples = np.zeros((1, 1920), np.float32)
                    tone = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                    tone.sample_rate, tone.pts, tone.time_base = 48000, i * 1920, Fraction(1, 48000)
                    output.mux(sound.encode(tone))
                output.mux(video.encode(av.VideoFrame.from_ndarray(grey(i), format="bgr24")))
            output.mux(video.encode(None))
            if from_s is not None:
                output.mux(sound.encode(None))
        out = tmp_path / "out.mp4"
        with open_source(str(source)) as opened:
            sink = Mp4Sink(out, opened.info)
            for _ in range(140):
                frame = opened.read()
                assert frame is not None
                sink.write(frame.image_bgr, frame)
        (part,) = tmp_path.glob(".out.mp4.*.part")
        copy = tmp_path / "killed.mp4"
        copy.write_bytes(part.read_bytes())
        assert len(read_back(copy)) >= 140 - 50
        sink.close(ok=True)
        if from_s is not None:
            for path in (copy, out):
                _, times, _ = self.packets(path)
                assert float(times[0]) == pytest.approx(from_s, abs=0.05)
        assert len(read_back(out)) == 140

    def test_shorter_than_the_picture_is_no_damage(
        self, tmp_path: Path, make_clip: MakeClip
    ) -> None:
        source = make_clip(frames=50, audio="aac", audio_s=0.5)
        assert transcode(source, tmp_path / "out.mp4").warnings == []
        assert len(read_back(tmp_path / "out.mp4")) == 50

    def test_that_cannot_be_used_costs_a_warning_only(
        self, tmp_path: Path, make_clip: MakeClip
    ) -> None:
        silent = make_clip(frames=5)
        info = replace(INFO, has_audio=True, reopen=lambda: av.open(str(silent)))
        sink = Mp4Sink(tmp_path / "out.mp4", info)
        sink.write(grey(9), frame_at(0))
        sink.close(ok=True)
        assert sink.warnings == [
            f"{tmp_path / 'out.mp4'} has no sound: its sound has a codec that cannot be read"
        ]
        assert len(read_back(tmp_path / "out.mp4")) == 1


class TestEnds:
    def test_interrupted_run_leaves_what_was_written(self, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        for i in range(3):
            sink.write(grey(50 * i), frame_at(i))
        sink.close(ok=True)
        assert len(read_back(out)) == 3

    def test_failed_run_leaves_nothing(self, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        sink.write(grey(9), frame_at(0))
        sink.close(ok=False)
        assert leftovers(tmp_path) == []

    @pytest.mark.parametrize("ok", [True, False])
    def test_without_frames_an_earlier_file_stays(self, tmp_path: Path, ok: bool) -> None:
        out = tmp_path / "out.mp4"
        out.write_bytes(b"earlier")
        Mp4Sink(out, INFO).close(ok=ok)
        assert out.read_bytes() == b"earlier"
        assert leftovers(tmp_path) == ["out.mp4"]

    def test_writing_after_closing_is_refused(self, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        sink.close(ok=True)
        with pytest.raises(SinkError) as caught:
            sink.write(grey(9), frame_at(0))
        assert str(caught.value) == f"cannot write {out}: it was closed before"

    def test_full_disk_at_renaming(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        sink.write(grey(9), frame_at(0))

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(mp4_sink.os, "replace", full)
        with pytest.raises(SinkError) as caught:
            sink.close(ok=True)
        (part,) = leftovers(tmp_path)
        assert str(caught.value) == (
            f"the disk is full while writing {out}: free some space and run it again; "
            f"what was recorded is in {tmp_path / part}"
        )
        assert len(read_back(tmp_path / part)) == 1

    @pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
    @pytest.mark.parametrize(
        ("limit", "frames", "least"),
        # 9 kB each. Not even the header fits; no picture does; the fourth second does not; it does
        # not when closing; all pictures do, and the index does not.
        [(10, 3, 0), (20_000, 30, 0), (800_000, 150, 75), (800_000, 99, 75), (-100, 60, 60)],
    )
    def test_full_disk_keeps_what_fits(
        self, tmp_path: Path, limit: int, frames: int, least: int
    ) -> None:
        """A real write error inside libavformat: the system lets no file grow beyond a limit."""
        script = textwrap.dedent(
            """
            import resource, sys
            import numpy as np
            from fractions import Fraction
            from pathlib import Path
            from roadseg.core.errors import SinkError
            from roadseg.core.types import Frame
            from roadseg.media.sinks.mp4 import Mp4Sink
            from roadseg.media.sources.base import SourceInfo

            info = SourceInfo("t", "file", None, Fraction(25), None, False, None, Fraction(1, 25))
            path, limit, frames = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

            def work(sink):
                rng = np.random.default_rng(0)
                for i in range(frames):
                    image = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
                    sink.write(image, Frame(image, i, i / 25, 0.0))
                sink.close(ok=True)

            if limit < 0:  # less than is needed
                work(Mp4Sink(path, info))
                limit += path.stat().st_size
                path.unlink()
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            sink = Mp4Sink(path, info)
            try:
                work(sink)
            except SinkError as exc:
                sink.close(ok=False)
                print(exc)
                print(*sink.warnings)
            else:
                print("no error")
            """
        )
        out = tmp_path / "out.mp4"
        command = [sys.executable, "-c", script, str(out), str(limit), str(frames)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        error, warning = done.stdout.splitlines()
        assert error == (
            f"{out} grew larger than this system allows a file to be: "
            "raise the limit (ulimit -f) or process fewer frames (max_frames)"
        )
        if not least:
            assert (warning, leftovers(tmp_path)) == ("", [])
            return
        assert leftovers(tmp_path) == ["out.mp4"]
        kept = read_back(out)
        assert len(kept) >= least
        assert [f.time_s for f in kept] == pytest.approx([i / 25 for i in range(len(kept))])
        assert warning == f"{out} ends early: it holds the first {len(kept)} frames"

    @pytest.mark.parametrize(
        "error", [av.error.ExternalError(542398533, "broken"), RuntimeError("bug")]
    )
    def test_an_encoder_that_fails_midway(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        for i in range(40):
            sink.write(grey(i), frame_at(i))

        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(mp4_sink, "to_planes", fail)
        with pytest.raises((SinkError, RuntimeError), match="broken|bug"):
            sink.write(grey(40), frame_at(40))
        sink.close(ok=False)
        assert len(read_back(out)) == 40
        assert sink.warnings == [f"{out} ends early: it holds the first 40 frames"]
        assert leftovers(tmp_path) == ["out.mp4"]

    def test_no_room_for_moving_the_index(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        for i in range(10):
            sink.write(grey(i), frame_at(i))

        def full(_: Path, copy: Path) -> bool:
            copy.write_bytes(b"begun")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(mp4_sink, "move_index_to_front", full)
        sink.close(ok=True)
        assert len(read_back(out)) == 10
        data = out.read_bytes()
        assert data.index(b"mdat") < data.rindex(b"moov")
        assert sink.warnings == [
            f"{out} has its index at its end (no space left on device): it plays, but a browser "
            "has to load all of it first"
        ]
        assert leftovers(tmp_path) == ["out.mp4"]

    def test_what_was_written_is_sent_to_the_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[int] = []
        monkeypatch.setattr(
            mp4_sink.os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino)
        )
        sink = Mp4Sink(tmp_path / "out.mp4", INFO)
        outputs = Outputs(sink, None)
        sink.write(grey(9), frame_at(0))
        (part,) = tmp_path.glob(".*.part")
        outputs.sync()
        assert synced == [part.stat().st_ino]
        part_inode = synced.pop()
        sink.close(ok=True)
        assert synced == [part_inode, (tmp_path / "out.mp4").stat().st_ino], "before each renaming"
        outputs.sync()
        assert len(synced) == 2

    @pytest.mark.parametrize("name", ["x" * 251 + ".mp4", "ü" * 125 + "y.mp4"])
    def test_longest_names(self, tmp_path: Path, name: str) -> None:
        out = tmp_path / name
        assert len(os.fsencode(name)) == 255
        sink = Mp4Sink(out, INFO)
        assert len(leftovers(tmp_path)) == 2, "a part and a lock"
        sink.write(grey(9), frame_at(0))
        sink.close(ok=True)
        assert leftovers(tmp_path) == [name]
        assert len(read_back(out)) == 1


@pytest.mark.parametrize("name", ["x" * 252 + ".mp4", "x" * 256, "x" * 256 + "/out.mp4"])
def test_a_name_that_is_too_long_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match="no names of that length"):
        open_sink(tmp_path / name, INFO)
    assert leftovers(tmp_path) == []


class TestTargets:
    """Refused before any work is done."""

    def refused(self, output: Path, info: SourceInfo = INFO, **options: bool) -> str:
        with pytest.raises(SinkError) as caught:
            open_sink(output, info, **options)
        return str(caught.value)

    def test_the_source_itself(self, tmp_path: Path, make_clip: MakeClip) -> None:
        clip = make_clip(frames=1)
        before = clip.read_bytes()
        link = tmp_path / "link.mp4"
        link.symlink_to(clip)
        info = replace(INFO, path=clip)
        for name in (clip, tmp_path / "x" / ".." / clip.name, link):
            assert self.refused(name, info) == (
                f"--output {name} is the source itself: give the result another name"
            )
        assert clip.read_bytes() == before

    def test_a_folder(self, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        out.mkdir()
        assert self.refused(out) == (
            f"--output {out} is a folder: give a file name such as {out / 'out.mp4'}"
        )

    def test_existing_file_only_if_asked_for(self, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        out.write_bytes(b"earlier")
        assert self.refused(out, overwrite=False) == (
            f"--output {out} exists: remove it or give another name"
        )
        open_sink(out, INFO).close(ok=False)
        assert out.read_bytes() == b"earlier"

    def test_missing_folders_are_made(self, tmp_path: Path) -> None:
        sink = open_sink(tmp_path / "a" / "b" / "out.mp4", INFO)
        sink.write(grey(9), frame_at(0))
        sink.close(ok=True)
        assert leftovers(tmp_path / "a" / "b") == ["out.mp4"]

    def test_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        out = tmp_path / "file" / "out.mp4"
        assert self.refused(out).startswith(f"cannot write {out}: ")

    @pytest.mark.parametrize(
        ("code", "text"),
        [
            (
                13,
                "no permission to write {}: give a folder that you own, or change its permissions",
            ),
            (30, "the disk of {} is read-only: give a folder on another one"),
            (28, "the disk is full while writing {}: free some space and run it again"),
            (36, "cannot write {}: this system has no names of that length: shorten it"),
        ],
    )
    def test_folder_that_refuses(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, text: str
    ) -> None:
        def deny(self: Path, *_: object, **__: object) -> None:
            raise OSError(code, os.strerror(code), str(self))

        monkeypatch.setattr(Path, "open", deny)
        out = tmp_path / "out.mp4"
        assert self.refused(out) == text.format(out)

    @pytest.mark.parametrize(("name", "better"), [("a.avi", "a.mp4"), ("a.MKV", "a.mp4")])
    def test_other_containers(self, tmp_path: Path, name: str, better: str) -> None:
        with pytest.raises(UsageError) as caught:
            open_sink(tmp_path / name, INFO)
        assert str(caught.value) == (
            f"cannot write {Path(name).suffix} files: use --output {tmp_path / better}"
        )

    def test_single_image(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            open_sink(tmp_path / "a.png", INFO)
        assert str(caught.value) == (
            "cannot write several frames into a single image: "
            f"give a folder, --output {tmp_path / 'a'}"
        )

    def test_symbolic_link_keeps_leading_to_the_new_file(self, tmp_path: Path) -> None:
        real, link = tmp_path / "real.mp4", tmp_path / "link.mp4"
        link.symlink_to(real)
        sink = open_sink(link, INFO)
        sink.write(grey(9), frame_at(0))
        sink.close(ok=True)
        assert link.is_symlink()
        assert len(read_back(real)) == 1


class TestEncoders:
    def available(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        monkeypatch.setattr(encoder, "_has", lambda name: name in names)

    def test_without_any_h264_a_playable_file_and_a_warning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.available(monkeypatch, "mpeg4")
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, replace(INFO, time_base=Fraction(1, 90000)))
        for i in range(5):
            sink.write(grey(40 * i), frame_at(i))
        sink.close(ok=True)
        assert sink.warnings == [
            "this PyAV has no H.264 encoder: writing MPEG-4 part 2, which browsers do not play; "
            "run pip install --force-reinstall av"
        ]
        frames = read_back(out)
        assert [f.time_s for f in frames] == pytest.approx([i / 25 for i in range(5)], abs=1e-4)

    def test_none_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.available(monkeypatch)
        sink = Mp4Sink(tmp_path / "out.mp4", INFO)
        with pytest.raises(SinkError) as caught:
            sink.write(grey(9), frame_at(0))
        sink.close(ok=False)
        assert str(caught.value) == (
            "this PyAV has no H.264 encoder: run pip install --force-reinstall av"
        )
        assert leftovers(tmp_path) == []

    def test_size_that_the_encoder_refuses(self, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        with pytest.raises(SinkError) as caught:
            sink.write(grey(9, (2, 40_000)), frame_at(0))
        assert str(caught.value).startswith("the H.264 encoder refuses 40000x2 frames (")
        assert str(caught.value).endswith(f"): write images instead, --output {tmp_path / 'out'}")
        assert leftovers(tmp_path) == []


def test_null_sink_counts() -> None:
    sink = open_sink(None, INFO)
    assert isinstance(sink, NullSink)
    assert isinstance(sink, Sink)
    sink.write(grey(1), frame_at(0))
    sink.close(ok=True)
    assert (sink.frames_out, sink.path, sink.warnings) == (1, None, [])


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
