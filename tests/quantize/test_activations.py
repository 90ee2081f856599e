"""Histograms of magnitudes, and the scales that follow from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from roadseg.core.errors import BackendError, ModelError
from roadseg.export.onnx import build_onnx
from roadseg.export.quantizable import QuantizableGraph
from roadseg.quantize.activations import (
    METHODS,
    Histogram,
    choose_scale,
    choose_scales,
    observe_activations,
)

Array = npt.NDArray[Any]


def of(values: Array) -> Histogram:
    histogram = Histogram.empty()
    histogram.add(values.astype(np.float32))
    return histogram


def test_counts_are_exact_and_add_up() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 3, 5000).astype(np.float32)
    values[::7] = 0
    whole = of(values)
    parts = Histogram.empty()
    for part in np.array_split(values, 3):
        parts.add(part.reshape(1, -1))
    np.testing.assert_array_equal(parts.counts, whole.counts)
    assert parts.peak == whole.peak == np.abs(values).max()
    assert whole.counts.sum() == 5000
    assert whole.counts[0] == (values == 0).sum()


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0, 99.9, 100.0])
def test_percentiles_are_those_of_the_values(percent: float) -> None:
    values = np.abs(np.random.default_rng(1).normal(0, 3, 20000)).astype(np.float32)
    exact = float(np.percentile(values, percent))
    # Bins are at most 1/256 of their values wide.
    assert of(values).percentile(percent) == pytest.approx(exact, rel=0.006)


@pytest.mark.parametrize("scale", [0.01, 0.05, 0.2])
def test_squared_error_is_that_of_the_values(scale: float) -> None:
    values = np.random.default_rng(2).normal(0, 2, 50000).astype(np.float32)
    rounded = np.clip(np.rint(values / scale), -127, 127) * scale
    exact = float(np.mean((values - rounded) ** 2))
    assert of(values).squared_error(scale) == pytest.approx(exact, rel=0.02)


def test_known_distributions_give_known_scales() -> None:
    ramp = of(np.linspace(0, 127, 100_001))
    # 127 steps of 1; one value in 10,000 less is still nearest to a step of 1.
    assert [choose_scale(ramp, method) for method in METHODS] == [1.0, 1.0, 1.0]
    spiked = np.abs(np.random.default_rng(3).normal(0, 1, 1_000_000))
    spiked[0] = 127.0
    absmax, percentile, mse = (choose_scale(of(spiked), method) for method in METHODS)
    assert absmax == 1.0
    # 99.99% of a half normal distribution lie below 3.89.
    assert percentile == pytest.approx(3.89 / 127, rel=1 / 16)
    # One value of 127 costs as much clipped to half as all others do rounded to steps of 0.13.
    assert percentile < mse < absmax


def test_the_mse_scale_is_the_best_of_all() -> None:
    histogram = of(np.random.default_rng(4).laplace(0, 1, 100_000))
    best = choose_scale(histogram, "mse")
    errors = {s: histogram.squared_error(s) for s in np.geomspace(best / 4, best * 4, 200)}
    assert histogram.squared_error(best) <= min(errors.values()) * 1.02


@pytest.mark.parametrize("method", METHODS)
def test_steps_have_four_bits_and_their_multiples_are_exact_in_fp16(method: Any) -> None:
    rng = np.random.default_rng(5)
    for magnitude in (1e-2, 0.3, 1, 7, 100, 450):
        scale = choose_scale(of(rng.normal(0, magnitude, 5000)), method)
        assert math.frexp(scale)[0] * 16 % 1 == 0
        multiples = np.arange(-128, 129) * scale
        np.testing.assert_array_equal(multiples.astype(np.float16).astype(np.float64), multiples)


def test_absmax_clips_nothing_by_the_least_margin() -> None:
    for peak in (0.9, 15.9, 16.0, 126.9, 127.0, 127.1):
        scale = choose_scale(of(np.array([peak, 0.1])), "absmax")
        assert scale * 127 >= np.float32(peak) > scale * 127 * (1 - 1 / 8)


@pytest.mark.parametrize("method", METHODS)
def test_zeros_and_a_single_value(method: Any) -> None:
    assert choose_scale(of(np.zeros(10)), method) == 1 / 128
    assert choose_scale(Histogram.empty(), method) == 1 / 128
    lonely = np.zeros(1_000_000)
    lonely[5] = -4.0
    assert 127 * choose_scale(of(lonely), method) == pytest.approx(4.0, rel=1 / 8)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_values_that_are_not_finite(bad: float) -> None:
    with pytest.raises(ModelError) as caught:
        of(np.array([1.0, bad]))
    assert str(caught.value) == (
        "the network yields infinite values or NaN on a calibration frame: "
        "its weights are damaged: train it again"
    )


def test_a_network_is_observed_where_its_values_are(
    tiny: nn.Module, frames: Callable[..., Array]
) -> None:
    graph = build_onnx(tiny, "tiny", size_hw=(32, 64))
    before = graph.SerializeToString()
    names = QuantizableGraph(graph.graph).scale_sources()
    batches = [frames((32, 64), seed=seed) for seed in range(3)]
    done: list[str] = []
    found = observe_activations(
        graph, names, batches, threads=1, progress=lambda state: done.append(state.detail)
    )
    assert graph.SerializeToString() == before
    assert done == ["1/3", "2/3", "3/3"]
    assert tuple(found) == names
    with torch.inference_mode():
        x = torch.from_numpy(np.concatenate(batches)).permute(0, 3, 1, 2).float() / 255
        expected: Any = tiny.first(x)  # type: ignore[operator]
    first = found["first.2:0"]
    assert first.counts.sum() == expected.numel()
    assert first.peak == pytest.approx(float(expected.max()), rel=1e-4)
    again = observe_activations(graph, names, batches, threads=1)
    assert choose_scales(again, "mse") == choose_scales(found, "mse")


def test_a_graph_that_openvino_does_not_run(tiny: nn.Module, frames: Callable[..., Array]) -> None:
    graph = build_onnx(tiny, "tiny", size_hw=(32, 64))
    with pytest.raises(BackendError, match=r"^OpenVINO cannot run the float network \("):
        observe_activations(graph, ["nothing:0"], [frames((32, 64))])
