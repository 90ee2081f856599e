"""Machines to look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadseg.core import installing
from roadseg.core.wording import naming_options
from roadseg.doctor.checkup import Surroundings
from roadseg.doctor.probing import Probe
from tools.manifest import write_manifest_entry

GPU = {
    "library": True,
    "error": None,
    "driver": "580.65.06",
    "cuda": [13, 0],
    "gpus": [
        {"name": "NVIDIA GeForce RTX 4090", "compute_capability": [8, 9], "bytes": 24 * 2**30}
    ],
}
NO_GPU = {"library": False, "error": None, "driver": None, "cuda": None, "gpus": []}


@pytest.fixture(autouse=True)
def driver_of_cuda_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests run on, what is to be installed is for this driver."""
    monkeypatch.setattr(installing, "driver_cuda", lambda: (13, 0))
    monkeypatch.setattr(installing, "is_jetson", lambda: False)


@pytest.fixture
def weights_dir(tmp_path: Path) -> Path:
    """A folder with `segnet-lite`, complete."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("lite.xml", "lite.bin", "lite.safetensors"):
        (folder / name).write_text(name)
    write_manifest_entry(
        "segnet-lite",
        architecture="segnet-lite",
        files={
            "openvino": ("int8", [folder / "lite.xml"]),
            "torch": ("fp16", [folder / "lite.safetensors"]),
        },
        training={},
        validation={},
        directory=folder,
    )
    return folder


@pytest.fixture
def machine(tmp_path: Path, weights_dir: Path) -> Callable[..., Surroundings]:
    """A desktop without a GPU on which everything works; keywords replace probes and the rest."""

    def make(**changes: Any) -> Surroundings:
        probes = {
            "openvino": Probe({"version": "2026.4.1", "devices": ["CPU"]}),
            "opencv": Probe(
                {"version": "4.12.0", "gui": "QT5", "obstacle": None, "gstreamer": None}
            ),
            "video": Probe({"version": "17.0.0", "encoder": "libx264"}),
            "gpu": Probe(NO_GPU),
            "cuda": Probe(kind="explained", error="there is no NVIDIA driver", fix="install it"),
            "nvrtc": Probe(
                kind="missing", error="ModuleNotFoundError: No module named 'cuda'", module="cuda"
            ),
            "tensorrt": Probe(
                kind="explained", error="TensorRT is not installed", fix="pip install tensorrt"
            ),
            "backend": Probe({"torch": False, "onnx": False, "backend": "openvino"}),
        }
        for name in list(changes):
            if name in probes:
                probes[name] = changes.pop(name)
        rest: dict[str, Any] = {
            "weights_dir": lambda: weights_dir,
            "cache_dir": lambda: tmp_path / "cache",
            "engines_dir": lambda: tmp_path / "engines",
            "working_dir": lambda: tmp_path,
            "nvidia_hardware": False,
            "in_container": False,
        }
        return Surroundings(probes=probes, **(rest | changes))

    return make


@pytest.fixture
def gpu_machine(machine: Callable[..., Surroundings]) -> Callable[..., Surroundings]:
    """The same with an RTX 4090 and TensorRT."""

    def make(**changes: Any) -> Surroundings:
        working = {
            "gpu": Probe(GPU),
            "cuda": Probe({"name": "cuda-bindings 13.5.0", "graphs": True}),
            "nvrtc": Probe({"version": "13.0"}),
            "tensorrt": Probe({"target": "tensorrt", "version": "10.13.0.35"}),
            "backend": Probe({"torch": True, "onnx": True, "backend": "tensorrt"}),
            "nvidia_hardware": True,
        }
        return machine(**(working | changes))

    return make


@pytest.fixture(autouse=True)
def _read_on_the_command_line():
    """What the doctor says is read there."""
    with naming_options():
        yield
