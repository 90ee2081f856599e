"""Rungs are timed in little time, and beside other load."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, cycle, repeat
from pathlib import Path

import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend, FakePipelinedBackend
from roadseg.core.errors import BackendError
from roadseg.core.size import SizeHW
from roadseg.loading.ladder.load import Span, waited_s
from roadseg.loading.ladder.rungs import Rung
from roadseg.loading.ladder.timing import LIMIT_S, time_rungs
from tests.loading.ladder.conftest import FakeMachine

Rungs = tuple[Rung, ...]
Make = Callable[..., FakeMachine]


def timed(machine: FakeMachine, rungs: Rungs, allowed_ms: float, known_ms=None):  # type: ignore[no-untyped-def]
    started_s = machine.now_s
    timing = time_rungs(rungs, allowed_ms, known_ms or {}, machine.open, clocks=machine.clocks)
    assert machine.open_now == [], "every network is given back"
    return timing, machine.now_s - started_s


@pytest.mark.parametrize("slowness", [0.1, 0.5, 1.0, 1.5, 2.5])
def test_the_times_that_decide_are_measured(lite: Rungs, machine: Make, slowness: float) -> None:
    fake = machine(slowness)
    timing, took_s = timed(fake, lite, 40.0)
    assert took_s <= LIMIT_S
    assert 1 <= len(fake.opened) <= 3
    assert timing.times_ms == pytest.approx(
        {rung: rung.cost_ms * slowness for rung in fake.opened}, abs=0.01
    )
    assert not timing.disturbed
    fitting = [rung for rung in lite if rung.cost_ms * slowness <= 40]
    assert fitting[0] in timing.times_ms


class InFlight(FakePipelinedBackend):
    """Takes 20 ms from one frame to the next, of which two are at work at once."""

    def __init__(self, machine: FakeMachine, size_hw: SizeHW) -> None:
        super().__init__(size_hw, depth=3)
        self.most = 0
        self._machine = machine

    def submit(self, batch_bgr: np.ndarray) -> None:
        super().submit(batch_bgr)
        self.most = max(self.most, len(self._in_flight))

    def collect(self) -> np.ndarray:
        self._machine.now_s += 0.02
        return super().collect()

    def infer(self, batch_bgr: np.ndarray) -> np.ndarray:
        self._machine.now_s += 0.03
        return super().infer(batch_bgr)

    def close(self) -> None:
        self._machine.open_now.clear()


def test_what_has_said_how_fast_the_others_are_is_closed_before_they_are_opened(
    lite: Rungs, machine: Make
) -> None:
    fake = machine(1.0)
    most = 0

    def open_rung(rung: Rung) -> FakeBackend:
        nonlocal most
        backend = fake.open(rung)
        most = max(most, len(fake.open_now))
        return backend

    # 352x480 takes 42 ms, and 416x576 with 60 might keep up, too.
    time_rungs(lite, 50.0, {}, open_rung, clocks=fake.clocks)
    assert fake.opened == [lite[2], lite[1], lite[0]]
    assert most == 2, "two that decide; each holds some 50 MB"
    assert fake.open_now == []


@pytest.mark.parametrize(
    ("throughput", "expected_ms", "in_flight"), [(True, 20, 3), (False, 30, 0)]
)
def test_several_frames_in_flight_are_timed_as_such(
    lite: Rungs, machine: Make, throughput: bool, expected_ms: float, in_flight: int
) -> None:
    fake = machine()
    opened: list[InFlight] = []

    def open_rung(rung: Rung) -> InFlight:
        opened.append(InFlight(fake, rung.network_hw((360, 480))))
        return opened[-1]

    timing = time_rungs(lite[:1], 40.0, {}, open_rung, throughput=throughput, clocks=fake.clocks)
    assert timing.times_ms == {lite[0]: pytest.approx(expected_ms)}
    assert [each.most for each in opened] == [in_flight]


def test_known_times_are_not_measured_again(lite: Rungs, machine: Make) -> None:
    fake = machine(1.0)
    timing, _ = timed(fake, lite, 40.0)
    again, took_s = timed(fake, lite, 40.0, timing.times_ms)
    assert took_s == 0
    assert again == timing
    # Another source needs another rung: that one alone is added.
    before = len(fake.opened)
    timed(fake, lite, 100.0, timing.times_ms)
    assert fake.opened[before:] == [lite[0]]


def test_a_machine_that_compiles_slowly_measures_less_in_the_same_time(
    lite: Rungs, machine: Make
) -> None:
    fake = machine(1.0, compile_s=1.4)
    timing, took_s = timed(fake, lite, 40.0)
    assert len(fake.opened) == 1
    assert took_s <= LIMIT_S
    assert set(timing.times_ms) == {lite[2]}


def test_a_machine_too_slow_for_anything_is_timed_once(lite: Rungs, machine: Make) -> None:
    fake = machine(60.0, compile_s=2.0)  # a processor without AVX2
    timing, took_s = timed(fake, lite, 40.0)
    assert fake.opened == [lite[2]]
    assert took_s < 2.0 + 4 * 60.0 * lite[2].cost_ms / 1e3 + 0.1
    assert set(timing.times_ms) == {lite[2]}


def test_other_load_meets_all_rungs_and_the_median_counts(lite: Rungs, machine: Make) -> None:
    fake = machine(1.0)
    # Something runs in every fifth frame.
    fake.load = cycle([1.0, 1.0, 1.0, 1.0, 3.0])
    timing, _ = timed(fake, lite, 40.0)
    for rung, took_ms in timing.times_ms.items():
        assert took_ms == pytest.approx(rung.cost_ms, abs=0.01)
    assert not timing.disturbed


def test_times_that_other_load_has_spoilt_are_marked(lite: Rungs, machine: Make) -> None:
    fake = machine(1.0)
    fake.load = chain(repeat(1.0, 7), repeat(2.0))
    timing, took_s = timed(fake, lite, 40.0)
    assert timing.disturbed
    assert took_s <= LIMIT_S


@pytest.mark.parametrize(
    ("waits", "disturbed"), [(0.0, False), (0.1, False), (0.3, True), (9.0, True)]
)
def test_steady_load_is_taken_off(
    lite: Rungs, machine: Make, waits: float, disturbed: bool
) -> None:
    fake = machine(1.0)
    fake.waits = waits
    timing, took_s = timed(fake, lite, 40.0)
    assert timing.disturbed is disturbed
    assert took_s <= LIMIT_S
    for rung, took_ms in timing.times_ms.items():
        assert took_ms == pytest.approx(rung.cost_ms, abs=0.01)


def test_where_nobody_counts_the_waiting_the_clock_counts(lite: Rungs, machine: Make) -> None:
    fake = machine(1.0)
    fake.waits, fake.tells = 0.5, False
    timing, _ = timed(fake, lite, 40.0)
    for rung, took_ms in timing.times_ms.items():
        assert took_ms == pytest.approx(1.5 * rung.cost_ms, abs=0.01)


def test_under_a_quota_nobody_knows_how_long_others_had_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Threads that are held back wait as well."""
    monkeypatch.setattr("roadseg.loading.ladder.load.cpu_quota", lambda: 1.0)
    assert waited_s() is None


def test_the_waiting_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadseg.loading.ladder.load.cpu_quota", lambda: None)
    assert waited_s(tmp_path) is None
    assert waited_s(tmp_path / "none") is None
    for name, content in (("1", "5 1500000000 9\n"), ("2", "5 500000000 9\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "schedstat").write_text(content)
    assert waited_s(tmp_path) == 2.0
    (tmp_path / "2" / "schedstat").write_text("garbage")
    assert waited_s(tmp_path) is None


@pytest.mark.parametrize(
    ("span", "free_s"),
    [
        (Span(0.04, 0.08, 0.0), 0.04),
        (Span(0.08, 0.08, 0.08), 0.04),  # two threads, half of the time each
        (Span(0.44, 0.08, 0.80), 0.04),  # ten programs
        (Span(0.010, 0.001, 0.001), 0.009),  # on a GPU
    ],
)
def test_what_a_stretch_of_time_would_have_been(span: Span, free_s: float) -> None:
    assert span.free_s == pytest.approx(free_s)


def test_on_a_gpu_the_next_network_is_tried_where_the_best_is_too_slow() -> None:
    segnet, small = Rung("segnet", 168960, 0.8), Rung("segnet-lite", 168960, 0.73)
    for frame_ms, opened in ((9.0, [segnet]), (90.0, [segnet, small])):
        fake = FakeMachine(lambda rung, ms=frame_ms: ms if rung.model == "segnet" else 1.0)
        timed(fake, (segnet, small), 20.0)
        assert fake.opened == opened


def test_a_network_that_fails_is_an_error_and_leaves_nothing_open(
    lite: Rungs, machine: Make
) -> None:
    fake = machine(1.0)

    def fail(rung: Rung):  # type: ignore[no-untyped-def]
        if fake.opened:
            raise BackendError("out of memory")
        return fake.open(rung)

    with pytest.raises(BackendError, match="out of memory"):
        time_rungs(lite, 40.0, {}, fail, clocks=fake.clocks)
    assert fake.open_now == []
