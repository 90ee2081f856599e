"""Short clips of ten kinds, made from the sample drive: what archives are measured with.

    python -m benchmarks.archive.clips FOLDER --count 50

Seven kinds are whole: three codecs, a variable frame rate, sound, a picture turned by its header,
odd sides. Of the others one is damaged in its middle, one was cut off, and one has lost its index.
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CLIP = Path(__file__).resolve().parent.parent.parent / "samples" / "drive.mp4"
RATE = 15

KINDS = (
    "h264.mp4",
    "mjpeg.avi",
    "mpeg2.ts",
    "variable.mkv",
    "sound.mp4",
    "turned.mp4",
    "odd.mkv",
    "damaged.ts",
    "cut.ts",
    "broken.mp4",
)


def make_clips(folder: Path, count: int, *, frames: int = 30, height: int = 180) -> list[Path]:
    """Write so many clips, kind by kind, in folders of five; each is another piece of the drive.

    Returns:
        Their paths, in order.
    """
    pictures = list(_pictures(height))
    paths = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        path = folder / f"day{number // 5:02d}" / f"{number:03d}-{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        begin = (number * 7) % max(len(pictures) - frames, 1)
        write(path, kind, pictures[begin : begin + frames])
        paths.append(path)
    return paths


def write(path: Path, kind: str, pictures: Sequence[Any]) -> None:
    """Write one clip of a kind."""
    name = kind.partition(".")[0]
    codec = {"mjpeg": "mjpeg", "mpeg2": "mpeg2video"}.get(name, "libx264")
    ticks = [i + (i // 3) for i in range(len(pictures))] if name == "variable" else None
    if name == "odd":
        pictures = [picture[:-1, :-1] for picture in pictures]
    encode(path, pictures, codec, ticks, sound=name == "sound")
    data = bytearray(path.read_bytes())
    if name == "turned":
        at = data.index(b"tkhd") + 44  # version and flags, ids and times, layers
        turn = (0, 1, 0, -1, 0, 0, 0, 0)
        data[at : at + 36] = struct.pack(">9i", *(v << 16 for v in turn), 1 << 30)
    elif name == "damaged":
        middle = len(data) // 2
        for at in range(middle, middle + len(data) // 8, 97):
            data[at] ^= 0x5A
    elif name == "cut":
        del data[len(data) * 2 // 3 :]
    elif name == "broken":
        data[data.index(b"moov") : data.index(b"moov") + 4] = b"junk"
    path.write_bytes(data)


def encode(
    path: Path,
    pictures: Sequence[Any],
    codec: str,
    ticks: Sequence[int] | None = None,
    *,
    sound: bool = False,
) -> None:
    """Write pictures as a video; picture i stands at `ticks[i]`."""
    import av

    with av.open(str(path), "w") as output:
        # Slower presets do not write the same bytes each time.
        options = {"preset": "ultrafast"} if codec == "libx264" else {}
        stream = output.add_stream(codec, rate=RATE, options=options)
        height, width = pictures[0].shape[:2]
        stream.height, stream.width = height, width
        odd = height % 2 or width % 2
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv444p" if odd else "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = 10
        track = None
        if sound:
            track = output.add_stream("aac", rate=16_000)
            track.codec_context.layout = "mono"
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
            frame.pts, frame.time_base = (ticks[i] if ticks else i), Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if track is not None:
            for start in range(0, 16_000 * len(pictures) // RATE, 1024):
                wave = np.sin(np.arange(start, start + 1024) * 0.17)[None].astype(np.float32) / 4
                part = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                part.sample_rate, part.pts, part.time_base = 16_000, start, Fraction(1, 16_000)
                output.mux(track.encode(part))
            output.mux(track.encode(None))


def _pictures(height: int) -> Iterator[Any]:
    import av

    with av.open(str(CLIP)) as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="bgr24")
            width = picture.shape[1] * height // picture.shape[0] // 2 * 2
            yield cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--height", type=int, default=180)
    arguments = parser.parse_args(argv)
    paths = make_clips(
        arguments.folder, arguments.count, frames=arguments.frames, height=arguments.height
    )
    print(f"{len(paths)} clips in {arguments.folder}")


if __name__ == "__main__":
    main()
