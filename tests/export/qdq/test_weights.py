"""Weights in INT8: their scales, and room for 16-bit sums."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.export.qdq import quantize_weights

pytestmark = pytest.mark.usefixtures("as_typed")


def test_weights() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, (4, 3, 3, 3)).astype(np.float32)
    weights[2] = 0
    values, scales = quantize_weights(weights, 0)
    assert values.dtype == np.int8
    peaks = np.abs(weights).max(axis=(1, 2, 3))
    np.testing.assert_allclose(scales, np.where(peaks > 0, peaks / 127, 1), rtol=1e-6)
    assert np.abs(values[[0, 1, 3]]).max(axis=(1, 2, 3)).tolist() == [127] * 3
    assert not values[2].any()
    restored = values * scales[:, None, None, None]
    assert (np.abs(restored - weights) <= scales[:, None, None, None] / 2 * 1.0001).all()
    by_second, second = quantize_weights(weights.transpose(1, 0, 2, 3), 1)
    np.testing.assert_array_equal(by_second.transpose(1, 0, 2, 3), values)
    np.testing.assert_array_equal(second, scales)


def test_scales_of_fp16_weights_are_rounded_before_they_are_used() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.02, (8, 16, 3, 3)).astype(np.float16)
    weights[3] *= np.float16(1e-3)
    values, scales = quantize_weights(weights, 0)
    assert scales.dtype == np.float16
    assert scales.min() == np.float16(2.0**-14)  # the channel of tiny weights: no subnormal scale
    restored = values * scales.astype(np.float64)[:, None, None, None]
    error = np.abs(restored - weights.astype(np.float64))
    # Half a step, but for a peak that a scale rounded down cannot reach (127 * 2**-11 steps).
    assert (error <= scales.astype(np.float64)[:, None, None, None] * (0.5 + 127 / 2048)).all()


@pytest.mark.parametrize("shape", [(5, 7, 3, 3), (4, 3, 3, 3), (6, 2, 1, 1), (3, 1, 1, 1)])
@pytest.mark.parametrize("axis", [0, 1])
def test_weights_with_room_never_exceed_16_bits(shape: tuple[int, ...], axis: int) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, shape).astype(np.float32)
    weights[1] = np.abs(weights[1])
    weights[2] = 0
    given = np.ascontiguousarray(np.moveaxis(weights, 0, axis))
    values, scales = quantize_weights(given, axis, room=True)
    assert values.shape == given.shape
    by_output = np.moveaxis(values, axis, 0).astype(int)
    odd = by_output.shape[1] % 2
    pairs = np.pad(by_output, ((0, 0), (0, odd), (0, 0), (0, 0)))
    for sign in (1, -1):
        positive = (sign * pairs).clip(0, None)
        sums = positive[:, 0::2] + positive[:, 1::2]
        assert sums.max() * 255 <= 32767
        if shape[1] < 4:  # kernels may pair any two of them
            flat = np.sort(positive.reshape(len(positive), -1))[:, -2:]
            assert flat.sum(1).max() * 255 <= 32767
    # No more room than that is left.
    _full, without = quantize_weights(given, axis)
    assert (scales <= 2.001 * without).all()
    assert (scales[[0, 1]] >= without[[0, 1]]).all()
    restored = by_output * scales.reshape(-1, 1, 1, 1)
    assert (np.abs(restored - weights) <= scales.reshape(-1, 1, 1, 1) / 2 * 1.0001).all()
