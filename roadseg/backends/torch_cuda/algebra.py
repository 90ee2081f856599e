"""Convolutions made of others that compute the same: in FP32, on the CPU, without gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def bias_of(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """(C,) bias; zeros where the layer has none."""
    return torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()


def pointwise_product(before: nn.Conv2d, after: nn.Conv2d) -> nn.Conv2d:
    """One convolution for an ungrouped one and the 1x1 convolution right after it."""
    matrix = after.weight[:, :, 0, 0].double()
    layer = _like(before, before.in_channels, after.out_channels)
    weight = torch.einsum("om,mikl->oikl", matrix, before.weight.double())
    bias = matrix @ bias_of(before).double() + bias_of(after).double()
    _set(layer, weight, bias)
    return layer


def padded_input(layer: nn.Conv2d, channels: int, scale: float) -> nn.Conv2d:
    """For inputs divided by `scale`, with channels behind the layer's own that count nothing."""
    padded = _like(layer, channels, layer.out_channels)
    weight = torch.zeros_like(padded.weight)
    weight[:, : layer.in_channels] = layer.weight * scale
    _set(padded, weight, bias_of(layer))
    return padded


def padded_output(layer: nn.Conv2d, channels: int) -> nn.Conv2d:
    """With results behind the layer's own that are all zero."""
    padded = _like(layer, layer.in_channels, channels)
    weight, bias = torch.zeros_like(padded.weight), torch.zeros(channels)
    weight[: layer.out_channels] = layer.weight
    bias[: layer.out_channels] = bias_of(layer)
    _set(padded, weight, bias)
    return padded


def doubles(layer: nn.ConvTranspose2d) -> bool:
    """Whether each position writes a square of 2x2 pixels of its own."""
    two = (2, 2)
    no_padding = layer.padding == (0, 0) and layer.output_padding == (0, 0)
    return layer.kernel_size == two == layer.stride and no_padding and layer.groups == 1


def transposed_as_product(layer: nn.ConvTranspose2d, channels: int) -> nn.Conv2d:
    """The 1x1 convolution that computes a layer which `doubles`.

    Channel (2 * i + j) * C + c of a position is channel c of the pixel in row i and column j of
    its square; channels behind these are zero.
    """
    used = 4 * layer.out_channels
    product = nn.Conv2d(layer.in_channels, channels, 1)
    weight, bias = torch.zeros_like(product.weight), torch.zeros(channels)
    pixels = layer.weight.permute(2, 3, 1, 0).reshape(used, layer.in_channels)
    weight[:used, :, 0, 0] = pixels
    bias[:used] = bias_of(layer).repeat(4)
    _set(product, weight, bias)
    return product


def _like(layer: nn.Conv2d, c_in: int, c_out: int) -> nn.Conv2d:
    """An ungrouped convolution of the same geometry, with a bias."""
    made = nn.Conv2d(c_in, c_out, 1)
    made.kernel_size, made.stride = layer.kernel_size, layer.stride
    made.padding, made.dilation = layer.padding, layer.dilation
    made.weight = nn.Parameter(torch.zeros(c_out, c_in, *layer.kernel_size))
    return made


def _set(layer: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    layer.weight = nn.Parameter(weight.float(), requires_grad=False)
    layer.bias = nn.Parameter(bias.float(), requires_grad=False)
