"""What INT8 is made from: a network, frames to measure ranges on, and labelled ones to judge by."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from roadseg.core.progress import ShowProgress
from roadseg.core.size import SizeHW
from roadseg.datasets.frames import CalibrationFrames, collect_frames
from roadseg.datasets.labelled import LabelledSet
from roadseg.datasets.opening import has_split, open_dataset
from roadseg.export.network import TrainedNetwork, load_network
from roadseg.weights import ModelFile

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """A network and frames.

    Attributes:
        network: what to quantise.
        frames: what ranges are measured on.
        validation: labelled frames to judge by; None where there are none.
    """

    network: TrainedNetwork
    frames: CalibrationFrames
    validation: LabelledSet | None


def load_inputs(
    model: str,
    weights: ModelFile,
    data: Path,
    *,
    frames: int | None = None,
    frame_list: Path | None = None,
    size_hw: SizeHW | None = None,
    split: str | None = None,
    progress: ShowProgress | None = None,
) -> Inputs:
    """Read the frames, then the network, which takes seconds to load.

    Args:
        model: what the user called the network.
        weights: its file.
        data: see `collect_frames`, as for `frames`, `frame_list`, `size_hw` and `progress`.
        split: which part of a labelled data set to judge on; default: `val`, if it has that.

    Raises:
        ModelError: the weights are damaged, or know other classes than the data set.
        DataError, SourceError: the frames are missing or damaged.
        BackendError: PyTorch or ONNX is missing.
    """
    judged = has_split(data, split or "val")
    if split and not judged:
        # A data set without the split that was asked for is a mistake, and says which it has.
        judged = any(has_split(data, name) for name in ("train", "val", "test"))
    validation = open_dataset(data, split or "val") if judged else None
    collected = collect_frames(
        data, count=frames, network_hw=size_hw, frame_list=frame_list, progress=progress
    )
    for warning in collected.warnings:
        _log.warning(warning)
    network = load_network(weights)
    if validation is not None:
        validation.check_model(model, network.classes)
    h, w = collected.network_hw
    _log.info(
        f"calibrating {network.architecture} on {len(collected.batches)} frames of "
        f"{collected.described} at {h}x{w}"
    )
    return Inputs(network, collected, validation)
