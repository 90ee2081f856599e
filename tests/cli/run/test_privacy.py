"""No output of `roadseg run --blur` holds the original pixels.

The pictures show somebody whose clothes are squares of red and blue, 0 or 255, so that every
pixel that was hidden lies far from what it was, also after H.264.
"""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from roadseg.cli import main
from roadseg.core.types import Image
from tests.support.clips import write_clip

SIZE_HW = (96, 128)
SOMEBODY = (slice(32, 80), slice(32, 96))
GREEN = 220  # that of a pedestrian, for the fake network
ROAD = (90, 90, 90)
FRAMES = 6
LEAST_CHANGE = 60  # grey levels; H.264 alone changes the squares by a few


def picture(shift: int) -> Image:
    """Somebody on a road; the squares move, so that frames differ."""
    y, x = np.mgrid[0:48, 0:64]
    square = ((y // 4 + (x + shift * 4) // 4) % 2 * 255).astype(np.uint8)
    image_bgr = np.full((*SIZE_HW, 3), ROAD, np.uint8)
    image_bgr[SOMEBODY] = np.dstack([square, np.full_like(square, GREEN), 255 - square])
    return image_bgr


@pytest.fixture
def pictures() -> list[Image]:
    return [picture(index) for index in range(FRAMES)]


@pytest.fixture(params=["folder", "clip"])
def source(request: pytest.FixtureRequest, pictures: list[Image], tmp_path: Path) -> Path:
    if request.param == "clip":
        options = {"qp": "0"}
        path = tmp_path / "drive.mp4"
        return write_clip(path, images=pictures, options=options, pix_fmt="yuv444p")
    folder = tmp_path / "drive"
    folder.mkdir()
    for index, image_bgr in enumerate(pictures):
        cv2.imwrite(str(folder / f"{index}.png"), image_bgr)
    return folder


def run(source: Path, *options: object) -> None:
    arguments = ["run", str(source), "--backend", "fake", "--size", "96x128", "--no-show"]
    plain = ["--alpha", "0", "--no-legend", "--no-hud"]
    assert main([*arguments, *plain, *map(str, options)]) == 0


def written(path: Path) -> list[Image]:
    """The pictures of a video or a folder."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    return [cv2.imread(str(each)) for each in sorted(path.glob("*.png"))]


def kept(before: list[Image], after: list[Image]) -> float:
    """The share of somebody's pixels that are still what they were, of all frames.

    Red is compared, or blue: one channel far off is enough to be another pixel.
    """
    assert len(before) == len(after) == FRAMES
    same = []
    for one, other in zip(before, after, strict=True):
        for first in range(0, other.shape[1], SIZE_HW[1]):  # each half of side-by-side
            part = other[:, first : first + SIZE_HW[1]]
            change = np.abs(one[SOMEBODY].astype(int) - part[SOMEBODY].astype(int))
            same.append((change.max(axis=2) < LEAST_CHANGE).mean())
    return float(max(same))


@pytest.mark.parametrize("output", ["out.mp4", "out"])
@pytest.mark.parametrize("style", ["blur", "pixelate", "fill"])
def test_no_output_holds_the_original_pixels(
    source: Path, pictures: list[Image], tmp_path: Path, output: str, style: str
) -> None:
    out = tmp_path / output
    run(source, "--output", out, "--blur", "people", "--blur-style", style)
    assert kept(pictures, written(out)) == 0
    far = written(out)[0][:16]
    assert np.abs(far.astype(int) - 90).max() < 12, "the road far from them is as it was"


@pytest.mark.parametrize("options", [["--view", "side-by-side"], ["--smooth"], ["--loop"]])
def test_nor_in_other_views_and_ways(
    source: Path, pictures: list[Image], tmp_path: Path, options: list[str]
) -> None:
    out = tmp_path / "out"
    run(source, "--output", out, "--blur", "pedestrian,car", "--max-frames", FRAMES, *options)
    assert kept(pictures, written(out)) == 0


@pytest.mark.parametrize("output", [[], ["--output"]])
def test_nor_in_clips_and_snapshots_of_events(
    source: Path, pictures: list[Image], tmp_path: Path, output: list[str]
) -> None:
    clips = tmp_path / "clips"
    rule = ["--event", "walker: people > 5%", "--event-clips", clips]
    recording = [*output, tmp_path / "out.mp4"] if output else []
    run(source, "--blur", "people", *rule, *recording)
    assert kept(pictures, written(clips / "0001-walker.mp4")) == 0
    snapshot = cv2.imread(str(clips / "0001-walker.jpg"))
    for each in pictures:
        assert kept([each] * FRAMES, [snapshot] * FRAMES) < 0.02


def test_nor_where_the_ignore_mask_lies(
    source: Path, pictures: list[Image], tmp_path: Path
) -> None:
    ignored = np.zeros(SIZE_HW, np.uint8)
    ignored[40:] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), ignored)
    out = tmp_path / "out.mp4"
    run(source, "--output", out, "--blur", "people", "--ignore-mask", tmp_path / "mask.png")
    assert kept(pictures, written(out)) == 0


def test_nor_in_the_window(
    source: Path, pictures: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Image] = []

    class Window:
        def show(self, image_bgr: Image) -> bool:
            shown.append(image_bgr.copy())
            return True

        def close(self) -> None:
            pass

    monkeypatch.setattr("roadseg.video.opening.open_window", lambda *_, **__: Window())
    arguments = ["run", str(source), "--backend", "fake", "--size", "96x128", "--show"]
    plain = ["--alpha", "0", "--no-legend", "--no-hud", "--blur", "people"]
    assert main([*arguments, *plain]) == 0
    assert shown
    for image_bgr in shown:  # frames may be skipped: none may be like any of the source's
        assert kept(pictures, [image_bgr] * FRAMES) < 0.02


@pytest.mark.parametrize("output", ["out.mp4", "out"])
def test_without_it_the_comparison_finds_them(
    source: Path, pictures: list[Image], tmp_path: Path, output: str
) -> None:
    out = tmp_path / output
    run(source, "--output", out)
    assert kept(pictures, written(out)) > 0.8


@pytest.mark.parametrize("live", [[], ["--policy", "every"]])
@pytest.mark.parametrize("style", ["fill", "blur"])
def test_how_to_hide_without_what_is_refused(source, tmp_path, capsys, style, live):
    """Whoever types it expects that something is hidden."""
    words = ["run", str(source), "--backend", "fake", "--output", str(tmp_path / "out"), *live]
    assert main([*words, "--blur-style", style]) == 2
    assert capsys.readouterr().err == (
        f"error: --blur-style {style} says how to hide, not what: add --blur people,car, or leave "
        "it out\n"
    )
    assert not (tmp_path / "out").exists()


def test_the_usual_style_may_stand_in_a_configuration(source, tmp_path, capsys):
    config = tmp_path / "run.toml"
    for style, code in (("blur", 0), ("fill", 2)):
        config.write_text(
            f'blur_style = "{style}"\n[[source]]\nname = "a"\nurl = "{source}"\n'
            f'save_masks = "{tmp_path / style}"\n'
        )
        assert main(["run", "--backend", "fake", "--no-show", "--config", str(config)]) == code
    assert "says how to hide, not what" in capsys.readouterr().err
    assert not (tmp_path / "fill").exists()
