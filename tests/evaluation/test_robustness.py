"""What corruption leaves, by hand on backends whose mistakes are known; and the temperature."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.core.errors import DataError, UsageError
from roadseg.core.types import Image, Labels
from roadseg.evaluation.evaluate import FrameResult
from roadseg.evaluation.reliability import Reliability
from roadseg.evaluation.robustness import Corruptions, Robustness, Tally, evaluate_corruptions
from roadseg.evaluation.temperature import TemperatureFit

HW = (64, 96)


class Frames:
    def __init__(self, *frames: tuple[Image, Labels]) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[tuple[Image, Labels]]:
        return iter(self.frames)


def frames() -> Frames:
    """Three frames that `FakeBackend` labels without a mistake: it reads green as the class."""
    made = []
    for i in range(3):
        ids = np.full(HW, 4, np.uint8)
        ids[:, 20 + 10 * i :] = 5  # neighbours: nothing lies between them
        green = (ids.astype(np.uint16) * 256 + 128) // 11
        made.append((np.repeat(green[..., None], 3, axis=2).astype(np.uint8), ids))
    return Frames(*made)


class TooSure(FakeBackend):
    """Gives the label of each pixel a score of 2, and the others 0."""

    def infer_scores(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        ids = self.infer(batch_bgr)
        return 2 * (ids[:, None] == np.arange(11)[None, :, None, None]).astype(np.float32)


def test_clean_frames_score_as_they_do_alone_and_noise_costs_more_when_it_is_stronger() -> None:
    chosen = Corruptions(("gaussian-noise", "jpeg"), (1, 5))
    result = evaluate_corruptions(FakeBackend(HW), frames(), chosen)
    assert result.clean.miou == 1
    assert result.clean.calibration_error is None
    assert result.mean_calibration_error is None
    assert (result.kinds, result.severities) == (("gaussian-noise", "jpeg"), (1, 5))
    # A step of classes is 23 levels: noise of 20 leaves some right, noise of 97 hardly any.
    assert 0.05 < result.kept_at("gaussian-noise", 1) < 0.6
    assert result.kept_at("gaussian-noise", 5) < result.kept_at("gaussian-noise", 1) / 2
    assert result.worst == "gaussian-noise"
    assert result.kept("jpeg") > 0.5


def test_labels_that_move_are_scored_where_they_moved() -> None:
    still = evaluate_corruptions(FakeBackend(HW), frames(), Corruptions(("elastic",), (3, 4, 5)))
    assert still.mean_kept > 0.9


def test_what_is_kept_by_hand() -> None:
    tallies = {
        ("fog", 1): Tally(0.6, (0.9, 0.3), 0.1),
        ("fog", 3): Tally(0.4, (0.7, 0.1), 0.3),
        ("jpeg", 1): Tally(0.8, (0.8, 0.8), None),
        ("jpeg", 3): Tally(0.72, (0.8, 0.64), None),
    }
    result = Robustness(Tally(0.8, (0.8, 0.8), 0.01), tallies, ("road", "car"))
    assert result.kept_at("fog", 3) == pytest.approx(0.5)
    assert result.kept("fog") == pytest.approx(0.625)
    assert result.kept("jpeg") == pytest.approx(0.95)
    assert result.mean_kept == pytest.approx(0.7875)
    assert result.class_kept("fog") == pytest.approx((1.0, 0.25))
    assert result.mean_calibration_error == pytest.approx(0.2)
    document = json.loads(json.dumps(result.to_json()))
    assert document["worst"] == {"kind": "fog", "kept": pytest.approx(0.625)}
    assert document["kinds"]["fog"]["class_kept"]["car"] == pytest.approx(0.25)
    assert document["kinds"]["fog"]["family"] == "weather"
    assert document["kinds"]["jpeg"]["miou"] == {"1": 0.8, "3": 0.72}


def test_a_class_that_clean_frames_lack_has_no_share() -> None:
    nothing = Tally(0.5, (0.5, float("nan")), None)
    result = Robustness(nothing, {("fog", 1): nothing}, ("road", "car"))
    assert result.to_json()["kinds"]["fog"]["class_kept"] == {"road": 1.0, "car": None}


def test_calibration_errors_follow_the_temperature() -> None:
    def clean_error(temperature: float) -> float:
        result = evaluate_corruptions(
            TooSure(HW), frames(), Corruptions(("jpeg",), (1,)), temperature=temperature
        )
        assert result.clean.calibration_error is not None
        return result.clean.calibration_error

    # All labels are right, so all that is missing to full confidence is the error.
    for temperature in (1.0, 2.0, 0.1):
        sure = 1 / (1 + 10 * np.exp(-2 / temperature))
        assert clean_error(temperature) == pytest.approx(1 - sure, abs=1e-3)


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(true_temperature: float) -> None:
    rng = np.random.default_rng(0)
    fit, before, after = TemperatureFit(), Reliability(), Reliability(temperature=true_temperature)
    for index in range(20):
        scores = (3 * rng.standard_normal((11, *HW))).astype(np.float32)
        cool = np.exp(scores / true_temperature)
        shares = np.cumsum(cool / cool.sum(axis=0), axis=0)
        ids = (rng.random(HW) > shares).sum(axis=0).clip(0, 10).astype(np.uint8)
        ids[:4] = 11  # void is not looked at
        predicted = scores.argmax(axis=0).astype(np.uint8)
        fit(FrameResult(index, np.zeros((*HW, 3), np.uint8), ids, predicted, scores))
        before.update(scores, predicted, ids)
        after.update(scores, predicted, ids)
    assert fit.temperature() == pytest.approx(true_temperature, rel=0.03)
    assert after.expected_calibration_error < 0.01
    if true_temperature != 1:
        assert before.expected_calibration_error > 0.1


def test_labels_alone_give_no_temperature() -> None:
    fit, ids = TemperatureFit(), np.zeros(HW, np.uint8)
    fit(FrameResult(0, np.zeros((*HW, 3), np.uint8), ids, ids, None))
    assert fit.temperature() == 1


def test_bad_input() -> None:
    with pytest.raises(UsageError, match="no severity 0"):
        Corruptions(severities=(0,))
    with pytest.raises(UsageError, match="unknown corruption"):
        Corruptions(("rain",))
    with pytest.raises(DataError, match="no frames"):
        evaluate_corruptions(FakeBackend(HW), Frames(), Corruptions())
