"""Fractions and times to go, by a fake clock; and what TensorRT is told."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from roadseg.backends.tensorrt.builder.progress import PhaseTree, make_monitor
from roadseg.core.progress import StageClock


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_stage_on_the_clock() -> None:
    clock = Clock()
    stage = StageClock("building", clock=clock)
    first = stage.at(0.0, "Tracing")
    assert (first.stage, first.detail, first.fraction, first.elapsed_s, first.left_s) == (
        "building",
        "Tracing",
        0.0,
        0.0,
        None,
    )
    clock.now_s += 30
    assert stage.at(0.01).left_s is None
    later = stage.at(0.25)
    assert (later.elapsed_s, later.left_s) == (30.0, 90.0)
    clock.now_s += 10
    # A phase that TensorRT announces late must not move the bar back.
    assert stage.at(0.1).fraction == 0.25
    assert stage.at(0.1).left_s == 120.0
    end = stage.at(1.5)
    assert (end.fraction, end.left_s) == (1.0, 0.0)


def test_no_guess_in_the_first_second() -> None:
    clock = Clock()
    stage = StageClock("building", clock=clock)
    clock.now_s += 0.9
    assert stage.at(0.5).left_s is None


def test_phases_within_phases() -> None:
    tree = PhaseTree()
    assert (tree.fraction, tree.phase) == (0.0, "")
    tree.start("Building engine", None, 4)
    assert (tree.fraction, tree.phase) == (0.0, "Building engine")
    tree.step("Building engine", 0)
    assert tree.fraction == 0.25
    tree.start("Timing tactics", "Building engine", 2)
    tree.start("Timing graph nodes", "Timing tactics", 10)
    tree.step("Timing graph nodes", 4)
    # One quarter, and of the second a half of a half.
    assert tree.fraction == pytest.approx(0.25 + 0.25 * 0.5 * 0.5)
    assert tree.phase == "Timing graph nodes"
    tree.finish("Timing graph nodes")
    assert tree.phase == "Timing tactics"
    tree.step("Timing tactics", 0)
    tree.step("Timing tactics", 1)
    assert tree.fraction == pytest.approx(0.5)
    tree.finish("Timing tactics")
    tree.step("Building engine", 3)
    assert (tree.fraction, tree.phase) == (1.0, "Building engine")
    tree.finish("Building engine")
    assert (tree.fraction, tree.phase) == (1.0, "")


def test_phases_that_make_no_sense_do_no_harm() -> None:
    tree = PhaseTree()
    tree.step("unknown", 3)
    tree.finish("unknown")
    assert tree.fraction == 0.0
    tree.start("empty", "a parent that never began", 0)
    tree.step("empty", 7)
    assert tree.fraction == 1.0
    tree.start("itself", "itself", 2)
    tree.step("itself", 0)
    assert 0 <= tree.fraction <= 1


class Base:
    def __init__(self) -> None:
        self.is_initialised = True


def monitor(tell: Any = lambda _fraction, _phase: None, cancelled: Any = lambda: False) -> Any:
    return make_monitor(SimpleNamespace(IProgressMonitor=Base), tell, cancelled)


def test_what_is_told() -> None:
    told: list[tuple[float, str]] = []
    subject = monitor(lambda fraction, phase: told.append((fraction, phase)))
    assert subject.is_initialised
    subject.phase_start("a", None, 2)
    assert subject.step_complete("a", 0) is True
    assert subject.step_complete("a", 1) is True
    subject.phase_finish("a")
    assert told == [(0.0, "a"), (0.5, "a"), (1.0, "a"), (1.0, "")]


def test_cancelling_answers_the_next_step() -> None:
    state = {"cancelled": False}
    subject = monitor(cancelled=lambda: state["cancelled"])
    subject.phase_start("a", None, 2)
    assert subject.step_complete("a", 0) is True
    state["cancelled"] = True
    assert subject.step_complete("a", 1) is False


@pytest.mark.parametrize("error", [ValueError("full"), KeyboardInterrupt()])
def test_an_exception_never_leaves_a_callback(error: BaseException) -> None:
    calls: list[int] = []

    def tell(fraction: float, phase: str) -> None:
        calls.append(1)
        raise error

    subject = monitor(tell)
    subject.phase_start("a", None, 2)
    assert subject.step_complete("a", 0) is False
    subject.phase_finish("a")
    assert subject.error is error
    # It is not called again.
    assert calls == [1]


def test_several_threads_report_at_once() -> None:
    fractions: list[float] = []
    subject = monitor(lambda fraction, _phase: fractions.append(fraction))
    subject.phase_start("all", None, 4)
    answers: list[bool] = []

    def work(number: int) -> None:
        for turn in range(300):
            name = f"{number}.{turn % 7}"
            subject.phase_start(name, "all", 2)
            subject.phase_start(f"{name}.inner", name, 2)
            answers.append(subject.step_complete(f"{name}.inner", 0))
            subject.phase_finish(f"{name}.inner")
            answers.append(subject.step_complete(name, 1))
            subject.phase_finish(name)

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert subject.error is None
    assert answers == [True] * 4 * 300 * 2
    assert all(0 <= fraction <= 1 for fraction in fractions)
