"""A whole run in planes and the same run in BGR: one picture, the same times."""

from __future__ import annotations

import functools
import threading
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.core.planes import Planes
from roadseg.loading.segmenter import Segmenter
from roadseg.render import VIEWS
from roadseg.run.video import RunOptions, open_loop
from roadseg.video import opening
from roadseg.video.opening import VideoOptions
from roadseg.video.reading import ReadingOptions
from tests.media.sources.test_animation import save
from tests.support.clips import write_clip
from tests.support.planes import natural

Batch = npt.NDArray[np.uint8]

TICKS = [0, 40, 80, 121, 199, 240, 280, 320]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A short drive with odd times and sound."""
    picture = natural((120, 160))
    return write_clip(
        tmp_path / "clip.mp4",
        images=[np.roll(picture, 4 * i, axis=1) for i in range(len(TICKS))],
        ticks=TICKS,
        time_base=Fraction(1, 1000),
        audio="aac",
        options={"crf": "4"},
    )


@pytest.fixture(autouse=True)
def _labels_do_not_depend_on_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    def infer(_: FakeBackend, batch_bgr: Batch) -> Batch:
        ids = np.mgrid[0 : batch_bgr.shape[1], 0 : batch_bgr.shape[2]].sum(axis=0) // 23
        return np.broadcast_to(ids.astype(np.uint8), batch_bgr.shape[:3]).copy()

    monkeypatch.setattr(FakeBackend, "infer", infer)


def run(clip: Path, output: Path, **options: Any) -> dict[str, Any]:
    chosen = RunOptions(str(clip), output, backend="fake", size_hw=(96, 128), hud=False, **options)
    with open_loop(chosen) as loop:
        stats = loop.run()
    assert stats.frames_out == len(TICKS)
    with av.open(str(output)) as container:
        frames = list(container.decode(video=0))
    with av.open(str(output)) as container:
        sound = [(p.pts, bytes(p)) for p in container.demux(audio=0)]
    return {
        "pictures": [frame.to_ndarray().astype(int) for frame in frames],
        "times": [frame.time for frame in frames],
        "sound": sound,
        "colours": (frames[0].colorspace, frames[0].color_range),
    }


@pytest.mark.parametrize("view", VIEWS)
def test_a_run_in_planes_is_the_same_run(
    clip: Path, tmp_path: Path, view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planar = run(clip, tmp_path / "planar.mp4", view=view)
    monkeypatch.setattr(opening, "_can_do_without_bgr", lambda *_: False)
    plain = run(clip, tmp_path / "plain.mp4", view=view)
    for name in ("times", "sound"):
        assert planar[name] == plain[name]
    assert planar["times"] == pytest.approx([tick / 1000 for tick in TICKS], abs=1e-9)
    for one, other in zip(planar["pictures"], plain["pictures"], strict=True):
        difference = np.abs(one - other)
        # Levels of 255, in brightness and colours. FFmpeg's BGR has one level less than the truth.
        assert difference.mean() < 1.5
        assert np.quantile(difference, 0.99) <= 8


def test_read_outs_and_steady_labels_need_no_bgr(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = ReadingOptions(smooth=True, readouts=True)
    planar = run(clip, tmp_path / "planar.mp4", reading=reading)
    monkeypatch.setattr(opening, "_can_do_without_bgr", lambda *_: False)
    plain = run(clip, tmp_path / "plain.mp4", reading=reading)
    assert planar["times"] == plain["times"]
    for one, other in zip(planar["pictures"], plain["pictures"], strict=True):
        assert np.abs(one - other).mean() < 1.5


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"output": Path("out.mp4")}, True),
        ({"output": Path("OUT.MP4"), "view": "mask"}, True),
        ({"measure": True}, True),
        ({"save_masks": Path("masks")}, True),
        ({"output": Path("pictures")}, False),
        ({"output": Path("out.mp4"), "reading": ReadingOptions(blur=("car",))}, False),
        ({"output": Path("out.mp4"), "reading": ReadingOptions(ignore_mask=Path("a.png"))}, False),
    ],
)
def test_what_can_do_without_bgr(
    clip: Path, options: dict[str, Any], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def open_source(spec: str, *, planar: bool, **_: object) -> None:
        asked.append(planar)
        raise InterruptedError(spec)

    monkeypatch.setattr(opening, "open_source", open_source)
    with (
        pytest.raises(InterruptedError),
        open_loop(RunOptions(str(clip), backend="fake", **options)),
    ):
        pass
    assert asked == [expected]


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What networks were chosen for: whether pictures stay in planes."""
    asked: list[bool] = []

    def fit(self: Segmenter, source_hw: object, rate: object, *, planar: bool, **_: object) -> int:
        asked.append(planar)
        return 1

    monkeypatch.setattr(Segmenter, "fit", fit)
    return asked


@pytest.mark.parametrize(
    ("pix_fmt", "options", "expected"),
    [
        ("yuv420p", {}, True),
        ("yuv420p", {"view": "doubt"}, False),
        ("yuv420p10le", {}, False),
        ("yuv422p", {}, False),
    ],
)
@pytest.mark.parametrize("joined", [False, True])
def test_a_network_is_chosen_for_pictures_as_they_come(
    tmp_path: Path,
    fitted: list[bool],
    pix_fmt: str,
    options: dict[str, Any],
    expected: bool,
    joined: bool,
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=2, pix_fmt=pix_fmt)
    parts = (clip, clip) if joined else ()
    asked = RunOptions(str(clip), backend="fake", measure=True, parts=parts, **options)
    with open_loop(asked) as loop:
        frame = loop.source.read()
    assert frame is not None
    assert isinstance(frame.picture, Planes) == expected
    assert fitted == [expected]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_come_in_bgr(tmp_path: Path, fitted: list[bool], suffix: str) -> None:
    path = save(tmp_path / f"some{suffix}")
    with open_loop(RunOptions(str(path), backend="fake", measure=True)) as loop:
        assert loop.source.info.kind == "file"
    assert fitted == [False]


def test_a_file_that_lies_elsewhere_comes_in_bgr(clip: Path, fitted: list[bool]) -> None:
    handler = functools.partial(SimpleHTTPRequestHandler, directory=clip.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/{clip.name}"
        with open_loop(RunOptions(url, backend="fake", measure=True)) as loop:
            assert loop.source.info.kind == "file"
            frame = loop.source.read()
        server.shutdown()
    assert frame is not None
    assert isinstance(frame.picture, np.ndarray)
    assert fitted == [False]


def test_a_window_needs_bgr(monkeypatch: pytest.MonkeyPatch) -> None:
    options = VideoOptions("clip.mp4", Path("out.mp4"))
    assert opening._can_do_without_bgr(options, None)
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    assert not opening._can_do_without_bgr(options, opening.Window("roadseg"))
