"""Which frames INT8 ranges are measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from roadseg.core.errors import DataError, reading, unreadable
from roadseg.core.geometry import network_size, preprocess
from roadseg.core.progress import ShowProgress, StageClock
from roadseg.core.size import SizeHW
from roadseg.core.types import Image
from roadseg.core.wording import option
from roadseg.datasets.labelled import read_image
from roadseg.datasets.opening import has_split, open_dataset
from roadseg.weights.calibration import FrameRecord

_DEFAULT_COUNT = 100
DEFAULT_EVERY = 4
_T = TypeVar("_T")


@dataclass(frozen=True)
class CalibrationFrames:
    """Frames as the network will see them.

    Attributes:
        records: what they are.
        batches: (1, h, w, 3) uint8 BGR, one for each record, all of one size.
        network_hw: that size.
        described: where they come from, for people: `train.txt`, `drive.mp4`.
        warnings: one line each, for people: what of a damaged video could not be read.
    """

    records: tuple[FrameRecord, ...]
    batches: list[npt.NDArray[np.uint8]]
    network_hw: SizeHW
    described: str
    warnings: tuple[str, ...] = ()


def collect_frames(
    data: Path,
    *,
    count: int | None = None,
    network_hw: SizeHW | None = None,
    frame_list: Path | None = None,
    progress: ShowProgress | None = None,
    stage: str = "frames",
    purpose: str = "calibrate on",
) -> CalibrationFrames:
    """Choose frames evenly from whatever `data` holds; the same ones each time.

    Args:
        data: a data set (see docs/data.md; its training split is used), any other folder of
            images, or a video file.
        count: how many at most; default: every 4th of a training split, 100 of anything else.
        network_hw: input size; default: what the first frame's aspect ratio gives.
        frame_list: a file that names the frames instead, one path a line, relative to `data`.
        progress: shows how many have been read.
        stage: what `progress` calls that.
        purpose: what they are for, in errors: "no images in x to calibrate on".

    Raises:
        DataError: there is nothing at `data`, no image in it, or one that cannot be read; or
            `frame_list` is missing, empty, or names a frame that is.
        SourceError: it is a file that is not a readable video.
    """
    clock = StageClock(stage, progress)
    if frame_list is not None:
        chosen = _listed(data, frame_list)
        chosen = chosen if count is None else evenly(chosen, count)
        return _of_images(data, chosen, frame_list.name, network_hw, clock)
    with reading(DataError, data):
        is_folder, is_file = data.is_dir(), data.is_file()
    if is_folder:
        return _from_folder(data, count, network_hw, clock, purpose)
    if not is_file:
        raise DataError(
            f"nothing at {data} to {purpose}",
            fix=f"give {option('--data')} a folder of images or a video file",
        )
    return _from_video(data, count or _DEFAULT_COUNT, network_hw, clock, purpose)


def evenly(items: Sequence[_T], count: int) -> list[_T]:
    """`count` of the items, the first included, at equal distances; all where there are fewer.

    >>> evenly("abcdefgh", 3)
    ['a', 'c', 'f']
    """
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _from_folder(
    root: Path,
    count: int | None,
    network_hw: SizeHW | None,
    clock: StageClock,
    purpose: str,
) -> CalibrationFrames:
    if has_split(root, "train"):
        images = [image for image, _label in open_dataset(root, "train").pairs]
        chosen = images[::DEFAULT_EVERY] if count is None else evenly(images, count)
        described = "train.txt" if (root / "train.txt").is_file() else "train"
    else:
        from roadseg.media.sources.images import images_in

        try:
            images = images_in(root)
        except OSError as exc:
            raise unreadable(DataError, root, exc) from exc
        if not images:
            raise DataError(
                f"no images in {root} to {purpose}",
                fix=f"give {option('--data')} a folder of .png or .jpg files, one in the CamVid "
                "layout (train.txt), or a video file",
            )
        chosen = evenly(images, count or _DEFAULT_COUNT)
        described = root.resolve().name
    return _of_images(root, chosen, described, network_hw, clock)


def _of_images(
    root: Path,
    chosen: list[Path],
    described: str,
    network_hw: SizeHW | None,
    clock: StageClock,
) -> CalibrationFrames:
    records, batches = [], []
    for done, path in enumerate(chosen, start=1):
        image_bgr = read_image(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        name = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
        network_hw = network_hw or network_size((image_bgr.shape[0], image_bgr.shape[1]))
        records.append(FrameRecord(name.as_posix(), digest))
        batches.append(preprocess(image_bgr, network_hw)[0][np.newaxis])
        clock.step(done, len(chosen))
    assert network_hw is not None
    return CalibrationFrames(tuple(records), batches, network_hw, described)


def _from_video(
    path: Path,
    count: int,
    network_hw: SizeHW | None,
    clock: StageClock,
    purpose: str,
) -> CalibrationFrames:
    """Evenly from the whole file, whose length only reading it tells for certain.

    Every frame is kept at first, and whenever there are twice as many as wanted, every second is
    dropped and only every second read from then on.
    """
    from roadseg.media.sources.opening import open_source

    kept: list[tuple[FrameRecord, npt.NDArray[np.uint8]]] = []
    stride, done = 1, 0
    with open_source(str(path)) as source:
        while (frame := source.read()) is not None:
            if done % stride == 0:
                if len(kept) == 2 * count:
                    kept, stride = kept[::2], 2 * stride
                if done % stride == 0:
                    network_hw = network_hw or network_size(frame.size_hw)
                    batch = preprocess(frame.image_bgr, network_hw)[0][np.newaxis].copy()
                    kept.append((_record(path, frame.index, frame.image_bgr), batch))
            done += 1
            clock.step(done, source.info.frame_count)
        warnings = tuple(source.warnings)
    if not kept or network_hw is None:
        raise DataError(
            f"{path} has no frames to {purpose}", fix=f"give another {option('--data')}"
        )
    chosen = evenly(kept, count)
    return CalibrationFrames(
        tuple(record for record, _batch in chosen),
        [batch for _record, batch in chosen],
        network_hw,
        path.name,
        warnings,
    )


def _record(path: Path, index: int, image_bgr: Image) -> FrameRecord:
    pixels = np.ascontiguousarray(image_bgr)
    return FrameRecord(f"{path.name}#{index}", hashlib.sha256(pixels).hexdigest())


def read_frame_list(path: Path) -> list[str]:
    """Paths of frames, relative to a data set's folder; `#` starts a comment.

    Raises:
        DataError: the list is missing, unreadable or empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(
            f"no list of frames at {path}",
            fix=f"give one with {option('--frame-list')}, one frame per line",
        ) from None
    except (OSError, UnicodeDecodeError) as exc:
        raise unreadable(DataError, path, exc) from exc
    frames = [text for line in lines if (text := line.partition("#")[0].strip())]
    if not frames:
        raise DataError(f"{path} lists no frames", fix="write one path per line")
    return frames


def _listed(root: Path, frame_list: Path) -> list[Path]:
    paths = [root / frame for frame in read_frame_list(frame_list)]
    for path in paths:
        with reading(DataError, path):
            is_there = path.is_file()
        if not is_there:
            raise DataError(
                f"no calibration frame at {path}",
                fix=f"give {option('--data')} the folder that the list's paths are relative to",
            )
    return paths
