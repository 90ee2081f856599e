"""Small networks as files, and TensorRT without TensorRT."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from roadseg.engine.runtime import Runtime
from roadseg.models import build_model, save_weights
from roadseg.testing.cuda import SimulatedCuda

HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own: nothing here may touch the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ROADSEG_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A `.safetensors` file of each network, with random weights."""
    folder = tmp_path_factory.mktemp("weights")

    def file(architecture: str) -> Path:
        path = folder / f"my {architecture}.safetensors"
        if not path.exists():
            torch.manual_seed(0)
            save_weights(path, build_model(architecture).eval(), architecture)
        return path

    return file


@pytest.fixture(scope="session")
def standin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("builder_standin", HERE / "builder_standin.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["builder_standin"] = module
    spec.loader.exec_module(module)
    return module


class Workshop:
    """A TensorRT to build with, and a GPU to build on.

    Attributes:
        runtime: the stand-in.
        world: what it was asked.
        cuda: a simulated GPU.
        lines: what was reported.
        logged: what TensorRT had to remark.
    """

    def __init__(self, standin: ModuleType, version: str, target: str) -> None:
        self.cuda = SimulatedCuda()
        rtx = target == "tensorrt-rtx"
        self.trt, self.world = standin.make(version, self.cuda, rtx=rtx)
        numbers = tuple(int(part) for part in version.split("."))
        self.runtime = Runtime(self.trt, target, numbers, version)  # type: ignore[arg-type]
        self.lines: list[str] = []
        self.logged: list[str] = []

    def options(self) -> dict[str, Any]:
        """What `build_engine` is given."""
        return {
            "runtime": self.runtime,
            "open_cuda": lambda: self.cuda,
            "report": self.lines.append,
            "log": self.logged.append,
        }


@pytest.fixture
def workshop(standin: ModuleType) -> Callable[..., Workshop]:
    def make(version: str = "10.13.0.35", target: str = "tensorrt") -> Workshop:
        return Workshop(standin, version, target)

    return make
