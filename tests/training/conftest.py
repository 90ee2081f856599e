"""Short runs of segnet-lite on the eight frames of `tiny_camvid`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadseg.datasets.camvid import CamVid
from roadseg.training import loop, trainer
from roadseg.training.progress import EpochEnd, TrainingProgress
from roadseg.training.recipes import Recipe, load_recipe
from roadseg.training.spec import RunSpec

LITE = load_recipe("lite")


@pytest.fixture(scope="session")
def recipe() -> Callable[..., Recipe]:
    """A recipe of two steps an epoch; keywords change its fields."""

    def changed(**changes: Any) -> Recipe:
        # Brightness is all that tells the classes of `tiny_camvid` apart: leave it alone.
        augmentation = dataclasses.replace(LITE.augmentation, colour=0.0, scale=(0.8, 1.2))
        base = dataclasses.replace(
            LITE,
            crop_hw=(64, 64),
            batch_size=3,
            warmup_epochs=0,
            validate_every=1,
            ema_decay=0.5,
            augmentation=augmentation,
        )
        return dataclasses.replace(base, **changes)

    return changed


class Clock:
    """A clock that stands still but for what the test says; steps take a second each."""

    now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the trainer takes for the time."""
    made = Clock()
    step = trainer.Trainer._step

    def a_second(self: trainer.Trainer, *arguments: Any) -> Any:
        made.now += 1.0
        return step(self, *arguments)

    monkeypatch.setattr(trainer.time, "monotonic", lambda: made.now)
    monkeypatch.setattr(trainer.Trainer, "_step", a_second)
    return made


@pytest.fixture
def run(tiny_camvid: Path, unpainted: None) -> Callable[..., loop.TrainingResult]:
    """Trains segnet-lite, or another network, into a folder.

    `on_step` and `on_epoch` get the two kinds of states; other keywords are those of `RunSpec`.
    """

    def trained(
        folder: Path,
        settings: Recipe,
        model: str = "segnet-lite",
        on_step: Callable[[TrainingProgress], object] | None = None,
        on_epoch: Callable[[EpochEnd], object] | None = None,
        **options: Any,
    ) -> loop.TrainingResult:
        def show(state: TrainingProgress) -> None:
            if isinstance(state, EpochEnd):
                if on_epoch is not None:
                    on_epoch(state)
            elif on_step is not None:
                on_step(state)

        spec = RunSpec(
            model=model,
            data=CamVid(tiny_camvid, "train"),
            validation=CamVid(tiny_camvid, "val"),
            recipe=settings,
            output=folder,
            **options,
        )
        return loop.train(spec, progress=show)

    return trained
