"""How far TensorRT is with a build, from the phases that it reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class PhaseTree:
    """Phases within phases, as TensorRT reports them; each has a number of steps.

    A phase that runs inside another is part of that one's current step. Steps of very different
    lengths count alike, because nobody knows them beforehand.

    TensorRT reports from several threads. What is read here is a copy, made in one step.
    """

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._current = ""
        self._finished = False

    @property
    def phase(self) -> str:
        """The innermost phase that began last and has not finished."""
        return self._current

    @property
    def fraction(self) -> float:
        """Of the whole, 0..1."""
        if self._finished:
            return 1.0
        phases = self._phases.copy()
        roots = [name for name, phase in phases.items() if phase.parent not in phases]
        return max((_fraction_of(name, phases) for name in roots), default=0.0)

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins; `parent` is None for the outermost."""
        self._phases[name] = _Phase(parent, max(int(steps), 1))
        self._current = name
        self._finished = False

    def step(self, name: str, step: int) -> None:
        """A step, counted from 0, is done."""
        phase = self._phases.get(name)
        if phase is not None:
            phase.done = int(step) + 1

    def finish(self, name: str) -> None:
        """A phase ends, all of its steps reported or not."""
        phase = self._phases.pop(name, None)
        if phase is None:
            return
        if self._current == name:
            self._current = phase.parent if phase.parent in self._phases else ""
        self._finished = not self._phases


def _fraction_of(name: str, phases: Mapping[str, _Phase]) -> float:
    phase = phases[name]
    inside = [other for other, child in phases.items() if child.parent == name]
    part = max((_fraction_of(other, phases) for other in inside), default=0.0)
    return min((phase.done + part) / phase.steps, 1.0)


def make_monitor(
    trt: Any,
    on_phase: Callable[[float, str], object] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Any:
    """TensorRT's progress monitor.

    Args:
        trt: TensorRT's Python module.
        on_phase: called with the fraction of the whole and the name of the phase; if it raises, the
            build is cancelled and the exception is kept in the monitor's `error`.
        cancelled: whether to end the build; asked after each step.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.error: BaseException | None = None
            self._tree = PhaseTree()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._tree.start(phase_name, parent_phase, num_steps)
            self._show()

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tree.step(phase_name, step)
            self._show()
            return self.error is None and not self.cancelled()

        def phase_finish(self, phase_name: str) -> None:
            self._tree.finish(phase_name)
            self._show()

        def cancelled(self) -> bool:
            return cancelled is not None and cancelled()

        def _show(self) -> None:
            if self.error is None and on_phase is not None:
                try:
                    on_phase(self._tree.fraction, self._tree.phase)
                # An exception that leaves this method ends the process. It is raised later.
                except BaseException as exc:  # noqa: BLE001
                    self.error = exc

    return Monitor()
