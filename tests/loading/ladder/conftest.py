"""Networks whose speed is known, on a clock that only they move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat

import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.core.size import SizeHW
from roadseg.loading.ladder.load import Clocks
from roadseg.loading.ladder.rungs import Rung

SOURCE_HW: SizeHW = (360, 480)


class FakeMachine:
    """A machine that takes so many milliseconds a frame for each rung.

    Attributes:
        opened: the rungs that were compiled, in their order.
        open_now: those that were not closed.
        load: factors of each further frame's time: other load comes and goes.
        waits: for how long others have the processor while the network wants it, for each second
            that it has it.
        tells: whether the system says how long threads waited.
    """

    def __init__(self, frame_ms: Callable[[Rung], float], compile_s: float = 0.3) -> None:
        self.now_s = 100.0
        self.opened: list[Rung] = []
        self.open_now: list[Rung] = []
        self.load: Iterator[float] = repeat(1.0)
        self.waits = 0.0
        self.tells = True
        self._cpu_s = self._waited_s = 0.0
        self._frame_ms = frame_ms
        self._compile_s = compile_s

    @property
    def clocks(self) -> Clocks:
        return Clocks(
            wall=lambda: self.now_s,
            cpu=lambda: self._cpu_s,
            waited=lambda: self._waited_s if self.tells else None,
        )

    def open(self, rung: Rung) -> FakeBackend:
        self.now_s += self._compile_s
        self.opened.append(rung)
        self.open_now.append(rung)
        machine = self

        class Timed(FakeBackend):
            def infer(self, batch_bgr: np.ndarray) -> np.ndarray:
                cpu_s = machine._frame_ms(rung) * next(machine.load) / 1e3
                machine._cpu_s += cpu_s
                machine._waited_s += cpu_s * machine.waits
                machine.now_s += cpu_s * (1 + machine.waits)
                return super().infer(batch_bgr)

            def close(self) -> None:
                machine.open_now.remove(rung)

        return Timed(rung.network_hw(SOURCE_HW))


@pytest.fixture
def lite() -> tuple[Rung, ...]:
    """A ladder like segnet-lite's, the most accurate first; a rung costs what it has of pixels."""
    return tuple(
        Rung("segnet-lite", height * width, miou, height * width / 4000)
        for height, width, miou in (
            (416, 576, 0.736),
            (352, 480, 0.728),
            (288, 384, 0.705),
            (256, 352, 0.696),
            (192, 256, 0.651),
        )
    )


@pytest.fixture
def machine() -> Callable[..., FakeMachine]:
    """Makes a machine that takes `ms_per_cost` milliseconds where the reference takes one."""

    def make(ms_per_cost: float = 1.0, compile_s: float = 0.3) -> FakeMachine:
        return FakeMachine(lambda rung: (rung.cost_ms or 40.0) * ms_per_cost, compile_s)

    return make
