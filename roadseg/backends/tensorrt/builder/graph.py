"""The ONNX graph of an engine, in memory."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from roadseg.core.errors import QualityGateError
from roadseg.core.progress import ShowProgress, StageClock
from roadseg.core.wording import option
from roadseg.engine.manifest import CalibrationFacts
from roadseg.engine.spec import EngineSpec
from roadseg.weights.calibration import (
    check_weights,
    find_calibration,
    read_calibration,
    shipped_calibration,
)
from roadseg.weights.gate import check_gate
from roadseg.weights.manifest import sha256_of

if TYPE_CHECKING:
    from roadseg.core.labels import ClassSet
    from roadseg.export.network import TrainedNetwork
    from roadseg.weights import ModelFile
    from roadseg.weights.calibration import Calibration


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkGraph:
    """An exported network.

    Attributes:
        content: the serialised ONNX model; the same network gives the same bytes.
        sha256: of the graph in it, without what the file says of itself, such as the version of
            roadseg: that makes no other engine.
        architecture: the network's name in `roadseg.models`.
        weights_sha256: of the weights' file.
        classes: what the network tells apart.
        calibration: None unless INT8.
    """

    content: bytes
    sha256: str
    architecture: str
    weights_sha256: str
    classes: ClassSet
    calibration: CalibrationFacts | None


def export_graph(
    spec: EngineSpec, weights: ModelFile, *, progress: ShowProgress | None = None
) -> NetworkGraph:
    """Load a network and write its graph, as the engine wants it.

    That an INT8 engine is made only because it is forced is logged.

    Args:
        spec: the engine.
        weights: of the network.
        progress: shows how far it is.

    Raises:
        ModelError: the weights or the calibration are missing, damaged, or of another network; or
            the network cannot take frames of that size.
        BackendError: PyTorch or ONNX is missing.
        QualityGateError: INT8 costs too much.
    """
    from roadseg.export.network import load_network

    clock = StageClock("exporting", progress)
    clock.at(0.0)
    network = load_network(weights)
    calibration = facts = None
    if spec.precision == "int8":
        calibration, facts = _read(network, spec)
    clock.at(0.3)
    from roadseg.export.onnx import build_onnx

    model = build_onnx(
        network.module,
        network.architecture,
        size_hw=spec.size_hw,
        batch=None if spec.is_dynamic else spec.batch[0],
        lowering=spec.lowering,
        precision="fp32" if spec.precision == "fp32" else "fp16",
        weights_sha256=network.weights_sha256,
        portable=spec.portable,
        classes=network.classes,
    )
    clock.at(0.7)
    if calibration is not None:
        from roadseg.export.qdq import insert_qdq

        model = insert_qdq(model, calibration)
    content: bytes = model.SerializeToString(deterministic=True)
    clock.at(1.0)
    return NetworkGraph(
        content=content,
        sha256=_graph_sha256(model),
        architecture=network.architecture,
        weights_sha256=network.weights_sha256,
        classes=network.classes,
        calibration=facts,
    )


def _graph_sha256(model: Any) -> str:
    digest = hashlib.sha256(model.graph.SerializeToString(deterministic=True))
    for opset in model.opset_import:
        digest.update(f"{opset.domain} {opset.version};".encode())
    return digest.hexdigest()


def _read(network: TrainedNetwork, spec: EngineSpec) -> tuple[Calibration, CalibrationFacts]:
    source = spec.model
    usual = find_calibration(network.architecture, network.weights_sha256)
    path = spec.calibration or usual
    calibration = read_calibration(path, source=source)
    check_weights(
        calibration,
        model=network.architecture,
        weights_sha256=network.weights_sha256,
        source=source,
    )
    forced = False
    try:
        check_gate(calibration, max_drop_points=spec.max_drop_points)
    except QualityGateError as exc:
        if not spec.force:
            raise
        forced = True
        # Without its advice, which is what the user has followed.
        _log.info(f"{option('--force', True)}: {exc.what}")
    gate = calibration.gate
    return calibration, CalibrationFacts(
        sha256=sha256_of(path),
        float_layers=calibration.float_layers,
        drop_points=gate.drop_points if gate else None,
        measured_on=gate.measured_on if gate else None,
        forced=forced,
        # Wherever a run is started from, it finds the file that may have changed.
        path=None if path == shipped_calibration(network.architecture) else str(path.resolve()),
        agreement=gate.agreement if gate else None,
        label_miou=gate.label_miou if gate else None,
    )
