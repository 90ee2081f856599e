"""A whole live run with real threads and the real clock: nothing dies with one camera, nothing
grows late, and every frame is accounted for. What is waited for are events; a slow machine only
takes longer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from roadseg.core.errors import BackendError, SinkError, SourceError, UsageError
from roadseg.core.types import Image, Labels
from roadseg.live.config import SourceConfig
from roadseg.live.events import CameraState, HealthEvent, HealthKind, StateChange
from roadseg.live.outputs import PictureWriter, Result
from roadseg.live.run import LiveReport, LiveRun, SourceReport
from roadseg.live.station import LiveEvent, Station
from roadseg.loading.segmenter import Segmenter
from roadseg.media.sources.base import Source, SourceInfo
from tests.support.live import PATIENCE_S, FakeSource, Paced, eventually, make_frame

pytestmark = pytest.mark.usefixtures("no_thread_left")

STEADY = [0.02]
# A camera around its key frames: twelve at once, then 450 ms of nothing.
BURSTS = [0.45, *[0.001] * 11]


class Slow(Segmenter):
    """The fake network, with a time of its own and an error on request."""

    def __init__(self, seconds: float = 0.0, fails_at: int | None = None) -> None:
        super().__init__(backend="fake", size_hw=(32, 32))
        self._seconds = seconds
        self._fails_at = fails_at
        self._count = 0

    def submit(self, network_bgr: Image) -> None:
        self._count += 1
        if self._count == self._fails_at:
            raise BackendError("the network broke")
        super().submit(network_bgr)

    def collect(self) -> Labels:
        time.sleep(self._seconds)
        return super().collect()


Make = Callable[[], Source]


class Live:
    """A run over sources made by functions, in a thread; the test looks on."""

    def __init__(
        self,
        makers: dict[str, Make],
        segmenter: Segmenter,
        writers: Callable[[Station], list[object]] | None = None,
        settings: dict[str, dict[str, object]] | None = None,
    ) -> None:
        self.events: list[LiveEvent] = []
        self.error: BaseException | None = None
        self.report: LiveReport | None = None
        # A machine that is busy with other things stalls no source.
        common = {"retry_first": 0.05, "retry_most": 0.1, "stall_timeout": PATIENCE_S}
        own = settings or {}
        self.run = LiveRun(
            segmenter,
            [
                SourceConfig(name, f"rtsp://{name}", **{**common, **own.get(name, {})})  # type: ignore[arg-type]
                for name in makers
            ],
            opener=lambda source: makers[source.name](),
            on_event=self.events.append,
            writers=writers,  # type: ignore[arg-type]
        )
        self.stations = {station.name: station for station in self.run.stations}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.report = self.run.run()
        except BaseException as exc:  # noqa: BLE001  (the test looks at it)
            self.error = exc

    def shown(self, name: str, count: int) -> None:
        eventually(lambda: self.error is not None or self.stations[name].tally.shown >= count)

    def has(self, name: str, state: CameraState) -> None:
        eventually(
            lambda: any(
                isinstance(e, StateChange) and e.source == name and e.state is state
                for e in self.events
            )
        )

    def stop(self) -> dict[str, SourceReport]:
        self.run.stop()
        return self.end()

    def end(self) -> dict[str, SourceReport]:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        report = self.report or self.run.report()
        assert report.pending == 0
        for each in report.sources:
            assert each.read == each.shown + sum(each.dropped.values()), each
        return {each.name: each for each in report.sources}


def refuse() -> Source:
    raise SourceError("no such camera") from ConnectionRefusedError(111, "refused")


def test_one_dead_one_flapping_one_stuck_and_one_bursting_camera_leave_the_others_alone() -> None:
    gone = SourceError("gone")
    stuck: list[FakeSource] = []

    def hang() -> Source:
        stuck.append(FakeSource().feed(make_frame(0, time.monotonic())))
        return stuck[-1]

    live = Live(
        {
            "good": lambda: Paced(STEADY, 10**6),
            "fine": lambda: Paced(STEADY, 10**6),
            "dead": refuse,
            "flapping": lambda: Paced(STEADY, 5, ends=gone),
            "stuck": hang,
            "bursting": lambda: Paced(BURSTS, 10**6),
        },
        Slow(),
        settings={"stuck": {"timeout": 1.0, "stall_timeout": 0.5}},
    )
    live.has("flapping", CameraState.LOST)
    live.has("stuck", CameraState.LOST)
    live.has("dead", CameraState.WAITING)
    before = live.stations["good"].tally.shown
    live.shown("good", before + 100)
    live.shown("fine", 100)
    live.shown("bursting", 24)
    eventually(lambda: live.run.report().sources[3].connects >= 3)
    eventually(lambda: len(stuck) >= 2)
    states = {e.state for e in live.events if isinstance(e, StateChange) and e.source == "bursting"}
    assert states == {CameraState.CONNECTING, CameraState.LIVE}
    reports = live.stop()
    assert reports["dead"].read == 0
    assert reports["stuck"].stuck >= 1
    # Sources that keep sending are cut off by nobody.
    assert [reports[name].connects for name in ("good", "fine", "bursting")] == [1, 1, 1]
    for source in stuck:
        source.feed(SourceError("the test is over"))


def test_under_threefold_overload_nothing_older_than_the_staleness_is_shown() -> None:
    """Three cameras of 50 frames a second, and a network that takes 20 ms."""
    ages_s: list[float] = []

    class Ages:
        def write(self, result: Result, info: SourceInfo) -> None:
            ages_s.append(result.age_s)

        def close(self, *, ok: bool) -> None: ...

    live = Live(
        {name: lambda: Paced(STEADY, 10**6) for name in ("a", "b", "c")},
        Slow(0.02),
        lambda station: [Ages()],
    )
    for name in live.stations:
        live.shown(name, 60)
    reports = live.stop()
    assert max(ages_s) <= 0.3
    shown = [each.shown for each in reports.values()]
    dropped = [each.dropped["replaced"] for each in reports.values()]
    assert min(shown) >= 0.5 * max(shown)  # in turn
    assert min(dropped) > 0


def test_a_source_that_is_down_at_the_start_joins_later() -> None:
    up = threading.Event()

    def later() -> Source:
        return Paced(STEADY, 10**6) if up.is_set() else refuse()

    live = Live({"good": lambda: Paced(STEADY, 10**6), "late": later}, Slow())
    live.shown("good", 10)
    live.has("late", CameraState.WAITING)
    assert live.stations["late"].tally.read == 0
    up.set()
    live.shown("late", 10)
    reports = live.stop()
    assert reports["late"].connects == 1
    offline = [e for e in live.events if isinstance(e, HealthEvent) and e.source == "late"]
    assert [e.kind for e in offline] == [HealthKind.OFFLINE, HealthKind.OFFLINE]
    assert offline[1].ended_s is not None


def test_files_lose_no_frame_beside_live_cameras_and_the_run_ends_with_them() -> None:
    live = Live(
        {"clip": lambda: Paced([0], 60, kind="file"), "other": lambda: Paced([0], 40, kind="file")},
        Slow(0.001),
    )
    reports = live.end()
    assert live.error is None
    assert (reports["clip"].shown, reports["other"].shown) == (60, 40)
    assert sum(reports["clip"].dropped.values()) == 0


def test_every_frame_of_a_file_reaches_a_slow_output_and_cameras_go_on(tmp_path: Path) -> None:
    class Sleepy:
        def __init__(self) -> None:
            self.numbers: list[int] = []

        def write(self, result: Result, info: SourceInfo) -> None:
            time.sleep(0.01)
            self.numbers.append(result.number)

        def close(self, *, ok: bool) -> None: ...

    sleepy = Sleepy()
    live = Live(
        {"clip": lambda: Paced([0], 30, kind="file"), "camera": lambda: Paced(STEADY, 10**6)},
        Slow(),
        lambda station: [sleepy] if station.name == "clip" else [],
    )
    live.has("clip", CameraState.LOST)
    live.shown("camera", 20)
    live.stop()
    assert sleepy.numbers == list(range(30))


def test_an_error_of_the_network_ends_the_run_and_finishes_the_files(tmp_path: Path) -> None:
    live = Live(
        {"a": lambda: Paced(STEADY, 10**6), "b": lambda: Paced(STEADY, 10**6)},
        Slow(fails_at=40),
        lambda station: [
            PictureWriter(tmp_path / f"{station.name}.mp4", lambda r: r.frame.image_bgr)
        ],
    )
    live.end()
    assert isinstance(live.error, BackendError)
    assert sorted(path.name for path in tmp_path.glob("*.mp4")) == ["a.mp4", "b.mp4"]


def test_an_error_of_an_output_ends_the_run() -> None:
    class Full:
        def write(self, result: Result, info: SourceInfo) -> None:
            raise SinkError("the disk is full")

        def close(self, *, ok: bool) -> None: ...

    live = Live({"a": lambda: Paced(STEADY, 10**6)}, Slow(), lambda station: [Full()])
    live.end()
    assert isinstance(live.error, SinkError)


def test_a_writer_that_cannot_be_made_ends_the_run_before_it_begins() -> None:
    def writers(station: Station) -> list[object]:
        raise UsageError("no such view")

    live = Live({"a": lambda: Paced(STEADY, 10**6)}, Slow(), writers)
    live.end()
    assert isinstance(live.error, UsageError)
    assert live.events == []


def test_ctrl_c_finishes_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = LiveRun(
        Slow(),
        [SourceConfig("a", "rtsp://a")],
        opener=lambda source: Paced(STEADY, 10**6),
        writers=lambda station: [
            PictureWriter(tmp_path / "a.mp4", lambda result: result.frame.image_bgr)
        ],
    )

    def interrupted(timeout_s: float) -> bool:
        eventually(lambda: run.stations[0].tally.shown >= 20)
        raise KeyboardInterrupt

    monkeypatch.setattr(run._over, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert (tmp_path / "a.mp4").is_file()
    assert run.report().pending == 0


def test_a_second_ctrl_c_gives_up_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first comes while the run goes on, the second while it waits for a network that hangs."""
    hangs, goes_on = threading.Event(), threading.Event()

    class Hanging(Slow):
        def collect(self) -> Labels:
            hangs.set()
            assert goes_on.wait(PATIENCE_S)
            return super().collect()

    run = LiveRun(
        Hanging(),
        [SourceConfig(name, f"rtsp://{name}", max_staleness=1000) for name in ("a", "b")],
        opener=lambda source: Paced(STEADY, 10**6),
    )

    def first(timeout_s: float) -> bool:
        assert hangs.wait(PATIENCE_S)
        eventually(lambda: all(station.tally.read for station in run.stations))
        raise KeyboardInterrupt

    waits: list[float] = []
    wait = run.scheduler.ended.wait

    def second(timeout_s: float) -> bool:
        waits.append(timeout_s)
        if len(waits) == 1:
            raise KeyboardInterrupt
        goes_on.set()
        return wait(timeout_s)

    monkeypatch.setattr(run._over, "wait", first)
    monkeypatch.setattr(run.scheduler.ended, "wait", second)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    report = run.report()
    assert report.pending == 0
    assert sum(each.shown for each in report.sources) == 1
    assert sum(each.dropped["stopped"] for each in report.sources) >= 1


def test_a_paused_camera_counts_its_frames_as_paused() -> None:
    live = Live({"a": lambda: Paced(STEADY, 10**6)}, Slow())
    live.shown("a", 5)
    live.stations["a"].pause()
    eventually(lambda: live.stations["a"].tally.dropped["paused"] >= 5)
    before = live.stations["a"].tally.shown
    live.stations["a"].resume()
    live.shown("a", before + 5)
    live.stop()


def test_starting_and_stopping_leaves_no_descriptor_behind() -> None:
    def once() -> None:
        live = Live({"a": lambda: Paced(STEADY, 10**6)}, Slow())
        live.shown("a", 2)
        live.stop()

    once()
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not list descriptors")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        once()
    assert len(os.listdir("/proc/self/fd")) == before


def test_sources_need_names_of_their_own() -> None:
    with pytest.raises(UsageError, match="two sources are called 'a'"):
        LiveRun(Slow(), [SourceConfig("a", "0"), SourceConfig("a", "1")])
    with pytest.raises(UsageError, match="at least one"):
        LiveRun(Slow(), [])
