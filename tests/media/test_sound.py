"""Sound in the mp4 that is written: it is listened to, and compared with the picture."""

from __future__ import annotations

import functools
import http.server
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt
import pytest

from roadseg.core.errors import SinkError
from roadseg.media.sinks.mp4_boxes import keep_whole_fragments
from roadseg.media.sinks.sink import Sink, open_sink
from roadseg.media.sound.clock import PictureClock
from roadseg.media.sources.opening import open_source

_RATE = 25
_LISTEN_RATE = 48_000
_NOISE = 0.01

Wave = npt.NDArray[np.float32]


def write_marked(
    path: Path,
    codec: str = "aac",
    *,
    rate: int = 48_000,
    layout: str = "stereo",
    length_s: float = 3.0,
    sound_s: float | None = None,
    late_s: float = 0.0,
) -> Path:
    """A clip with a white picture and a beep of 1 kHz, both from 1.0 s to 1.2 s; quiet noise
    otherwise, so that no two packets are alike."""
    video_codec = "mpeg4" if path.suffix == ".avi" else "libx264"
    with av.open(str(path), "w") as output:
        video = output.add_stream(video_codec, rate=_RATE)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.options = {"bf": "0"}
        sound = output.add_stream(codec, rate=rate)
        sound.codec_context.layout = layout
        packed = codec.startswith(("pcm", "mp2", "wma")) and codec != "wmav2"
        sound.codec_context.format = "s16" if packed else "flt" if codec == "libopus" else "fltp"
        sound.codec_context.bit_rate = 96_000
        packets = []
        for i in range(round(length_s * _RATE)):
            level = 230 if 25 <= i < 30 else 20
            picture = np.full((48, 64, 3), level, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = i, Fraction(1, _RATE)
            packets += video.encode(frame)
        packets += video.encode(None)
        channels = sound.codec_context.layout.nb_channels
        size = sound.codec_context.frame_size or 1024
        first = round(late_s * rate)
        chance = np.random.default_rng(0)
        for start in range(first, round((sound_s or length_s) * rate), size):
            t = np.arange(start, start + size) / rate
            beeps = (t >= 1) & (t < 1.2)
            noise = _NOISE * 3**0.5 * chance.uniform(-1, 1, size)
            wave = np.where(beeps, 0.5 * np.sin(2000 * np.pi * t), noise)
            if packed:
                data = np.repeat((wave * 32_000).astype(np.int16), channels)[None]
            elif codec == "libopus":
                data = np.repeat(wave.astype(np.float32), channels)[None]
            else:
                data = np.repeat(wave.astype(np.float32)[None], channels, axis=0)
            name = sound.codec_context.format.name
            frame = av.AudioFrame.from_ndarray(data, format=name, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            packets += sound.encode(frame)
        packets += sound.encode(None)
        packets.sort(key=lambda p: p.dts * p.time_base)
        for packet in packets:
            output.mux(packet)
    return path


def convert(
    source_spec: object, output: Path, *, whole: bool = False, stands_s: float | None = None
) -> Sink:
    """Source to sink, unchanged; the last frame says that it is the last if `whole`."""
    with open_source(str(source_spec)) as source:
        sink = open_sink(output, source.info)
        frame = source.read()
        while frame is not None:
            following = source.read()
            if following is None:
                stands_s = frame.duration_s if stands_s is None else stands_s
                frame = replace(frame, is_last=whole, duration_s=stands_s)
            sink.write(frame.image_bgr, frame)
            frame = following
        sink.close(ok=True)
    return sink


class Result(NamedTuple):
    """What a player shows and plays: when white pictures and beeps begin, in seconds."""

    frames: int
    flashes_s: list[float]
    beeps_s: list[float]
    wave: Wave

    def loudness(self, begin_s: float, end_s: float) -> float:
        part = self.wave[round(begin_s * _LISTEN_RATE) : round(end_s * _LISTEN_RATE)]
        return float(np.sqrt(np.mean(part**2)))


def listen(path: Path) -> Wave:
    """The sound as it plays, on its own times."""
    wave = np.zeros(60 * _LISTEN_RATE, dtype=np.float32)
    end = 0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            begin = round(frame.pts * frame.time_base * _LISTEN_RATE)
            frame.pts = None
            convert_to = av.AudioResampler(format="fltp", layout="mono", rate=_LISTEN_RATE)
            for part in (*convert_to.resample(frame), *convert_to.resample(None)):
                samples = part.to_ndarray()[0, max(-begin, 0) :]
                begin = max(begin, 0)
                wave[begin : begin + len(samples)] = samples
                end = begin = begin + len(samples)
    return wave[:end]


def watch(path: Path) -> Result:
    flashes_s, count, white = [], 0, False
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            now_white = bool(frame.to_ndarray(format="gray").mean() > 120)
            if now_white and not white:
                flashes_s.append(float(frame.pts * frame.time_base))
            white, count = now_white, count + 1
    wave = listen(path)
    part = _LISTEN_RATE // 100
    loud = np.abs(wave[: len(wave) // part * part]).reshape(-1, part).max(axis=1) > 0.25
    at = np.flatnonzero(loud)
    begins = at[np.diff(at, prepend=-100) > 30]
    return Result(count, flashes_s, [float(i) / 100 for i in begins], wave)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.ts", "aac", 16_000),
        ("a.ts", "libmp3lame", 44_100),
        ("a.mkv", "mp2", 44_100),
        ("a.mkv", "libopus", 48_000),
        ("a.avi", "ac3", 48_000),
        ("a.mov", "pcm_s16le", 8_000),
        ("a.wmv", "wmav2", 44_100),
    ],
)
def test_is_in_step_and_complete(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    source = write_marked(tmp_path / name, codec, rate=rate, layout="mono")
    sink = convert(source, tmp_path / "out.mp4")
    result = watch(tmp_path / "out.mp4")
    assert sink.warnings == []
    assert result.frames == 75
    assert result.beeps_s == pytest.approx(result.flashes_s, abs=0.06)
    assert len(result.beeps_s) == 1
    assert len(result.wave) / _LISTEN_RATE == pytest.approx(3, abs=0.12)


@pytest.mark.parametrize("layout", ["5.1", "6.1", "7.1", "hexadecagonal"])
@pytest.mark.parametrize("name", ["a.mov", "a.avi", "a.mkv"])
def test_many_channels_become_stereo(tmp_path: Path, name: str, layout: str) -> None:
    source = write_marked(tmp_path / name, "pcm_s16le", layout=layout)
    assert convert(source, tmp_path / "out.mp4").warnings == []
    result = watch(tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.layout.name == "stereo"
    assert result.beeps_s == pytest.approx([1.0], abs=0.06)


def test_channels_in_an_order_of_their_own(tmp_path: Path) -> None:
    """PyAV would end the process over the table that goes with such an order. QuickTime lists
    channels one by one in a `chan` box, which is written by hand here."""
    source = write_marked(tmp_path / "a.mov", "pcm_s16le", layout="7.1")
    data = source.read_bytes()
    at = data.index(b"chan") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    labels = [1, 2, 3, 4, 10, 11, 5, 6]  # the surrounds before the backs
    entries = b"".join(label.to_bytes(4, "big") + bytes(16) for label in labels)
    box = b"chan" + bytes(4 + 4 + 4) + len(labels).to_bytes(4, "big") + entries
    grown = (len(box) + 4).to_bytes(4, "big") + box
    patched = bytearray(data[:at] + grown + data[at + size :])
    # The boxes around it grow by as much; the pictures lie before them and stay where they are.
    assert data.index(b"mdat") < data.index(b"moov")
    start = data.index(b"moov") - 4
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"sowt"):
        where = patched.rindex(name, start, at) - 4
        old = int.from_bytes(patched[where : where + 4], "big")
        patched[where : where + 4] = (old + len(grown) - size).to_bytes(4, "big")
    source.write_bytes(patched)

    assert convert(source, tmp_path / "out.mp4").warnings == []
    assert watch(tmp_path / "out.mp4").beeps_s == pytest.approx([1.0], abs=0.06)


@pytest.mark.parametrize(
    ("codec", "sound_s"), [("aac", 3.3), ("aac", 2.5), ("mp2", 3.0), ("ac3", 3.1)]
)
def test_joined_clips_do_not_drift_apart(tmp_path: Path, codec: str, sound_s: float) -> None:
    clip = write_marked(tmp_path / "a.ts", codec, layout="mono", sound_s=sound_s)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(clip.read_bytes() * 6)
    convert(joined, tmp_path / "out.mp4")
    result = watch(tmp_path / "out.mp4")
    assert result.frames == 6 * 75
    assert len(result.flashes_s) == 6
    assert result.beeps_s == pytest.approx(result.flashes_s, abs=0.1)


@pytest.mark.parametrize("away_s", [-600, 600])
def test_is_in_step_with_pictures_whose_first_stamp_strays(tmp_path: Path, away_s: int) -> None:
    marked = write_marked(tmp_path / "a.mkv")
    source = tmp_path / "first.mkv"
    with av.open(str(marked)) as given, av.open(str(source), "w") as output:
        copies = [output.add_stream_from_template(stream) for stream in given.streams]
        packets = [p for p in given.demux() if p.size]
        first = next(p for p in packets if p.stream.type == "video")
        for packet in packets:
            ticks_per_s = 1 / packet.time_base
            packet.pts = round(packet.pts + 1000 * ticks_per_s)
            packet.dts = round(packet.dts + 1000 * ticks_per_s)
            if packet is first:
                packet.pts += round(away_s * ticks_per_s)
                packet.dts = min(packet.dts, packet.pts)
            packet.stream = copies[packet.stream.index]
            output.mux(packet)
    convert(source, tmp_path / "out.mp4")
    result = watch(tmp_path / "out.mp4")
    assert result.frames == 75
    assert result.flashes_s == pytest.approx([1.0], abs=0.01)
    assert result.beeps_s == pytest.approx([1.0], abs=0.06)


@pytest.mark.parametrize("codec", ["aac", "mp2", "ac3", "libmp3lame"])
def test_rate_and_channels_may_change_on_the_way(tmp_path: Path, codec: str) -> None:
    first = write_marked(tmp_path / "a.ts", codec, rate=48_000, layout="stereo")
    second = write_marked(tmp_path / "b.ts", codec, rate=32_000, layout="mono")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    convert(joined, tmp_path / "out.mp4")
    result = watch(tmp_path / "out.mp4")
    assert len(result.flashes_s) == 2
    assert result.beeps_s == pytest.approx(result.flashes_s, abs=0.1)


@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize("codec", ["aac", "ac3"])
def test_lost_packets_are_silence_and_one_warning(tmp_path: Path, name: str, codec: str) -> None:
    source = write_marked(tmp_path / name, codec)
    with av.open(str(source)) as container:
        packets = [p for p in container.demux(audio=0) if p.size]
        lost = [bytes(p) for p in packets if 2.0 <= p.pts * p.time_base < 2.3]
    data = source.read_bytes()
    for packet in lost:
        # In a transport stream packets lie in pieces; the beginning is what matters.
        head = packet[:60]
        data = data.replace(head, b"\x01" * len(head))
    source.write_bytes(data)

    sink = convert(source, tmp_path / "out.mp4")
    result = watch(tmp_path / "out.mp4")
    (warning,) = sink.warnings
    assert warning.startswith("the sound is damaged (")
    assert result.frames == 75
    assert result.beeps_s == pytest.approx([1.0], abs=0.06)
    assert result.loudness(2.1, 2.2) < _NOISE / 10
    assert result.loudness(2.5, 2.9) > _NOISE / 2


def test_sound_that_is_damaged_from_the_start_is_silence_and_keeps_nothing_waiting(
    tmp_path: Path,
) -> None:
    source = write_marked(tmp_path / "a.mp4", "aac", length_s=4)
    with av.open(str(source)) as container:
        places = [
            (p.pos, p.size) for p in container.demux(audio=0) if p.size and p.pts < 2 * 48_000
        ]
    data = bytearray(source.read_bytes())
    for at, size in places:
        data[at : at + size] = b"\xff\x13" * (size // 2) + b"\x13" * (size % 2)
    source.write_bytes(data)
    with open_source(str(source)) as opened:
        sink = open_sink(tmp_path / "out.mp4", opened.info)
        for frame in iter(opened.read, None):
            sink.write(frame.image_bgr, frame)
            if round(frame.time_s, 2) == 1.8:
                (part,) = tmp_path.glob(".out.mp4*.part")
                killed = tmp_path / "killed.mp4"
                killed.write_bytes(part.read_bytes())
        sink.close(ok=True)
    assert keep_whole_fragments(killed) > 10
    (warning,) = sink.warnings
    assert warning.endswith("): 2.0 s of it are silent")
    assert watch(tmp_path / "out.mp4").loudness(2.5, 3.5) > _NOISE / 2


@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize("codec", ["aac", "libmp3lame"])
def test_random_damage_never_costs_a_picture(tmp_path: Path, name: str, codec: str) -> None:
    source = write_marked(tmp_path / name, codec, length_s=2)
    with av.open(str(source)) as container:
        places = [(p.pos, p.size) for p in container.demux(audio=0) if p.size and p.pos]
    data = source.read_bytes()
    for seed in range(4):
        chance = random.Random(seed)
        damaged = bytearray(data)
        for _ in range(20):
            begin, size = chance.choice(places[4:])
            at = min(begin + int(size * chance.random() ** 3), len(data) - 1)
            damaged[at] = chance.randrange(256)
        source.write_bytes(damaged)
        with open_source(str(source)) as opened:
            frames = len(list(iter(opened.read, None)))
        sink = convert(source, tmp_path / "out.mp4")
        assert sink.frames_out == frames
        assert len([w for w in sink.warnings if "sound" in w]) <= 1
        assert watch(tmp_path / "out.mp4").frames == frames


def test_that_begins_late_stays_late(tmp_path: Path) -> None:
    source = write_marked(tmp_path / "a.mkv", "mp2", late_s=0.7)
    assert convert(source, tmp_path / "out.mp4").warnings == []
    result = watch(tmp_path / "out.mp4")
    assert result.beeps_s == pytest.approx([1.0], abs=0.06)
    assert result.loudness(0.1, 0.6) < 0.001


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_that_outlasts_the_picture_is_kept_if_the_source_came_to_its_end(
    tmp_path: Path, codec: str
) -> None:
    source = write_marked(tmp_path / "a.mkv", codec, length_s=1.5, sound_s=4)
    convert(source, tmp_path / "out.mp4", whole=True)
    with av.open(str(tmp_path / "out.mp4")) as container:
        video = container.streams.video[0]
        assert float(video.duration * video.time_base) == pytest.approx(4, abs=0.08)
    assert len(listen(tmp_path / "out.mp4")) / _LISTEN_RATE == pytest.approx(4, abs=0.08)

    convert(source, tmp_path / "out.mp4", whole=False)
    assert len(listen(tmp_path / "out.mp4")) / _LISTEN_RATE == pytest.approx(1.5, abs=0.08)


def test_last_picture_stands_as_long_as_the_source_says(tmp_path: Path) -> None:
    source = write_marked(tmp_path / "a.mkv", length_s=1)
    convert(source, tmp_path / "out.mp4", whole=True, stands_s=3.0)
    with av.open(str(tmp_path / "out.mp4")) as container:
        video = container.streams.video[0]
        assert float(video.duration * video.time_base) == pytest.approx(24 / 25 + 3, abs=0.01)


def test_packet_that_the_container_refuses_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An invalid packet is the sound's fault, a full disk the output's."""
    source = write_marked(tmp_path / "a.mp4")
    real_open = av.open

    class Refusing:
        def __init__(self, container: av.container.OutputContainer, code: int) -> None:
            self._container, self._code = container, code

        def __getattr__(self, name: str) -> object:
            return getattr(self._container, name)

        def mux(self, packet: av.Packet) -> None:
            if packet.stream.type == "audio" and (packet.pts or 0) > 48_000:
                av.error.err_check(-self._code)
            self._container.mux(packet)

    def open_refusing(code: int, target: object, *args: object, **options: object) -> object:
        container = real_open(target, *args, **options)  # type: ignore[call-overload]
        return Refusing(container, code) if str(target).endswith(".part") else container

    monkeypatch.setattr(av, "open", functools.partial(open_refusing, 22))
    sink = convert(source, tmp_path / "out.mp4")
    assert len(sink.warnings) == 1
    assert "the sound is damaged (invalid argument)" in sink.warnings[0]
    monkeypatch.setattr(av, "open", functools.partial(open_refusing, 28))
    with pytest.raises(SinkError, match="the disk is full"):
        convert(source, tmp_path / "full.mp4")


def test_of_a_looping_source_is_left_out_with_a_line(tmp_path: Path) -> None:
    source = write_marked(tmp_path / "a.mp4", length_s=1)
    with open_source(str(source), loop=True, max_frames=40) as opened:
        sink = open_sink(tmp_path / "out.mp4", opened.info)
        for frame in iter(opened.read, None):
            sink.write(frame.image_bgr, frame)
        sink.close(ok=True)
    assert sink.warnings == [f"{tmp_path / 'out.mp4'} has no sound: loop repeats the pictures only"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """URL of `tmp_path` on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_of_a_url_reaches_the_output(tmp_path: Path, served: str) -> None:
    write_marked(tmp_path / "a.mp4")
    assert convert(f"{served}/a.mp4", tmp_path / "out.mp4").warnings == []
    assert watch(tmp_path / "out.mp4").beeps_s == pytest.approx([1.0], abs=0.06)


class TestClock:
    def test_sound_follows_the_join_that_the_pictures_saw(self) -> None:
        clock = PictureClock(Fraction(1))
        clock.picture(1.0, Fraction(0))
        clock.picture(2.9, Fraction(19, 10))
        assert clock.place(Fraction(29, 10), Fraction(19, 10)) == Fraction(19, 10)
        assert clock.place(Fraction(1), Fraction(2)) is None, "no picture stepped back so far"
        clock.picture(1.0, Fraction(2))
        assert clock.place(Fraction(1), Fraction(2)) == 2
        assert clock.place(Fraction(5, 4), Fraction(9, 4)) == Fraction(9, 4)

    def test_pictures_with_a_stray_stamp_move_no_sound(self) -> None:
        clock = PictureClock(Fraction(0))
        for source_s, time_s in ((0.0, 0), (600.0, 1), (2.0, 2)):
            clock.picture(source_s, Fraction(time_s))
        assert clock.place(Fraction(2), Fraction(2)) == 2

    def test_sound_of_joined_files_stays_with_the_pictures_beside_it(self) -> None:
        cuts_s = (Fraction(0), Fraction(3), Fraction(6), Fraction(9))
        clock = PictureClock(Fraction(0), cuts_s)
        # Pictures of the first file last 2.9 s, the second has lost its own, the third begins late.
        for source_s, time_s in ((0.0, 0), (2.8, "2.8"), (6.2, "2.9"), (9.0, "5.7"), (9.1, "5.8")):
            clock.picture(source_s, Fraction(time_s))
        expected_s = Fraction(29, 10)
        assert clock.place(Fraction(1), expected_s) == 1
        lost = [s for s in range(1, 120) if clock.is_beside_none(Fraction(s, 10))]
        assert lost == list(range(29, 60)), "the first one's last tenth, and all of the second"
        places_s = [clock.place(Fraction(s), expected_s) for s in (6, 9, 11)]
        assert [float(each or 0) for each in places_s] == pytest.approx([2.7, 5.7, 7.7])

    def test_a_join_within_a_joined_file_is_followed_as_in_a_single_one(self) -> None:
        clock = PictureClock(Fraction(0), (Fraction(0), Fraction(3)))
        for source_s, time_s in ((0.0, 0), (2.9, "2.9"), (0.5, 3), (0.6, "3.1")):
            clock.picture(source_s, Fraction(time_s))
        assert not clock.is_beside_none(Fraction(1))
        assert clock.place(Fraction("0.5"), Fraction(3)) == 3

    def test_sound_that_steps_back_alone_goes_on_where_it_was(self) -> None:
        clock = PictureClock(Fraction(0))
        clock.picture(9.0, Fraction(9))
        assert clock.place(Fraction(1), Fraction(5)) == 5
        assert clock.place(Fraction(2), Fraction(6)) == 6
