"""Damaged files of every kind: each run ends in time, with a documented code and a single line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support import ROOT

_SEED = 9
_EACH = 44

# Name, video codec, pixel format, sound codec.
_KINDS = [
    ("a.mp4", "libx264", "yuv420p", "aac"),
    ("a.mov", "mjpeg", "yuvj420p", "pcm_s16le"),
    ("a.mkv", "libx264", "yuv420p", "mp3"),
    ("a.avi", "mpeg4", "yuv420p", "mp2"),
    ("a.ts", "libx264", "yuv420p", "aac"),
    ("a.webm", "libvpx", "yuv420p", "libopus"),
    ("a.wmv", "wmv2", "yuv420p", "wmav2"),
    ("a.gif", "gif", "rgb8", None),
]


def write(path: Path, codec: str, pix_fmt: str, sound: str | None) -> bytes:
    """A second of something that moves, with a tone."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, pix_fmt
        audio = None
        if sound is not None:
            audio = output.add_stream(sound, rate=48_000)
            audio.codec_context.layout = "stereo"
            audio.codec_context.bit_rate = 128_000
        for i in range(10):
            picture = np.roll(noise, 3 * i, axis=1)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            output.mux(video.encode(frame.reformat(format=pix_fmt)))
        output.mux(video.encode(None))
        if audio is not None:
            tone = np.sin(np.arange(48_000) / 20).astype(np.float32)
            whole = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp")
            whole.sample_rate, whole.pts, whole.time_base = 48_000, 0, Fraction(1, 48_000)
            resampler = av.AudioResampler(
                format=audio.codec_context.format,
                layout="stereo",
                rate=48_000,
                frame_size=audio.codec_context.frame_size or 1024,
            )
            for piece in (*resampler.resample(whole), *resampler.resample(None)):
                output.mux(audio.encode(piece))
            output.mux(audio.encode(None))
    return path.read_bytes()


def _bytes_anywhere(data: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(len(data), size=rng.integers(1, 30)):
        data[at] = rng.integers(256)


def _bytes_of_the_header(data: bytearray, rng: np.random.Generator) -> None:
    """Where the index lies: at one of both ends."""
    room = min(len(data), 1500)
    begin = 0 if rng.random() < 0.6 else len(data) - room
    for at in rng.integers(room, size=rng.integers(1, 8)):
        data[begin + at] = rng.integers(256)


def _extreme_number(data: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(max(1, min(len(data), 2000) - 4)))
    if rng.random() < 0.5:
        at = len(data) - 4 - at
    data[at : at + 4] = bytes([[0] * 4, [255] * 4, [127, 255, 255, 255]][rng.integers(3)])


def _block_lost(data: bytearray, rng: np.random.Generator) -> None:
    at, size = rng.integers(len(data)), rng.integers(1, len(data) // 4)
    del data[at : at + size]


def _block_zeroed(data: bytearray, rng: np.random.Generator) -> None:
    at, size = int(rng.integers(len(data))), int(rng.integers(1, len(data) // 4))
    data[at : at + size] = bytes(len(data[at : at + size]))


def _block_doubled(data: bytearray, rng: np.random.Generator) -> None:
    at, size = rng.integers(len(data)), rng.integers(1, len(data) // 4)
    data[at:at] = data[at : at + size]


def _cut_off(data: bytearray, rng: np.random.Generator) -> None:
    del data[rng.integers(1, len(data)) :]


_WAYS: list[Callable[[bytearray, np.random.Generator], None]] = [
    _bytes_anywhere,
    _bytes_of_the_header,
    _bytes_of_the_header,
    _extreme_number,
    _block_lost,
    _block_zeroed,
    _block_doubled,
    _cut_off,
]


def what_is_wrong(end: dict[str, object]) -> list[str]:
    """Everything that an ordinary end does not have."""
    wrong = []
    lines = [x for x in str(end["stderr"]).splitlines() if x]
    errors = [x for x in lines if x.startswith("error: ")]
    if end["code"] not in (0, 3, 4):
        wrong.append(f"exit code {end['code']}")
    if len(errors) != (end["code"] != 0):
        wrong.append(f"{len(errors)} errors are told")
    if any(not x.startswith(("error: ", "warning: ")) for x in lines):
        wrong.append("stderr has more than errors and warnings")
    if end["plays"] != (end["frames_out"] if end["plays"] is not None else None):
        wrong.append(f"{end['frames_out']} frames, and what plays: {end['plays']}")
    if end["code"] == 0 and not end["frames_out"]:
        wrong.append("nothing came out")
    left = set(end["left"]) - {"out.mp4", "stats.json", "stderr"}  # type: ignore[arg-type]
    if left:
        wrong.append(f"left behind: {sorted(left)}")
    return wrong


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind[0].split(".")[1])
def test_mutated_files_end_in_an_ordinary_way(
    tmp_path: Path, kind: tuple[str, str, str, str | None]
) -> None:
    name, codec, pix_fmt, sound = kind
    whole = write(tmp_path / name, codec, pix_fmt, sound)
    rng = np.random.default_rng([_SEED, *name.encode()])
    sources = [tmp_path / name]
    for i in range(_EACH):
        data = bytearray(whole)
        _WAYS[i % len(_WAYS)](data, rng)
        sources.append(tmp_path / f"{i}-{name}")
        sources[-1].write_bytes(data)

    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation.runner", str(tmp_path / "out")],
        cwd=ROOT,
        input="".join(f"{path}\n" for path in sources),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ends) == len(sources), done.stderr
    assert ends[0]["code"] == 0, "the whole file"
    assert ends[0]["plays"] == 10
    odd = [f"{e['source']}: {'; '.join(w)}\n{e['stderr']}" for e in ends if (w := what_is_wrong(e))]
    assert not odd, "\n".join(odd)
