"""The recorder of a run: started and stopped by hand, and never the end of the run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from roadseg.core.errors import SinkError, UsageError
from roadseg.live.config import RecordConfig, SourceConfig
from roadseg.live.events import RecordChange
from roadseg.live.recording.recorder import StationRecorder
from roadseg.live.run import LiveRun
from roadseg.loading.segmenter import Segmenter
from tests.support.live import PATIENCE_S, Paced, eventually

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Live:
    """A run of one camera `cam` in a thread, and its recorder."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.run = LiveRun(
            Segmenter(backend="fake", size_hw=(32, 32)),
            [SourceConfig("cam", "rtsp://cam", max_staleness=PATIENCE_S)],
            opener=lambda source: Paced([0.02], 10**6),
        )
        config = RecordConfig(str(folder), min_free_gb=0, **options)  # type: ignore[arg-type]
        self.station = self.run.stations[0]
        self.recorder = StationRecorder(
            config, self.run, lambda station: lambda result: result.frame.image_bgr
        )
        self.thread = threading.Thread(target=self.run.run)

    def begin(self) -> None:
        self.thread.start()

    def end(self) -> None:
        self.run.stop()
        self.thread.join(PATIENCE_S)

    def changes(self) -> list[str]:
        return [e.what for e in self.station.recent_events() if isinstance(e, RecordChange)]


def test_every_source_is_recorded_from_the_start(tmp_path) -> None:
    live = Live(tmp_path / "new" / "folder", raw=True)
    assert live.recorder.is_recording("cam")
    live.begin()
    eventually(lambda: live.station.tally.shown >= 10)
    live.end()
    names = [file.name for file in live.recorder.files()]
    assert len(names) == 2
    assert sum("-raw" in name for name in names) == 1
    assert live.changes() == ["recording", "recording ended"]


def test_people_start_and_stop_it(tmp_path) -> None:
    live = Live(tmp_path / "folder", start=False)
    live.begin()
    eventually(lambda: live.station.tally.shown >= 2)
    assert live.recorder.files() == []
    assert not (tmp_path / "folder").exists()
    for _ in range(2):
        live.recorder.start("cam")
        live.recorder.start("cam")
        before = live.station.tally.shown
        eventually(lambda before=before: live.station.tally.shown >= before + 5)
        live.recorder.stop("cam")
        live.recorder.stop("cam")
        assert not live.recorder.is_recording("cam")
    live.end()
    assert [file.source for file in live.recorder.files()] == ["cam", "cam"]


def test_a_folder_that_is_gone_is_an_error_for_whoever_starts_it(tmp_path) -> None:
    live = Live(tmp_path / "disk")
    live.begin()
    live.recorder.stop("cam")
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    room = live.recorder._prepare()
    room._looked_s = float("-inf")
    with pytest.raises(SinkError, match="no such file"):
        live.recorder.start("cam")
    live.end()
    assert live.recorder.files() == []


def test_an_error_of_the_recorder_ends_the_recording_and_not_the_run(tmp_path, monkeypatch) -> None:
    def broken(*_args: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("roadseg.live.recording.segments.SegmentWriter.write", broken)
    live = Live(tmp_path)
    live.begin()
    eventually(lambda: not live.recorder.is_recording("cam"))
    before = live.station.tally.shown
    eventually(lambda: live.station.tally.shown >= before + 5)
    live.end()
    assert live.changes()[-1] == "recording ended"


def test_folders_that_cannot_be(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        Live(tmp_path / "file")
    with pytest.raises(SinkError, match="cannot write"):
        Live(tmp_path / "file" / "below")
