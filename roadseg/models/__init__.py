"""The networks, in PyTorch: the truth that every other backend is compared with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from roadseg.core.errors import ModelError, SinkError, UsageError
from roadseg.core.labels import CAMVID, NUM_CLASSES, ClassSet, known_class_set
from roadseg.core.wording import option
from roadseg.models.decoder_variants import (
    BilinearInterpolation,
    FCNBasic,
    SegNetBasicEncoderAddition,
    SegNetBasicSingleChannelDecoder,
)
from roadseg.models.files import save_in_one_step
from roadseg.models.large import DeconvNet, DeepLabLargeFOV, FCN8s, UNet
from roadseg.models.segnet import SegNet
from roadseg.models.segnet_basic import SegNetBasic
from roadseg.models.segnet_lite import SegNetLite

__all__ = [
    "COMPARISON_NAMES",
    "MODEL_NAMES",
    "SegNet",
    "SegNetBasic",
    "SegNetLite",
    "build_model",
    "load_weights",
    "save_weights",
    "weights_classes",
]

_BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "segnet": SegNet,
    "segnet-basic": SegNetBasic,
    "segnet-lite": SegNetLite,
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
        raise UsageError(f"unknown model {name!r}: use {option('--model', *_BUILDERS)}") from None
    if getattr(build, "takes_dropout", False):
        return build(num_classes, dropout=dropout)
    return build(num_classes)


def save_weights(
    path: Path, model: nn.Module, name: str, *, classes: ClassSet = CAMVID, **meta: Any
) -> None:
    """Write weights as FP16 with what is needed to build the network again.

    Batch normalisation's means and variances stay FP32: behind a convolution of pixels in 0..255 a
    variance can be too large for FP16.

    Args:
        path: a `.pt` file; replaced in one step.
        model: the network whose state is written.
        name: its name for `build_model`.
        classes: what it tells apart.
        **meta: plain values to keep beside the weights.

    Raises:
        SinkError: the file cannot be written.
    """
    state = {
        key: value.half() if value.is_floating_point() and not key.endswith(_STATISTICS) else value
        for key, value in model.state_dict().items()
    }
    content = {
        "model": name,
        "classes": list(classes.names),
        "class_set": classes.name,
        "palette_rgb": [list(colour) for colour in classes.colours_rgb],
        "state": state,
        "meta": meta,
    }
    try:
        save_in_one_step(path, content)
    except OSError as exc:
        raise SinkError(
            f"cannot write {path} ({exc.strerror or exc}): free some space, or check its folder"
        ) from exc


def load_weights(path: Path, classes: ClassSet | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """A network in eval mode, in FP32, from a file of `save_weights`, and its meta data.

    The meta data has at least `model`, the network's name; `weights_classes` tells its classes.

    Args:
        path: the file.
        classes: those that the network must know; default: whichever the file has.

    Raises:
        ModelError: the file is missing, damaged, or of another kind or of other classes.
    """
    stored, own = _read(path)
    name, state = stored["model"], stored["state"]
    if classes is not None and not own.same_classes(classes):
        raise ModelError(
            f"{path} knows {own}, not {classes}: use weights that were trained on those"
        )
    model = build_model(name, own.num_classes)
    try:
        model.load_state_dict({key: value.float() for key, value in state.items()})
    except RuntimeError as exc:
        raise ModelError(
            f"{path} does not fit {name}: train it again with 'roadseg train'"
        ) from exc
    return model.eval(), {"model": name, **stored["meta"]}


def weights_classes(path: Path) -> ClassSet:
    """The classes of a file of `save_weights`, whose weights are not read.

    Raises:
        ModelError: the file is missing, damaged, or of another kind.
    """
    return _read(path, mmap=True)[1]


def _read(path: Path, *, mmap: bool = False) -> tuple[dict[str, Any], ClassSet]:
    try:
        stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        names, colours = stored["classes"], stored.get("palette_rgb")
        stored["model"], stored["state"], stored["meta"]
        own = known_class_set(
            tuple(names),
            tuple((int(r), int(g), int(b)) for r, g, b in colours) if colours else None,
            str(stored.get("class_set", "its own data set")),
        )
    except FileNotFoundError:
        raise ModelError(f"no weights at {path}: train some with 'roadseg train'") from None
    except Exception as exc:
        # PyTorch's own message advises to load whatever it is without a check.
        raise ModelError(
            f"{path} is not a roadseg weights file: use one that 'roadseg train' wrote"
        ) from exc
    return stored, own
