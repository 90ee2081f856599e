"""What TensorRT backends are created from, without TensorRT and without a GPU."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from roadseg.core.labels import CLASS_NAMES
from roadseg.engine.manifest import EngineManifest, Gpu, manifest_path, write_manifest
from roadseg.engine.runtime import Runtime, Target
from roadseg.engine.store import EngineFile, export_sha256
from tests.support.tensorrt import runtime


class Rig:
    """Makes what a TensorRT backend is created from, without TensorRT and without a GPU."""

    make = staticmethod(runtime.make)
    plan = staticmethod(runtime.plan)
    differences = staticmethod(runtime.differences)

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
