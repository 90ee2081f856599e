"""The networks, in PyTorch: the truth that every other backend is compared with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from roadseg.core.errors import ModelError, UsageError
from roadseg.core.files import write_bytes
from roadseg.core.labels import CAMVID, NUM_CLASSES, ClassSet
from roadseg.core.weights_file import SUFFIX, WeightsHeader, no_weights, not_ours, read_header
from roadseg.core.wording import option
from roadseg.models.decoder_variants import (
    BilinearInterpolation,
    FCNBasic,
    SegNetBasicEncoderAddition,
    SegNetBasicSingleChannelDecoder,
)
from roadseg.models.large import DeconvNet, DeepLabLargeFOV, FCN8s, UNet
from roadseg.models.segnet import SegNet
from roadseg.models.segnet_basic import SegNetBasic
from roadseg.models.segnet_edge import SegNetEdge
from roadseg.models.segnet_lite import SegNetLite
from roadseg.models.segnet_nano import SegNetNano

__all__ = [
    "COMPARISON_NAMES",
    "MODEL_NAMES",
    "SegNet",
    "SegNetBasic",
    "SegNetEdge",
    "SegNetLite",
    "SegNetNano",
    "build_model",
    "load_weights",
    "save_weights",
    "weights_bytes",
    "weights_classes",
]

_BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "segnet": SegNet,
    "segnet-basic": SegNetBasic,
    "segnet-lite": SegNetLite,
    "segnet-edge": SegNetEdge,
    "segnet-nano": SegNetNano,
}

MODEL_NAMES = tuple(_BUILDERS)
"""The networks that roadseg is about; the ones below are what they are compared with."""

_BUILDERS |= {
    "segnet-basic-encoder-addition": SegNetBasicEncoderAddition,
    "segnet-basic-single-channel-decoder": SegNetBasicSingleChannelDecoder,
    "fcn-basic": FCNBasic,
    "fcn-basic-no-addition": partial(FCNBasic, addition=False),
    "fcn-basic-no-dim-reduction": partial(FCNBasic, reduction=False),
    "fcn-basic-no-addition-no-dim-reduction": partial(FCNBasic, addition=False, reduction=False),
    "bilinear-interpolation": BilinearInterpolation,
    "fcn-8s": partial(FCN8s, learnt_upsampling=False),
    "fcn-8s-learnt": FCN8s,
    "deeplab-largefov": DeepLabLargeFOV,
    "deconvnet": DeconvNet,
    "unet": UNet,
}

_STATISTICS = ("running_mean", "running_var")

COMPARISON_NAMES = tuple(name for name in _BUILDERS if name not in MODEL_NAMES)
"""The networks of the paper's tables 1, 3 and 6, and U-Net."""


def build_model(name: str, num_classes: int = NUM_CLASSES, *, dropout: float = 0.0) -> nn.Module:
    """A network with fresh He-initialised weights.

    Its forward takes (N, 3, H, W) float BGR in 0..1 and gives (N, num_classes, H, W) scores.

    Args:
        name: of the network.
        num_classes: channels of the scores.
        dropout: probability of dropout while training, for networks that leave it to the recipe
            (`takes_dropout`); the others have their own.

    Raises:
        UsageError: no network has that name.
    """
    try:
        build: Callable[..., nn.Module] = _BUILDERS[name]
    except KeyError:
        raise UsageError(
            f"unknown model {name!r}", fix=f"use {option('--model', *_BUILDERS)}"
        ) from None
    if getattr(build, "takes_dropout", False):
        return build(num_classes, dropout=dropout)
    return build(num_classes)


def save_weights(
    path: Path, model: nn.Module, name: str, *, classes: ClassSet = CAMVID, **meta: Any
) -> None:
    """Write weights to a `.safetensors` file in one step; see `weights_bytes`.

    Raises:
        SinkError: the file cannot be written.
    """
    content = weights_bytes(model, name, classes=classes, **meta)
    write_bytes(path, content, fix="free some space, or check its folder")


def weights_bytes(model: nn.Module, name: str, *, classes: ClassSet = CAMVID, **meta: Any) -> bytes:
    """Weights as FP16 in a `.safetensors` file, with what is needed to build the network again.

    Equal weights give equal bytes.

    Batch normalisation's means and variances stay FP32: behind a convolution of pixels in 0..255 a
    variance can be too large for FP16.

    Args:
        model: the network whose state is kept.
        name: its name for `build_model`.
        classes: what it tells apart.
        **meta: plain values to keep beside the weights.
    """
    from safetensors.torch import save

    state = {
        key: value.half() if value.is_floating_point() and not key.endswith(_STATISTICS) else value
        for key, value in model.state_dict().items()
    }
    state = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    content: bytes = save(state, WeightsHeader(name, classes, meta).metadata())
    return content


def load_weights(path: Path, classes: ClassSet | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """A network in eval mode, in FP32, from a file of weights, and its meta data.

    The meta data has at least `model`, the network's name; `weights_classes` tells its classes.

    Args:
        path: a file of `save_weights`, or a `.pt` file that an earlier version wrote.
        classes: those that the network must know; default: whichever the file has.

    Raises:
        ModelError: the file is missing, damaged, or of another kind or of other classes.
    """
    header, state = _read(path)
    name, own = header.model, header.classes
    if classes is not None and not own.same_classes(classes):
        raise ModelError(
            f"{path} knows {own}, not {classes}", fix="use weights that were trained on those"
        )
    model = build_model(name, own.num_classes)
    try:
        model.load_state_dict({key: value.float() for key, value in state.items()})
    except RuntimeError as exc:
        raise ModelError(
            f"{path} does not fit {name}", fix="train it again with 'roadseg train'"
        ) from exc
    return model.eval(), {"model": name, **header.meta}


def weights_classes(path: Path) -> ClassSet:
    """The classes of a file of weights, which are not read themselves.

    Raises:
        ModelError: the file is missing, damaged, or of another kind.
    """
    return _read_old(path, mmap=True)[0].classes if _is_old(path) else read_header(path).classes


def _read(path: Path) -> tuple[WeightsHeader, dict[str, torch.Tensor]]:
    if _is_old(path):
        return _read_old(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = read_header(path)
    try:
        return header, load_file(path)
    except (OSError, SafetensorError) as exc:
        raise not_ours(path) from exc


def _is_old(path: Path) -> bool:
    return path.suffix.lower() != SUFFIX


def _read_old(path: Path, *, mmap: bool = False) -> tuple[WeightsHeader, dict[str, torch.Tensor]]:
    """A `.pt` file."""
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        return WeightsHeader.of(stored), stored["state"]
    except FileNotFoundError:
        raise no_weights(path) from None
    except Exception as exc:
        # PyTorch's own message advises to load whatever it is without a check.
        raise not_ours(path) from exc
