"""Animated pictures: every picture, with its own time."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import SourceError, UsageError
from roadseg.core.types import Frame
from roadseg.media.picture_file import is_animated
from roadseg.media.sources import animation
from roadseg.media.sources.base import Source
from roadseg.media.sources.opening import open_source

DURATIONS_MS = [100, 50, 200, 100, 30]
TIMES_S = [0.0, 0.1, 0.15, 0.35, 0.45]
GREYS = [10, 60, 110, 160, 210]
SUFFIXES = [".gif", ".png", ".apng", ".webp", ".avif"]


def save(path: Path, greys: list[int] = GREYS) -> Path:
    moving = cv2.Animation()
    moving.frames = [np.full((16, 24, 4), (g, g, g, 255), dtype=np.uint8) for g in greys]
    moving.durations = DURATIONS_MS[: len(greys)]
    suffix = ".png" if path.suffix == ".apng" else path.suffix
    good, data = cv2.imencodeanimation(suffix, moving)
    assert good
    path.write_bytes(np.asarray(data).tobytes())
    return path


def animated(path: Path) -> bool:
    with path.open("rb") as file:
        return is_animated(file)


def read_all(source: Source) -> list[Frame]:
    with source:
        frames = list(iter(source.read, None))
        assert source.read() is None
    return frames


def greys(frames: list[Frame]) -> list[int]:
    return [int(f.image_bgr[8, 12, 1]) for f in frames]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_picture_with_its_own_time(tmp_path: Path, suffix: str) -> None:
    source = open_source(str(save(tmp_path / f"a{suffix}")))
    frames = read_all(source)

    assert source.info.kind == "file"
    assert source.info.size_hw == (16, 24)
    assert [f.time_s for f in frames] == pytest.approx(TIMES_S)
    assert greys(frames) == pytest.approx(GREYS, abs=30 if suffix == ".gif" else 4)
    assert {f.image_bgr.shape for f in frames} == {(16, 24, 3)}
    assert [f.name for f in frames] == [None] * 5


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_loop_and_max_frames(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}")
    frames = read_all(open_source(str(path), loop=True, max_frames=12))
    assert len(frames) == 12
    times_s = [f.time_s for f in frames]
    assert times_s == sorted(set(times_s))
    assert len(read_all(open_source(str(path), max_frames=2))) == 2


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_long_animations_are_decoded_in_pieces(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animation, "_CHUNK_BYTES", 2 * 16 * 24 * 4)
    frames = read_all(open_source(str(save(tmp_path / f"a{suffix}"))))
    assert [f.time_s for f in frames] == pytest.approx(TIMES_S)
    assert greys(frames) == pytest.approx(GREYS, abs=4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_in_a_folder_an_animation_is_one_picture_and_a_line_says_so(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / f"a{suffix}")
    still = np.full((16, 24, 3), 250, dtype=np.uint8)
    assert cv2.imwrite(str(tmp_path / "b.png"), still)

    source = open_source(str(tmp_path))
    frames = read_all(source)

    assert greys(frames) == pytest.approx([GREYS[0], 250], abs=30)
    assert source.warnings == [
        f"a{suffix} is animated: in a series only the first picture is taken; "
        f'for all of it, spec="{path}"'
    ]
    assert capfd.readouterr().err == ""


def test_many_animations_in_a_folder_get_one_line(tmp_path: Path) -> None:
    for suffix in (".gif", ".webp", ".apng"):
        save(tmp_path / f"a{suffix}")
    (tmp_path / "b.png").write_bytes(b"broken")
    source = open_source(str(tmp_path))
    assert len(read_all(source)) == 3
    assert source.warnings == [
        "a.apng and 2 more are animated: in a series only the first picture is taken; "
        f'for all of it, spec="{tmp_path}/a.apng"',
        f"cannot read {tmp_path / 'b.png'}: it is damaged or not an image: replace or remove it",
    ]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".avif", ".jpg", ".bmp", ".tif"])
def test_a_still_picture_is_not_animated(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), np.full((16, 24, 3), 100, dtype=np.uint8))
    assert not animated(path)
    source = open_source(str(path))
    assert source.info.kind == "images"
    assert greys(read_all(source)) == pytest.approx([100], abs=30)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep", [0, 5, 20, 40, 100])
def test_pieces_of_files_are_refused_or_read_and_never_hang(
    tmp_path: Path, suffix: str, keep: int
) -> None:
    path = save(tmp_path / f"a{suffix}")
    path.write_bytes(path.read_bytes()[:keep])
    animated(path)
    with pytest.raises(SourceError) as caught:
        open_source(str(path))
    assert str(path) in str(caught.value)


def test_fps_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.webp")
    with pytest.raises(UsageError) as caught:
        open_source(str(path), fps=10)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"fps is for images and bare streams; {path} is animated and has its own rate: leave it out"
    )


@pytest.mark.parametrize("loop", [False, True])
def test_a_damaged_picture_costs_those_behind_it_and_is_told(tmp_path: Path, loop: bool) -> None:
    path = tmp_path / "a.webp"
    moving, rng = cv2.Animation(), np.random.default_rng(0)
    moving.frames = [rng.integers(g, g + 20, (96, 128, 3), dtype=np.uint8) for g in GREYS]
    moving.durations = DURATIONS_MS
    path.write_bytes(np.asarray(cv2.imencodeanimation(".webp", moving)[1]).tobytes())
    data = bytearray(path.read_bytes())
    fourth = [at for at in range(len(data)) if data[at : at + 4] == b"ANMF"][3]
    length = int.from_bytes(data[fourth + 4 : fourth + 8], "little")
    data[fourth + 64 : fourth + length - 16] = b"\xff" * (length - 80)
    path.write_bytes(data)
    source = open_source(str(path), loop=loop, max_frames=7 if loop else None)
    frames = read_all(source)
    if not loop:
        assert source.info.frame_count == 5
    means = [frame.image_bgr.mean() for frame in frames]
    assert means == pytest.approx(([g + 10 for g in GREYS[:3]] * 3)[: 7 if loop else 3], abs=4)
    assert source.frames_lost == 2
    assert source.warnings == [f"{path} is damaged: 3 frames decoded, 2 lost"]
