"""A TensorRT to build with, and a GPU to build on, without either."""

from __future__ import annotations

from typing import Any

from roadseg.engine.runtime import Runtime
from roadseg.testing.cuda import SimulatedCuda
from tests.support.tensorrt import builder


class Workshop:
    """A TensorRT to build with, and a GPU to build on.

    Attributes:
        runtime: the stand-in.
        world: what it was asked.
        cuda: a simulated GPU.
    """

    def __init__(self, version: str, target: str) -> None:
        self.cuda = SimulatedCuda()
        rtx = target == "tensorrt-rtx"
        self.trt, self.world = builder.make(version, self.cuda, rtx=rtx)
        numbers = tuple(int(part) for part in version.split("."))
        self.runtime = Runtime(self.trt, target, numbers, version)  # type: ignore[arg-type]

    def options(self) -> dict[str, Any]:
        """What `build_engine` is given."""
        return {"runtime": self.runtime, "open_cuda": lambda: self.cuda}
