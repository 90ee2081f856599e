"""A run that falls behind goes on with a faster network."""

from __future__ import annotations

from fractions import Fraction

import pytest

from roadseg.media.sources.base import SourceInfo, SourceKind
from roadseg.video.keeping_up import KeepingUp, how_chosen, watch_pace


class Stairs:
    """A network with so many faster ones below it."""

    def __init__(self, below: int = 5) -> None:
        self.below = below
        self.asked = 0

    def fit(self, source_hw: object, rate: object, **how: object) -> int:
        return 1

    def step_down(self) -> str | None:
        self.asked += 1
        self.below -= 1
        return f"step {self.below}" if self.below >= 0 else None

    def how_chosen(self) -> dict[str, object] | None:
        return {"below": self.below}


class Run:
    """Frames that come out at a rate, and drops, on a clock that only they move."""

    def __init__(self, watch: KeepingUp | None, clock: list[float]) -> None:
        assert watch is not None
        self.watch = watch
        self.clock = clock
        self.dropped = 0.0

    def go_on(self, seconds: float, rate: float, drops_per_frame: float = 0.0) -> None:
        for _ in range(round(seconds * rate)):
            self.clock[0] += 1 / rate
            self.dropped += drops_per_frame
            self.watch.after_frame(int(self.dropped))


def info(kind: SourceKind, rate: int | None = 25) -> SourceInfo:
    return SourceInfo(
        "x", kind, (360, 480), None if rate is None else Fraction(rate), None, False, None
    )


@pytest.fixture
def stairs(caplog: pytest.LogCaptureFixture) -> Stairs:
    caplog.set_level("INFO", "roadseg")
    return Stairs()


@pytest.fixture
def film(stairs: Stairs) -> Run:
    clock = [0.0]
    return Run(watch_pace(stairs, info("file"), lambda: clock[0], looked_at=True), clock)


@pytest.fixture
def camera(stairs: Stairs) -> Run:
    clock = [0.0]
    return Run(watch_pace(stairs, info("live", None), lambda: clock[0], looked_at=False), clock)


def test_three_slow_periods_in_a_row_are_too_many(
    film: Run, stairs: Stairs, caplog: pytest.LogCaptureFixture
) -> None:
    film.go_on(5.9, rate=20)
    assert stairs.asked == 0
    film.go_on(0.5, rate=20)
    assert stairs.asked == 1
    assert caplog.messages == ["the run falls behind its source: step 4 from here on"]
    # The next step takes as long.
    film.go_on(5, rate=20)
    assert stairs.asked == 1
    film.go_on(1.5, rate=20)
    assert stairs.asked == 2


def test_a_slow_period_now_and_then_changes_nothing(film: Run, stairs: Stairs) -> None:
    for _ in range(10):
        film.go_on(1.9, rate=15)
        film.go_on(4.5, rate=25)
    assert stairs.asked == 0


def test_what_keeps_up_is_left_alone(film: Run, camera: Run, stairs: Stairs) -> None:
    film.go_on(60, rate=25)
    film.go_on(60, rate=100)
    camera.go_on(60, rate=12, drops_per_frame=0.05)
    assert stairs.asked == 0


def test_a_camera_is_too_slow_where_frames_are_dropped(camera: Run, stairs: Stairs) -> None:
    camera.go_on(5.5, rate=20, drops_per_frame=0.5)
    assert stairs.asked == 0
    camera.go_on(1, rate=20, drops_per_frame=0.5)
    assert stairs.asked == 1


def test_at_the_lowest_step_nothing_is_said(
    film: Run, stairs: Stairs, caplog: pytest.LogCaptureFixture
) -> None:
    stairs.below = 0
    film.go_on(30, rate=10)
    assert stairs.asked > 1
    assert caplog.messages == []


def test_what_may_take_its_time_is_not_watched(stairs: Stairs) -> None:
    def clock() -> float:
        return 0.0

    assert watch_pace(stairs, info("file"), clock, looked_at=False) is None
    assert watch_pace(stairs, info("file", None), clock, looked_at=True) is None
    assert watch_pace(stairs, info("images"), clock, looked_at=True) is None
    assert watch_pace(object(), info("live"), clock, looked_at=True) is None


def test_how_a_network_was_chosen(stairs: Stairs) -> None:
    assert how_chosen(stairs) == {"below": 5}
    assert how_chosen(object()) is None


def test_several_cameras_are_served_by_a_faster_network_once_it_is_always_busy(
    stairs: Stairs,
) -> None:
    clock = [0.0]
    watch = KeepingUp(stairs, 20.0, lambda: clock[0])

    def go_on(seconds: float, turns: float, frames: int, idle_share: float) -> None:
        for _ in range(round(seconds * turns)):
            clock[0] += 1 / turns
            watch.after_frame(frames=frames, idle_s=idle_share / turns)

    go_on(20, turns=5, frames=2, idle_share=0.2)  # there is nothing more to do
    go_on(20, turns=10.5, frames=2, idle_share=0.0)  # busy, and fast enough
    assert stairs.asked == 0
    go_on(6.5, turns=5, frames=2, idle_share=0.05)
    assert stairs.asked == 1
