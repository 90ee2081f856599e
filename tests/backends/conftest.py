"""One small network as files for both runtimes; and TensorRT without TensorRT."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from roadseg.core.labels import CLASS_NAMES
from roadseg.engine.manifest import EngineManifest, Gpu, manifest_path, write_manifest
from roadseg.engine.runtime import Runtime, Target
from roadseg.engine.store import EngineFile, export_sha256
from roadseg.export.ir import finish_ir, from_onnx, save_ir
from roadseg.export.onnx import build_onnx, save_onnx
from roadseg.models import build_model, save_weights


@pytest.fixture(scope="session")
def network() -> nn.Module:
    torch.manual_seed(5)
    return build_model("segnet-lite").eval()


@pytest.fixture(scope="session")
def pt_file(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "lite.safetensors"
    save_weights(path, network, "segnet-lite", epoch=1)
    return path


@pytest.fixture(scope="session")
def xml_file(pt_file: Path) -> Path:
    from roadseg.models import load_weights

    # From the stored weights, which are FP16: the same network as the torch backend's.
    model = from_onnx(build_onnx(load_weights(pt_file)[0], "segnet-lite"))
    finish_ir(model)
    path = pt_file.with_suffix(".xml")
    save_ir(model, path, precision="fp32")
    return path


@pytest.fixture(scope="session")
def fixed_onnx_file(network: nn.Module, pt_file: Path) -> Path:
    path = pt_file.with_name("fixed.onnx")
    save_onnx(build_onnx(network, "segnet-lite", size_hw=(45, 60)), path)
    return path


class Rig:
    """Makes what a TensorRT backend is created from, without TensorRT and without a GPU."""

    def __init__(self, standin: ModuleType) -> None:
        self.make: Callable[[Any], tuple[Any, Any]] = standin.make
        self.plan: Callable[..., bytes] = standin.plan
        self.differences: Callable[..., list[str]] = standin.differences

    def runtime(self, trt: Any, target: Target) -> Runtime:
        return Runtime(trt, target, (10, 13, 0), "10.13.0")

    def engine_file(self, path: Path, plan: bytes, **manifest: Any) -> EngineFile:
        """A plan on disk, with a manifest that fits unless `manifest` says otherwise."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(plan)
        facts = json.loads(plan)
        smallest, most = facts["batches"]
        fields: dict[str, Any] = {
            "model": "segnet-lite",
            "source": "segnet-lite",
            "architecture": "segnet-lite",
            "weights_sha256": "w",
            "graph_sha256": "g",
            "export_sha256": export_sha256(),
            "precision": "fp16",
            "size_hw": tuple(facts["size_hw"]),
            "batch": (smallest, smallest, most),
            "lowering": "native",
            "portable": False,
            "kernels_sha256": None,
            "target": "tensorrt",
            "tensorrt_version": "10.13.0",
            "gpu": Gpu("Simulated GPU", (8, 9)),
            "sm": (),
            "workspace_mb": None,
            "classes": CLASS_NAMES,
            "palette_rgb": (),
            "calibration": None,
            "parity": None,
            "not_verified": "a test",
            "build_s": 1.0,
            "created": "2026-01-31T12:00:00+00:00",
            "roadseg_version": "0.1.0",
            "plan_bytes": len(plan),
            "plan_sha256": hashlib.sha256(plan).hexdigest(),
            **manifest,
        }
        engine = EngineFile(path, EngineManifest(**fields))
        write_manifest(engine.manifest, manifest_path(path))
        return engine


@pytest.fixture(scope="session")
def rig() -> Rig:
    spec = importlib.util.spec_from_file_location(
        "tensorrt_runtime_standin", Path(__file__).with_name("tensorrt_runtime_standin.py")
    )
    assert spec is not None
    assert spec.loader is not None
    standin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(standin)
    return Rig(standin)
