"""Writing rendered frames: a clip with its labels, or a data set in the CamVid layout."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from roadseg.core.errors import SinkError, UsageError, os_reason
from roadseg.core.files import claim_file, unwritable, whole_file, write_bytes, write_text
from roadseg.core.progress import ShowProgress, StageClock
from roadseg.core.types import Labels
from roadseg.core.wording import option
from roadseg.synth.drive import Drive, random_scene

LABEL_NAME = "{:06d}.png"
"""Name of a frame's label file."""

_FIX = "choose a folder you may write to that has room"

_CRF = "20"
_ENCODER = "libx264"


def write_clip(
    drive: Drive,
    output: Path,
    labels_dir: Path | None = None,
    labels_npz: Path | None = None,
    progress: ShowProgress | None = None,
) -> None:
    """Render a drive into an H.264 MP4 (yuv420p, faststart), with its labels beside it.

    Every file is written under a temporary name and renamed when whole; on an error nothing is
    left under the final names, except label files of frames already rendered.

    Args:
        drive: `drive.frames` frames are rendered.
        output: the .mp4 to write.
        labels_dir: folder for one 8-bit PNG of class ids a frame, `000000.png` and so on.
        labels_npz: file for all labels in one compressed array, key `labels`, (T, H, W) uint8.
        progress: shows how many frames are done.

    Raises:
        UsageError: not an .mp4, or odd sides, which the video format cannot hold.
        SinkError: a file cannot be written, or there is no H.264 encoder.
    """
    height, width = drive.size_hw
    if output.suffix.lower() != ".mp4":
        raise UsageError(f"cannot write {output}: the clip is an MP4", fix="name it *.mp4")
    if height % 2 or width % 2:
        raise UsageError(f"cannot encode {height}x{width}: H.264 needs even sides", fix="use such")
    stacked: list[Labels] = []
    clock = StageClock("frames", progress)
    with _translated(output):
        if labels_dir is not None:
            labels_dir.mkdir(parents=True, exist_ok=True)
        claim_file(output, instead="give a file name", fix=_FIX)
        with whole_file(output) as temporary, _encoder(temporary, drive) as encode:
            for index in range(drive.frames):
                image, labels = drive.render(index)
                encode(image)
                if labels_dir is not None:
                    _write_png(labels_dir / LABEL_NAME.format(index), labels)
                if labels_npz is not None:
                    stacked.append(labels)
                clock.step(index + 1, drive.frames)
        if labels_npz is not None:
            labels_npz.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(labels_npz) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, labels=np.stack(stacked))


def write_dataset(
    root: Path,
    count: int,
    size_hw: tuple[int, int] = (360, 480),
    seed: int = 0,
    split: str = "train",
    progress: ShowProgress | None = None,
) -> None:
    """Write `count` random scenes as ROOT/SPLIT/*.png, ROOT/SPLITannot/*.png and ROOT/SPLIT.txt.

    The list is written last, so that a data set broken off half-way has none.

    Args:
        seed: scene k is `random_scene((seed + 1) * 1_000_000 + k)`, so that no data set shares a
            street with a clip of a small seed, such as the one in `samples/`.

    Raises:
        UsageError: a count below 1, or a split that is not a plain name.
        SinkError: a file cannot be written.
    """
    if count < 1:
        raise UsageError(f"cannot write {count} scenes", fix=f"use {option('--count', 1)} or more")
    if not split or not split.replace("_", "").replace("-", "").isalnum():
        raise UsageError(
            f"split {split!r} is not a plain name", fix="use letters and digits, like train"
        )
    lines = []
    clock = StageClock("scenes", progress)
    with _translated(root):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            name = f"synth{seed:03d}_{index:06d}.png"
            image, labels = random_scene((seed + 1) * 1_000_000 + index, size_hw)
            _write_png(root / split / name, image)
            _write_png(root / f"{split}annot" / name, labels)
            lines.append(f"{split}/{name} {split}annot/{name}\n")
            clock.step(index + 1, count)
        write_text(root / f"{split}.txt", "".join(lines))


@contextlib.contextmanager
def _translated(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        where = exc.filename or place
        raise unwritable(where, exc, _FIX) from exc


def _write_png(path: Path, pixels: np.ndarray) -> None:
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise SinkError(f"cannot encode {path} as PNG", fix="please report this")
    write_bytes(path, data.tobytes(), durable=False)


@contextlib.contextmanager
def _encoder(path: Path, drive: Drive) -> Iterator[Callable[[np.ndarray], None]]:
    import av

    height, width = drive.size_hw
    rate = Fraction(drive.fps).limit_denominator(1001)
    try:
        container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        try:
            stream = container.add_stream(_ENCODER, rate=rate)
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuv420p"
            # One thread and fixed settings: the same frames give the same file.
            stream.options = {"crf": _CRF, "preset": "slow", "threads": "1"}

            def encode(image: np.ndarray) -> None:
                frame = av.VideoFrame.from_ndarray(image, format="bgr24")
                for packet in stream.encode(frame):
                    container.mux(packet)

            yield encode
            for packet in stream.encode(None):
                container.mux(packet)
        finally:
            container.close()
    except av.codec.codec.UnknownCodecError as exc:
        raise SinkError(
            "this PyAV has no H.264 encoder", fix="run pip install --force-reinstall av"
        ) from exc
    except av.FFmpegError as exc:
        raise SinkError(
            f"cannot write the clip: {os_reason(exc)}", fix="check the disk, or reinstall av"
        ) from exc
