"""Every implementation of `Cuda`, over stand-ins."""

from __future__ import annotations

from roadseg.cuda.api import Cuda
from roadseg.cuda.bindings import BindingsCuda
from roadseg.cuda.pycuda.context import PycudaCuda
from roadseg.testing.cuda import SimulatedCuda
from tests.support.cuda.driver import StandInDriver
from tests.support.cuda.pycuda import StandInPycuda
from tests.support.cuda.simulation import simulated


class Implementation:
    """One implementation over stand-ins, and what lies below it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.simulation: SimulatedCuda | None = simulated()
        self.cuda: Cuda
        self.driver = StandInDriver(self.simulation)
        self.pycuda = StandInPycuda(self.simulation)
        if kind == "simulated":
            self.cuda = self.simulation
        elif kind == "bindings":
            self.cuda = BindingsCuda(self.driver, "13.5.0")
        elif kind == "fake-libcuda":
            from roadseg.cuda.load import load_cuda

            self.simulation = None
            self.cuda = load_cuda()
        else:
            self.cuda = PycudaCuda(self.pycuda, "2026.1", set_current=self.pycuda.set_current)
