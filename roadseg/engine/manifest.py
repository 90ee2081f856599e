"""`ENGINE.json`, beside every engine: what it is, what it was made of, and what was proved.

    {"version": 1,
     "model": "segnet-lite", "source": "segnet-lite", "architecture": "segnet-lite",
     "weights_sha256": "...", "graph_sha256": "...", "export_sha256": "...",
     "precision": "fp16", "size_hw": [352, 480], "batch": [1, 1, 1],
     "lowering": "plugin", "portable": false, "kernels_sha256": "...",
     "target": "tensorrt", "tensorrt_version": "10.13.0.35",
     "gpu": {"name": "NVIDIA GeForce RTX 4090", "compute_capability": [8, 9]}, "sm": [],
     "workspace_mb": null,
     "tensors": [
       {"name": "frame_bgr", "role": "input", "dtype": "uint8", "shape": [1, 352, 480, 3],
        "layout": "NHWC, BGR"},
       {"name": "labels", "role": "output", "dtype": "uint8", "shape": [1, 352, 480],
        "layout": "NHW, class ids"}],
     "classes": ["sky", ...], "palette_rgb": [[128, 128, 128], ...],
     "calibration": null,
     "parity": {"agreement": 0.9987, "frames": 8, "measured_on": "drive.mp4",
                "reference": "PyTorch FP32"},
     "not_verified": null,
     "build_s": 41.2, "created": "2026-01-31T12:00:00+00:00", "roadseg_version": "0.1.0",
     "plan_bytes": 5123456, "plan_sha256": "..."}

`parity` and `not_verified` exclude each other: an engine was compared with PyTorch, or the second
says why it was not.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roadseg.core.errors import EngineError
from roadseg.core.files import write_json
from roadseg.core.records import read_record
from roadseg.engine.runtime import Target
from roadseg.engine.spec import EngineSpec, Precision

_VERSION = 1

OF_SPEC = ("precision", "size_hw", "batch", "lowering", "portable", "target", "sm", "workspace_mb")
"""Fields that a manifest has from the specification, under the same names."""


@dataclass(frozen=True)
class Gpu:
    """The GPU that an engine was built on: its name, and (8, 9)."""

    name: str
    compute_capability: tuple[int, int]


@dataclass(frozen=True)
class CalibrationFacts:
    """What an INT8 engine's scales come from.

    Attributes:
        sha256: of the calibration's file.
        float_layers: layers that stay FP16.
        drop_points: what INT8 costs, in points of mIoU; None without labelled frames.
        measured_on: the frames it was measured on; None where nothing was measured.
        forced: whether the engine was built although that is too much, or unknown.
        path: the file; None for the one that comes with roadseg.
        agreement: share of pixels, 0..1, that keep FP32's label; what decides without labelled
            frames, together with the next.
        label_miou: mean IoU, 0..1, with FP32's labels.
    """

    sha256: str
    float_layers: tuple[str, ...]
    drop_points: float | None
    measured_on: str | None
    forced: bool
    path: str | None = None
    agreement: float | None = None
    label_miou: float | None = None


@dataclass(frozen=True)
class ParityFacts:
    """The engine's labels against a reference.

    Attributes:
        agreement: share of pixels, 0..1, that have the same label in both.
        frames: how many were compared.
        measured_on: where they come from: `drive.mp4`.
        reference: what computed the other labels: `PyTorch FP32`.
    """

    agreement: float
    frames: int
    measured_on: str
    reference: str


@dataclass(frozen=True)
class TensorFacts:
    """An input or output of an engine, for programs that run it without roadseg.

    Attributes:
        name: as the runtime calls it.
        role: `input` or `output`.
        dtype: `uint8`.
        shape: a dimension for each letter of the layout; -1: the number of frames is free.
        layout: `NHWC, BGR` or `NHW, class ids`.
    """

    name: str
    role: Literal["input", "output"]
    dtype: str
    shape: tuple[int, ...]
    layout: str


@dataclass(frozen=True)
class EngineManifest:
    """Everything known of an engine; see this module's docstring for an example.

    Attributes:
        model: its name, for people.
        source: what `--model` was given: a shipped model's name, or the path of a file of weights.
        architecture: the network's name in `roadseg.models`.
        weights_sha256: of the weights' file.
        graph_sha256: of the ONNX graph that was built.
        export_sha256: of the code that wrote that graph; see `export_sha256()`.
        precision, size_hw, batch, lowering, portable, target, sm, workspace_mb: as in
            `EngineSpec`, `sm` as it was built for.
        kernels_sha256: of our kernels' source; None for the native lowering.
        tensorrt_version: that built it, and that alone can run it.
        gpu: that it was built on, and that alone can run it; None for TensorRT-RTX, which builds
            for the compute capabilities in `sm`.
        classes: names by class id.
        palette_rgb: colours of the classes, and of void after them.
        calibration: None unless INT8.
        parity: None where the labels were not compared.
        not_verified: why not.
        build_s: seconds that TensorRT took.
        created: UTC, ISO 8601.
        roadseg_version: that built it.
        plan_bytes, plan_sha256: size and checksum of the engine.
        tensors: its inputs and outputs; none where an older roadseg wrote the manifest.
    """

    model: str
    source: str
    architecture: str
    weights_sha256: str
    graph_sha256: str
    export_sha256: str
    precision: Precision
    size_hw: tuple[int, int]
    batch: tuple[int, int, int]
    lowering: Literal["plugin", "native"]
    portable: bool
    kernels_sha256: str | None
    target: Target
    tensorrt_version: str
    gpu: Gpu | None
    sm: tuple[int, ...]
    workspace_mb: int | None
    classes: tuple[str, ...]
    palette_rgb: tuple[tuple[int, int, int], ...]
    calibration: CalibrationFacts | None
    parity: ParityFacts | None
    not_verified: str | None
    build_s: float
    created: str
    roadseg_version: str
    plan_bytes: int
    plan_sha256: str
    tensors: tuple[TensorFacts, ...] = ()

    @property
    def spec(self) -> EngineSpec:
        """What to build to get this engine again."""
        return EngineSpec(self.source, **{name: getattr(self, name) for name in OF_SPEC})

    def build_command(self, target: str | None = None) -> str:
        """What to type to build it again, quoted as one: `'roadseg build-engine ...'`.

        Args:
            target: for another TensorRT: `tensorrt` or `tensorrt-rtx`; None: for the same.
        """
        same = target is None or target == self.target
        words = ["roadseg build-engine", f"--model {_quoted(self.source)}", f"--{self.precision}"]
        words.append(f"--size {self.size_hw[0]}x{self.size_hw[1]}")
        if self.batch != (1, 1, 1):
            words.append(f"--batch {self.spec.batch_text}")
        words.append(f"--target {target or self.target}")
        if same and self.target == "tensorrt" and self.lowering == "native":
            words.append("--lowering native")
        if same and self.portable:
            words.append("--portable")
        if same and self.sm:
            words.append(f"--sm {','.join(map(str, self.sm))}")
        if self.workspace_mb is not None:
            words.append(f"--workspace {self.workspace_mb}")
        if self.calibration is not None and self.calibration.path is not None:
            words.append(f"--calibration {_quoted(self.calibration.path)}")
        return f"'{' '.join(words)}'"


def manifest_path(engine: Path) -> Path:
    """Where the manifest of an engine lies: `x.engine.json`."""
    return engine.with_name(f"{engine.name}.json")


def read_manifest(engine: Path) -> EngineManifest:
    """Read the manifest beside an engine.

    Raises:
        EngineError: there is none, it is damaged, or of another version of roadseg.
    """
    path = manifest_path(engine)
    again = "build the engine again with 'roadseg build-engine'"
    try:
        return read_record(path, EngineManifest, EngineError, fix=again, version=_VERSION)
    except FileNotFoundError:
        raise EngineError(
            f"{engine} has no manifest ({path.name} beside it)", fix=f"copy it along, or {again}"
        ) from None


def write_manifest(manifest: EngineManifest, path: Path) -> None:
    """Write a manifest; it appears under its name when it is complete.

    Raises:
        SinkError: it cannot be written.
    """
    write_json(path, {"version": _VERSION, **dataclasses.asdict(manifest)})


def _quoted(source: str) -> str:
    return f'"{source}"' if " " in source else source
