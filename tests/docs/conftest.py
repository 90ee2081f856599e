"""Small stand-ins for the files that pages name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.loading.ladder import settle
from roadseg.loading.ladder.timing import time_rungs
from tests.support.clips import write_clip

_FRAMES = 6
_SIZE_HW = (96, 128)
_VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".ts", ".m4v", ".h264")


def _picture(i: int) -> np.ndarray:
    """Bright above, dark below; the border between them moves."""
    pixels = np.full((*_SIZE_HW, 3), 40, np.uint8)
    pixels[: 30 + 4 * i] = 220
    return pixels


def _write_animation(path: Path) -> None:
    animation = cv2.Animation()
    animation.frames = [_picture(i) for i in range(_FRAMES)]
    animation.durations = np.full(_FRAMES, 100, np.int32)
    assert cv2.imwriteanimation(str(path), animation)


@pytest.fixture
def hasty_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--model auto` times one network and no more, which on a busy machine takes it seconds."""
    monkeypatch.setattr(settle, "time_rungs", partial(time_rungs, limit_s=0.0))


@pytest.fixture
def stand_in() -> Callable[[Path], None]:
    """`stand_in(path)` writes something of the kind that the name says: a clip of six frames, a
    picture, labels for the clip, or a folder of pictures."""

    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = path.suffix.lower()
        if suffix in _VIDEOS:
            write_clip(path, images=[_picture(i) for i in range(_FRAMES)])
        elif suffix in (".gif", ".webp"):
            _write_animation(path)
        elif suffix in (".png", ".jpg"):
            cv2.imwrite(str(path), _picture(0))
        elif suffix == ".npz":
            np.savez(path, labels=np.full((_FRAMES, *_SIZE_HW), 3, np.uint8))
        elif "*" in path.name or not suffix:
            folder = path.parent if "*" in path.name else path
            folder.mkdir(exist_ok=True)
            for i in range(3):
                cv2.imwrite(str(folder / f"Cam{i}{suffix or '.jpg'}"), _picture(i))
        else:
            raise LookupError(f"no stand-in for {path.name}: add one, or to PARSED_ONLY why not")

    return write
