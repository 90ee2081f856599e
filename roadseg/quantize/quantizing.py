"""An INT8 network for the CPU, from a model and frames to a file: what `roadseg quantize` does."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.core.errors import UsageError
from roadseg.core.files import claim_file
from roadseg.core.size import SizeHW
from roadseg.core.wording import option
from roadseg.datasets.frames import collect_frames
from roadseg.datasets.labelled import LabelledSet
from roadseg.datasets.opening import has_split, open_dataset
from roadseg.evaluation.evaluate import evaluate_backend
from roadseg.export.ir import from_onnx, save_ir
from roadseg.export.network import load_network
from roadseg.quantize.for_openvino import (
    Quantized,
    QuantizedAlike,
    check_libraries,
    quantize_alike,
    quantize_within,
)
from roadseg.weights import WEIGHTS_DIR, resolve_weights
from roadseg.weights.gate import check_drop

__all__ = ["QuantizedFile", "quantize_model"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuantizedFile:
    """An INT8 network on disk.

    Attributes:
        path: the `.xml` file; its `.bin` and `.xml.json` lie beside it.
        network: what is in it, and what it costs: in points of mIoU where frames were labelled,
            else as a `Gate`.
    """

    path: Path
    network: Quantized | QuantizedAlike


def quantize_model(
    data: Path,
    output: Path,
    *,
    model: str = "segnet-lite",
    frames: int | None = None,
    frame_list: Path | None = None,
    max_drop_points: float = 0.5,
    split: str = "val",
    threads: int | None = None,
) -> QuantizedFile:
    """Quantise a network to INT8 for the CPU; refuse it when it loses too much accuracy.

    >>> file = roadseg.quantize_model(
    ...     Path("CamVid"), Path("out"), model="runs/night/best.safetensors"
    ... )
    >>> segmenter = roadseg.Segmenter(file.path)

    Without labels its labels are held against those of FP32 on the same frames. Each measurement is
    logged.

    Args:
        data: frames to measure ranges on: a folder of images or a video. A data set (see
            docs/data.md) tells what INT8 costs as well.
        output: a `.xml` file, or a folder for `MODEL-int8.xml`.
        model: a shipped model's name, or a file of weights of `roadseg train`.
        frames: how many frames to measure ranges on; default: see `collect_frames`.
        frame_list: a file that names those frames instead.
        max_drop_points: points (hundredths) of validation mIoU that INT8 may cost.
        split: which part of the data set to judge on.
        threads: CPU threads; default: OpenVINO's choice.

    Raises:
        UsageError: unknown model, or an argument that cannot be meant.
        ModelError: the weights are damaged, or know other classes than the data set.
        DataError, SourceError: the frames are missing or damaged.
        BackendError: PyTorch, ONNX or NNCF is missing, or failed.
        QualityGateError: INT8 costs too much; nothing is written.
        SinkError: the file cannot be written.
    """
    check_drop(max_drop_points)
    path = output if output.suffix == ".xml" else output / f"{Path(model).stem}-int8.xml"
    if path.parent.resolve() == WEIGHTS_DIR:
        raise UsageError(
            f"{path.parent} holds what ships, under checksums",
            fix=f"use {option('--output', 'out')}, or 'make weights' to replace what ships",
        )
    weights = resolve_weights(model)
    check_libraries()
    claim_file(path)
    labelled = has_split(data, split)
    # A data set without the split that was asked for is a mistake, and says which it has.
    validation = open_dataset(data, split) if labelled or _is_dataset(data) else None
    collected = collect_frames(data, count=frames, frame_list=frame_list)
    for warning in collected.warnings:
        _log.warning(warning)
    network = load_network(weights)
    if validation is not None:
        validation.check_model(model, network.classes)
    name, network_hw = network.architecture, collected.network_hw
    from roadseg.export.onnx import build_onnx

    _log.info(
        f"calibrating {name} on {len(collected.batches)} frames of {collected.described} at "
        f"{network_hw[0]}x{network_hw[1]}"
    )
    float_network = from_onnx(
        build_onnx(
            network.module,
            name,
            weights_sha256=network.weights_sha256,
            classes=network.classes,
        )
    )
    figures: dict[str, Any] = {
        "weights_sha256": network.weights_sha256,
        "calibration_frames": len(collected.batches),
    }
    quantized: Quantized | QuantizedAlike
    if validation is None:
        quantized = quantize_alike(
            float_network, collected, network.classes.num_classes, threads=threads
        )
        gate = quantized.gate
        figures |= {
            "measured_on": gate.measured_on,
            "agreement": gate.agreement,
            "label_miou": gate.label_miou,
        }
    else:
        labelled_frames = validation

        def miou_of(candidate: Any, precision: str) -> float:
            return _miou(candidate, precision, name, network_hw, labelled_frames, threads)

        quantized = quantize_within(
            float_network, collected.batches, miou_of, max_drop_points=max_drop_points
        )
        figures |= {
            "split": split,
            "fp32_miou": quantized.fp32_miou,
            "int8_miou": quantized.int8_miou,
            "drop_points": quantized.drop_points,
        }
    figures["plan"] = quantized.plan.name
    save_ir(quantized.model, path, precision="int8", figures=figures)
    return QuantizedFile(path, quantized)


def _is_dataset(data: Path) -> bool:
    """Whether a folder is a labelled data set, whatever parts of it are there."""
    return any(has_split(data, split) for split in ("train", "val", "test"))


def _miou(
    candidate: Any,
    precision: str,
    name: str,
    network_hw: SizeHW,
    validation: LabelledSet,
    threads: int | None,
) -> float:
    backend = OpenVinoBackend(
        candidate, network_hw, name=name, precision=precision, threads=threads
    )
    try:
        return evaluate_backend(backend, validation, classes=validation.classes).miou
    finally:
        backend.close()
