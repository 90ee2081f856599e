"""The mp4 sink: sound that is copied, decoded or missing."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from roadseg.media.sinks.mp4 import Mp4Sink
from roadseg.media.sources.opening import open_source
from tests.support.mp4 import INFO, MakeClip, frame_at, grey, read_back, transcode

pytestmark = pytest.mark.usefixtures("as_typed")


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
