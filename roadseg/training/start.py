"""The network that a run starts with: random weights, or those of a file."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import nn

from roadseg.core.errors import UsageError
from roadseg.core.labels import ClassSet
from roadseg.core.wording import option
from roadseg.models import build_model, load_weights, weights_classes
from roadseg.models.abilities import has_pretrained_encoder
from roadseg.models.transfer import keep_all_but_classes
from roadseg.training.spec import RunSpec

_log = logging.getLogger(__name__)


def starting_network(spec: RunSpec, *, leads: bool = True) -> nn.Module:
    """The network of a run, before its first step; before its checkpoint where it is resumed.

    Args:
        spec: of the run.
        leads: say what was taken over of the weights of `spec.init`.

    Raises:
        ModelError: weights are missing or damaged.
        UsageError: weights are of another network, or the network has no encoder for any.
    """
    network = build_model(spec.model, spec.classes.num_classes, dropout=spec.recipe.dropout)
    if spec.resume:
        return network
    if spec.init is not None:
        told = _take_over(network, spec.model, spec.init, spec.classes)
        if leads:
            _log.info("%s", told)
    elif spec.encoder_weights is not None:
        if not has_pretrained_encoder(network):
            raise UsageError(
                f"{option('--encoder-weights')} is for networks whose encoder is VGG16 or "
                f"EfficientNet, and {spec.model} has neither",
                fix=f"use {option('--model', 'segnet', 'segnet-edge')}",
            )
        network.load_encoder(spec.encoder_weights)
    return network


def _take_over(network: nn.Module, name: str, weights: Path, classes: ClassSet) -> str:
    """Give a network the weights of a file, but the last layers where its classes are others.

    Returns:
        What was taken over, one line for people.
    """
    model, meta = load_weights(weights)
    if meta["model"] != name:
        raise UsageError(
            f"{weights} holds {meta['model']}",
            fix=f"use {option('--model', meta['model'])}, or other weights",
        )
    own, state = weights_classes(weights), model.state_dict()
    if own.same_classes(classes):
        network.load_state_dict(state)
        return f"starting from all weights of {weights}"
    kept, anew = keep_all_but_classes(network, name, state)
    return (
        f"starting from {weights}, which knows {own}: {kept} layers are kept, "
        f"{' and '.join(anew[:2])}{', ...' if anew[2:] else ''} start anew for {classes}"
    )
