"""A TensorRT backend with everything around it, on simulated CUDA and a stand-in of TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from roadseg.backends.fake import FakeBackend
from roadseg.backends.tensorrt.backend import TensorRtBackend
from roadseg.testing.cuda import SimulatedCuda

SIZE_HW = (64, 96)


def frames(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *SIZE_HW, 3), dtype=np.uint8)


def labels_of(batch: np.ndarray) -> np.ndarray:
    return FakeBackend(SIZE_HW).infer(batch)


class Bench:
    """Everything around one backend: what it runs on, and the engine that it is given."""

    def __init__(self, rig: Any, folder: Path) -> None:
        self.cuda = SimulatedCuda()
        self.trt, self.world = rig.make(self.cuda)
        self._rig = rig
        self._folder = folder

    def engine(self, *args: Any, manifest: dict[str, Any] | None = None, **facts: Any) -> Any:
        return self._rig.engine_file(
            self._folder / "lite.engine", self._rig.plan(*args, **facts), **(manifest or {})
        )

    def open(
        self,
        *args: Any,
        target: str = "tensorrt",
        manifest: dict[str, Any] | None = None,
        **facts: Any,
    ) -> TensorRtBackend:
        manifest = {"target": target, **(manifest or {})}
        engine = self.engine(*args, manifest=manifest, **facts)
        return TensorRtBackend(engine, runtime=self.runtime(target), cuda=self.cuda)

    def runtime(self, target: str = "tensorrt") -> Any:
        return self._rig.runtime(self.trt, target)
