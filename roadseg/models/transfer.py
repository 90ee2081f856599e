"""Weights of one set of classes as the start of a network for another."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from roadseg.models import build_model


def class_parameters(name: str) -> list[str]:
    """Names of the parameters whose shape depends on the number of classes: the last layers.

    Args:
        name: of a network, for `build_model`.
    """
    with torch.device("meta"):  # shapes alone
        two, three = (build_model(name, count).state_dict() for count in (2, 3))
    return [key for key in two if two[key].shape != three[key].shape]


def keep_all_but_classes(
    network: nn.Module, name: str, state: Mapping[str, Tensor]
) -> tuple[int, list[str]]:
    """Give a network the weights of one for other classes; its last layers start anew.

    A last layer that enlarges begins with one weight for all pixels that it makes of one (ICNR:
    Aitken et al. 2017, "Checkerboard artifact free sub-pixel convolution", section 3): with random
    ones of each its own, labels would be a chequerboard until it has learnt otherwise.

    Args:
        network: changed in place; what its last layers hold are random weights.
        name: of its architecture, for `build_model`.
        state: of a network of the same architecture.

    Returns:
        How many layers were taken over, and the names of those that were not.
    """
    anew = class_parameters(name)
    kept = {key: value for key, value in state.items() if key not in anew}
    network.load_state_dict(kept, strict=False)
    for name in _layers(dict.fromkeys(anew)):
        layer = network.get_submodule(name)
        if isinstance(layer, nn.ConvTranspose2d) and layer.kernel_size == layer.stride:
            with torch.no_grad():
                layer.weight.copy_(layer.weight[..., :1, :1].expand_as(layer.weight))
    return len(_layers(kept)), _layers(dict.fromkeys(anew))


def _layers(keys: Mapping[str, object]) -> list[str]:
    """`["a.weight", "a.bias", "b.weight"]` to `["a", "b"]`."""
    return list(dict.fromkeys(key.rpartition(".")[0] for key in keys))
