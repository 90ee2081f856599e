"""The kernels at the ends of a network, compiled as C++, against NumPy and PyTorch."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from roadseg.kernels.frame import FRAME_SYMBOLS, frame_launch, frame_source, labels_launch
from roadseg.testing.host_kernels import host_frame_kernels

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def run(launch, grid=None, block=None):
    kernel = host_frame_kernels()[launch.symbol]
    kernel(grid or launch.grid, block or launch.block, launch.args)


def all_colours_of_some_bytes(values):
    return np.array(list(itertools.product(values, repeat=3)), np.uint8)


def convert(pixels, **options):
    out = np.full((len(pixels), 8), np.nan, np.float16)
    run(frame_launch(len(pixels), pixels.ctypes.data, out.ctypes.data, **options))
    return out


@needs_compiler
def test_every_byte_is_held_exactly():
    pixels = np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1)
    pixels[:, 1] = pixels[::-1, 1]
    out = convert(pixels, scale=1 / 256)
    np.testing.assert_array_equal(out[:, :3].astype(np.float64) * 256, pixels)
    assert (out[:, 3:] == 0).all()  # written, although it was NaN


@needs_compiler
@pytest.mark.parametrize("scale", [1 / 255, 3.7e-5, 1.1e-7, 300.0])
def test_rounding_is_that_of_numpy(scale):
    # Results in the normal range, below it, below the smallest number, and above the largest.
    pixels = all_colours_of_some_bytes(range(0, 256, 51))
    with np.errstate(over="ignore"):
        want = (pixels.astype(np.float32) * np.float32(scale)).astype(np.float16)
    np.testing.assert_array_equal(convert(pixels, scale=scale)[:, :3], want)


@needs_compiler
def test_local_response_normalisation_is_pytorchs():
    layer = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
    pixels = all_colours_of_some_bytes((0, 1, 17, 128, 255))
    planes = torch.from_numpy(pixels.T.astype(np.float32))[None, :, :, None]
    want = layer(planes)[0, :, :, 0].numpy().T
    out = convert(pixels, scale=1.0, norm=(layer.k, layer.alpha / layer.size, layer.beta))
    # Rounded once to FP16, 11 significant bits.
    np.testing.assert_allclose(out[:, :3].astype(np.float32), want, rtol=6e-4)


@needs_compiler
@pytest.mark.parametrize("grid", [(1, 1, 1), (3, 1, 1)])
def test_any_grid_does_all_the_work(grid):
    pixels = all_colours_of_some_bytes((0, 100, 200))
    out = np.full((len(pixels), 8), np.nan, np.float16)
    launch = frame_launch(len(pixels), pixels.ctypes.data, out.ctypes.data, scale=1.0)
    run(launch, grid, (2, 1, 1))
    np.testing.assert_array_equal(out[:, :3], pixels)


def reference(scores, classes, block, out_hw):
    """PyTorch's ArgMax of (N, h, w, channels) scores."""
    n, h, w, _ = scores.shape
    used = torch.from_numpy(scores[..., : block * block * classes].astype(np.float32))
    squares = used.reshape(n, h, w, block, block, classes).argmax(5)
    labels = squares.permute(0, 1, 3, 2, 4).reshape(n, h * block, w * block)
    return labels[:, : out_hw[0], : out_hw[1]].numpy().astype(np.uint8)


@needs_compiler
@pytest.mark.parametrize(
    ("nhwc", "classes", "block", "out_hw"),
    [
        ((2, 5, 7, 16), 11, 1, (5, 7)),
        ((1, 3, 4, 8), 8, 1, (3, 4)),  # nothing padded
        ((1, 4, 3, 8), 1, 1, (4, 3)),
        ((2, 5, 7, 48), 11, 2, (10, 14)),
        ((2, 5, 7, 48), 11, 2, (9, 13)),  # odd sides
        ((1, 3, 3, 104), 11, 3, (8, 9)),
    ],
)
def test_labels_are_pytorchs(nhwc, classes, block, out_hw):
    random = np.random.default_rng(classes)
    # Few values: most pixels have ties.
    scores = random.integers(-2, 3, nhwc).astype(np.float16)
    scores[random.random(nhwc) < 0.02] = np.nan
    scores[..., block * block * classes :] = 1000  # padding never wins
    want = reference(scores, classes, block, out_hw)
    labels = np.full((nhwc[0], *out_hw), 255, np.uint8)
    addresses = (scores.ctypes.data, labels.ctypes.data)
    run(labels_launch(nhwc, *addresses, classes=classes, block=block, out_hw=out_hw))
    np.testing.assert_array_equal(labels, want)


@needs_compiler
def test_every_fp16_number_is_ordered_as_it_is():
    numbers = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    numbers = numbers[~np.isnan(numbers)]
    random = np.random.default_rng(0)
    scores = np.zeros((1, 1, len(numbers), 8), np.float16)
    scores[0, 0, :, 0] = numbers
    scores[0, 0, :, 1] = random.permutation(numbers)
    labels = np.full((1, 1, len(numbers)), 255, np.uint8)
    options = {"classes": 2, "block": 1, "out_hw": (1, len(numbers))}
    run(labels_launch(scores.shape, scores.ctypes.data, labels.ctypes.data, **options))
    np.testing.assert_array_equal(labels[0, 0], scores[0, 0, :, 1] > scores[0, 0, :, 0])


def test_scores_that_do_not_fit():
    with pytest.raises(ValueError) as caught:
        labels_launch((1, 2, 2, 40), 0, 0, classes=11, block=2, out_hw=(4, 4))
    assert str(caught.value) == (
        "11 classes of 2x2 pixels need 44 channels in a multiple of 8: got 40"
    )
    for out_hw in ((2, 4), (5, 4)):
        with pytest.raises(ValueError) as caught:
            labels_launch((1, 2, 2, 48), 0, 0, classes=11, block=2, out_hw=out_hw)
        assert str(caught.value) == (f"2x2 positions of 2x2 pixels do not make {out_hw} labels")


@pytest.mark.parametrize("target", [(7, 5), (8, 7), (8, 9), (9, 0), (12, 0)])
def test_nvrtc_compiles_them(target):
    pytest.importorskip("cuda.bindings.nvrtc", reason="needs cuda-bindings with NVRTC")
    from roadseg.kernels.nvrtc import compile_kernels

    code = compile_kernels(target, output="ptx", cache=False, text=frame_source()).decode()
    assert all(f".entry {symbol}(" in code for symbol in FRAME_SYMBOLS)
    # Frames leave, and scores arrive, 16 bytes at a time; nothing is spilled.
    assert "st.global.v4" in code
    assert "ld.global.nc.v4" in code or "ld.global.v4" in code
    assert "st.local" not in code
