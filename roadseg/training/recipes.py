"""Recipes: every number of a training run, in a small TOML file."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from roadseg.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["WEIGHTINGS", "Augmentation", "Recipe", "load_recipe", "recipe_names"]

WEIGHTINGS = ("none", "median", "median-present", "sqrt-median", "log", "caffe")
"""Ways to weigh classes; see `roadseg.training.balance.class_weights`."""

_CHOICES = {
    "optimizer": ("adamw", "sgd"),
    "schedule": ("poly", "cosine"),
    "class_weighting": WEIGHTINGS,
}


@dataclass(frozen=True)
class Augmentation:
    """How a training crop is drawn from a frame.

    Attributes:
        scale: smallest and largest zoom, drawn log-uniformly.
        aspect: the zoom of the two axes differs by up to this share.
        rotate_deg: largest rotation either way, in degrees.
        flip: mirror half of the crops.
        rare_share: share of crops centred on a pixel of a rare class instead of anywhere.
        colour: strength of brightness, contrast, gamma, saturation and white-balance changes.
        blur_share: share of crops that are blurred.
        noise_share: share of crops with sensor noise.
        shadow_share: share of crops with a side in shadow.
        glare_share: share of crops with a low sun in the windscreen.
    """

    scale: tuple[float, float]
    aspect: float
    rotate_deg: float
    flip: bool
    rare_share: float
    colour: float
    blur_share: float
    noise_share: float
    shadow_share: float = 0.0
    glare_share: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """One way to train; see `recipes/*.toml` for values and their reasons.

    Attributes:
        name: the file's name without `.toml`.
        description: one line for people.
        epochs: passes over the training frames; with a time budget, as many as fit.
        batch_size: crops per step.
        crop_hw: height and width of a crop in pixels.
        optimizer: `adamw` or `sgd`.
        learning_rate: the peak.
        momentum: of SGD.
        weight_decay: on convolution weights only.
        warmup_epochs: linear rise of the learning rate from zero.
        poly_power: the rate falls as (1 - progress) ** poly_power; 0 keeps it constant.
        schedule: `poly`, or `cosine`, which `poly_power` has no say in.
        ema_decay: of the weights that are validated and kept; 0 keeps the raw ones.
        swa_share: the last part of the run, over which weights are averaged evenly and the
            learning rate rests (stochastic weight averaging); 0 for none.
        class_weighting: one of `WEIGHTINGS`.
        label_smoothing: share of the target that is spread over all classes.
        hard_share: share of pixels, the hardest, that count in the cross-entropy; 1 for all.
        jaccard_weight: of the soft Jaccard loss beside cross-entropy.
        auxiliary_weight: of the auxiliary head's loss, where the network has one.
        teacher_weight: of the distillation loss, where there is a teacher.
        temperature: of the distillation loss.
        statistics_batches: recompute batch-norm statistics over so many batches of whole frames
            before validating, as the paper does; 0 keeps the running ones.
        extra_share: share of each batch drawn from the extra data, where there is any.
        validate_every: epochs between validations.
        augmentation: how crops are drawn.
    """

    name: str
    description: str
    epochs: int
    batch_size: int
    crop_hw: tuple[int, int]
    optimizer: str
    learning_rate: float
    weight_decay: float
    warmup_epochs: float
    poly_power: float
    ema_decay: float
    class_weighting: str
    jaccard_weight: float
    auxiliary_weight: float
    extra_share: float
    validate_every: int
    augmentation: Augmentation
    momentum: float = 0.9
    schedule: str = "poly"
    swa_share: float = 0.0
    label_smoothing: float = 0.0
    hard_share: float = 1.0
    teacher_weight: float = 1.0
    temperature: float = 2.0
    statistics_batches: int = 0


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that ship with the package."""
    folder = resources.files("roadseg.training") / "recipes"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))


def load_recipe(name_or_path: str) -> Recipe:
    """A shipped recipe by name, or any `.toml` file.

    Raises:
        UsageError: there is no such recipe, or it has an unknown, missing or unusable value.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise UsageError(f"no recipe at {path}")
        text, name = path.read_text(encoding="utf-8"), path.stem
    else:
        if name_or_path not in recipe_names():
            raise UsageError(
                f"unknown recipe {name_or_path!r}: use --recipe {'|'.join(recipe_names())} "
                "or the path of a .toml file"
            )
        file = resources.files("roadseg.training") / "recipes" / f"{name_or_path}.toml"
        text, name = file.read_text(encoding="utf-8"), name_or_path
    try:
        values: dict[str, Any] = tomllib.loads(text)
        augmentation = values.pop("augmentation")
        augmentation["scale"] = tuple(augmentation["scale"])
        values["crop_hw"] = tuple(values["crop_hw"])
        recipe = Recipe(name=name, augmentation=Augmentation(**augmentation), **values)
    except (tomllib.TOMLDecodeError, TypeError, KeyError) as exc:
        fields = ", ".join(f.name for f in dataclasses.fields(Recipe) if f.name != "name")
        raise UsageError(f"recipe {name!r} cannot be used ({exc}): its keys are {fields}") from exc
    for key, allowed in _CHOICES.items():
        if getattr(recipe, key) not in allowed:
            raise UsageError(
                f"recipe {name!r}: {key} is {getattr(recipe, key)!r}, use {' or '.join(allowed)}"
            )
    own = recipe.batch_size - round(recipe.batch_size * recipe.extra_share)
    for key, good in (
        ("epochs", recipe.epochs >= 1),
        ("batch_size", recipe.batch_size >= 1),
        ("extra_share", recipe.extra_share >= 0 and own >= 1),
        ("validate_every", recipe.validate_every >= 1),
        ("crop_hw", len(recipe.crop_hw) == 2 and min(recipe.crop_hw) >= 32),
        ("scale", 0 < augmentation["scale"][0] <= augmentation["scale"][1]),
        ("learning_rate", recipe.learning_rate > 0),
        ("swa_share", 0 <= recipe.swa_share < 1),
        ("label_smoothing", 0 <= recipe.label_smoothing < 1),
        ("hard_share", 0 < recipe.hard_share <= 1),
        ("temperature", recipe.temperature > 0),
    ):
        if not good:
            value = getattr(recipe, key, augmentation.get(key))
            raise UsageError(f"recipe {name!r}: {key} = {value} cannot be used")
    return recipe
