"""Cameras through a `gst-launch-1.0` process, with a test picture in the camera's place."""

from __future__ import annotations

import os
import shutil
import threading
import time
from itertools import pairwise

import pytest

from roadseg.core.errors import SourceError
from roadseg.live.config import SourceConfig
from roadseg.live.run import LiveRun
from roadseg.loading.segmenter import Segmenter
from roadseg.media.sources import gstreamer, places
from roadseg.media.sources.gstreamer import GstSource, csi_elements, open_csi
from roadseg.media.sources.opening import open_source
from roadseg.media.sources.places import Csi, Pipeline
from tests.support.live import PATIENCE_S, eventually

needs_gst = pytest.mark.skipif(
    shutil.which(gstreamer.GST_LAUNCH) is None,
    reason="needs gst-launch-1.0 (apt install gstreamer1.0-tools gstreamer1.0-plugins-base)",
)

PLACE = Csi(0, 64, 48, 30)


def elements(head: str = "videotestsrc is-live=true pattern=white", more: str = "") -> str:
    caps = "video/x-raw,format=BGRx,width=64,height=48,framerate=30/1"
    return f"{head} {more} ! {caps}"


@needs_gst
def test_pictures_come_as_the_camera_sends_them() -> None:
    with GstSource(PLACE, elements(), max_frames=5) as source:
        frames = []
        while (frame := source.read()) is not None:
            frames.append(frame)
    assert [frame.index for frame in frames] == list(range(5))
    assert frames[0].image_bgr.shape == (48, 64, 3)
    assert frames[0].image_bgr.min() > 230, "white"
    assert all(a.time_s < b.time_s for a, b in pairwise(frames))
    assert source.info.kind == "live"
    assert source._process.poll() is not None, "the process has ended"


@needs_gst
def test_whoever_reads_late_gets_what_is_new() -> None:
    with GstSource(PLACE, elements()) as source:
        source.read()
        time.sleep(1.0)  # 30 pictures, of which the pipe and the queue hold some
        before = time.monotonic()
        for _ in range(3):
            source.read()
        assert source._process.poll() is None
        assert time.monotonic() - before < PATIENCE_S


@needs_gst
def test_what_gstreamer_says_is_the_error() -> None:
    with pytest.raises(SourceError, match='CSI camera 0: GStreamer says: .*"nosuchelement"'):
        GstSource(PLACE, elements("nosuchelement"))


@needs_gst
def test_a_camera_that_ends_is_an_error_and_leaves_no_process() -> None:
    with GstSource(PLACE, elements(more="num-buffers=3")) as source:
        for _ in range(3):
            assert source.read() is not None
        with pytest.raises(SourceError, match="GStreamer says: it has ended"):
            source.read()


@needs_gst
def test_a_camera_that_hangs_is_given_up() -> None:
    hangs = "fakesrc format=time is-live=true do-timestamp=true sizetype=empty datarate=1"
    source = None
    with pytest.raises(SourceError, match="gives no picture for 0.5 s"):
        source = GstSource(PLACE, hangs, timeout_s=0.5)
    assert source is None


@needs_gst
def test_a_camera_comes_back_in_a_live_run_and_descriptors_do_not_grow(monkeypatch) -> None:
    def opener(config: SourceConfig) -> GstSource:
        return GstSource(PLACE, elements(more="num-buffers=8"))

    before = len(os.listdir("/proc/self/fd"))
    run = LiveRun(
        Segmenter(backend="fake", size_hw=(32, 32)),
        [SourceConfig("csi", "csi://0", retry_first=0.05, retry_most=0.05)],
        opener=opener,
    )
    thread = threading.Thread(target=run.run)
    thread.start()
    eventually(lambda: run.report().sources[0].connects >= 3)
    run.stop()
    thread.join(PATIENCE_S)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_where_there_is_no_gstreamer_the_package_is_named(monkeypatch) -> None:
    monkeypatch.setattr(gstreamer, "opencv_has_gstreamer", lambda: False)
    monkeypatch.setattr(gstreamer.shutil, "which", lambda name: None)
    with pytest.raises(SourceError, match="apt install gstreamer1.0-tools"):
        open_csi(PLACE)


def test_an_opencv_with_gstreamer_is_preferred(monkeypatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(gstreamer, "opencv_has_gstreamer", lambda: True)
    monkeypatch.setattr(
        gstreamer, "open_pipeline", lambda elements, name, max_frames: asked.append(elements)
    )
    open_csi(PLACE)
    assert asked == [csi_elements(PLACE)]
    assert asked[0].startswith("nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM),width=64")


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ("csi://0", Csi(0)),
        ("csi://", Csi(0)),
        ("CSI://1?width=1920&height=1080&fps=60", Csi(1, 1920, 1080, 60)),
        ("v4l2src ! videoconvert", Pipeline("v4l2src ! videoconvert")),
    ],
)
def test_names_of_sources(spec: str, place: object) -> None:
    assert places.find(spec) == place


@pytest.mark.parametrize("spec", ["csi://front", "csi://0?size=5", "csi://0?fps=0", "csi://0?fps="])
def test_what_is_no_csi_camera(spec: str) -> None:
    with pytest.raises(SourceError, match=r"write --source|write spec"):
        places.find(spec)


def test_pipelines_need_an_opencv_with_gstreamer(monkeypatch) -> None:
    monkeypatch.setattr(gstreamer, "opencv_has_gstreamer", lambda: False)
    with pytest.raises(SourceError, match="this OpenCV has no GStreamer"):
        open_source("videotestsrc ! videoconvert")
