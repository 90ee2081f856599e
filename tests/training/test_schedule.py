from __future__ import annotations

import dataclasses
import math

import pytest

from roadseg.training.recipes import load_recipe
from roadseg.training.schedule import learning_rate

RECIPE = dataclasses.replace(load_recipe("lite"), learning_rate=2.0, warmup_epochs=0)


def test_poly_and_cosine_by_hand() -> None:
    poly = dataclasses.replace(RECIPE, poly_power=2.0)
    assert learning_rate(poly, 100, 10, 0.5) == pytest.approx(0.5)
    cosine = dataclasses.replace(RECIPE, schedule="cosine")
    assert learning_rate(cosine, 100, 10, 0.25) == pytest.approx(1 + math.cos(math.pi / 4))
    assert learning_rate(cosine, 100, 10, 1.0) == pytest.approx(0.0)


def test_warm_up_rises_from_the_first_step() -> None:
    warm = dataclasses.replace(RECIPE, warmup_epochs=2, poly_power=0.0)
    rates = [learning_rate(warm, step, 10, 0.0) for step in range(25)]
    assert rates[0] == pytest.approx(2 / 21)
    assert rates[9] == pytest.approx(20 / 21)
    assert rates[20:] == [2.0] * 5


def test_the_rate_rests_while_weights_are_averaged() -> None:
    averaging = dataclasses.replace(RECIPE, swa_share=0.25, poly_power=1.0)
    assert learning_rate(averaging, 100, 10, 0.5) == pytest.approx(1.0)
    assert {learning_rate(averaging, 100, 10, f) for f in (0.75, 0.9, 1.0)} == {0.5}
