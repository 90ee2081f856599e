"""Which frames INT8 ranges are measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from roadseg.data import read_image
from roadseg.errors import DataError
from roadseg.preprocess import network_size, preprocess

__all__ = ["load_frames", "read_frame_list", "write_frame_list"]


def read_frame_list(path: Path) -> list[str]:
    """Paths of frames, relative to a data set's folder; `#` starts a comment.

    Raises:
        DataError: the list is missing, unreadable or empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(
            f"no calibration list at {path}: give one with --calibration, one frame per line"
        ) from None
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"cannot read {path}: {exc}") from exc
    frames = [text for line in lines if (text := line.partition("#")[0].strip())]
    if not frames:
        raise DataError(f"{path} lists no frames: write one path per line")
    return frames


def load_frames(
    root: Path, frames: list[str], network_hw: tuple[int, int] | None = None
) -> list[npt.NDArray[np.uint8]]:
    """Read frames as the network will see them.

    Args:
        root: folder that the paths are relative to.
        frames: paths, as `read_frame_list` returns them.
        network_hw: input size; default: what the first frame's aspect ratio gives.

    Returns:
        (1, h, w, 3) uint8 BGR arrays, all of one size.

    Raises:
        DataError: a frame is missing or damaged.
    """
    batches = []
    for frame in frames:
        path = root / frame
        if not path.is_file():
            raise DataError(
                f"no calibration frame at {path}: --data must be the folder that the list's "
                "paths are relative to"
            )
        image_bgr = read_image(path)
        network_hw = network_hw or network_size((image_bgr.shape[0], image_bgr.shape[1]))
        batches.append(preprocess(image_bgr, network_hw)[0][np.newaxis])
    return batches


def write_frame_list(path: Path, root: Path, *, every: int = 4) -> int:
    """Write the list that ships: each `every`-th frame of the training split, the first included.

    Returns:
        The number of frames.

    Raises:
        DataError: the data set cannot be read.
    """
    from roadseg.data import CamVid

    chosen = [image for image, _label in CamVid(root, "train").pairs[::every]]
    names = [image.relative_to(root).as_posix() for image in chosen]
    head = f"# Every {every}th frame of CamVid's training split; see README.md beside this file.\n"
    path.write_text(head + "\n".join(names) + "\n", encoding="utf-8")
    return len(names)
