"""Recipes: every number of a training run, in a small TOML file."""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_type_hints

from roadseg.core.errors import UsageError, os_reason
from roadseg.core.shipped import page
from roadseg.core.wording import option

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

# A crop that some network can halve five times.
_SMALLEST_CROP = 32

_Limit = tuple[str, Callable[[Any], bool]]
_FROM_1: _Limit = ("1 or more", lambda v: v >= 1)
_FROM_0: _Limit = ("0 or more", lambda v: v >= 0)
_ABOVE_0: _Limit = ("more than 0", lambda v: v > 0)
_SHARE: _Limit = ("0 to 1", lambda v: 0 <= v <= 1)
_BELOW_1: _Limit = ("0 or more, and less than 1", lambda v: 0 <= v < 1)

_LIMITS: dict[str, _Limit] = {
    **dict.fromkeys(("epochs", "batch_size", "validate_every"), _FROM_1),
    **dict.fromkeys(("learning_rate", "temperature"), _ABOVE_0),
    **dict.fromkeys(("weight_decay", "warmup_epochs", "poly_power", "statistics_batches"), _FROM_0),
    **dict.fromkeys(("clip_norm", "guard_returns"), _FROM_0),
    "guard_rise": ("0, or more than 1", lambda v: v == 0 or v > 1),
    **dict.fromkeys(("jaccard_weight", "auxiliary_weight", "teacher_weight"), _FROM_0),
    **dict.fromkeys(("momentum", "ema_decay", "swa_share", "label_smoothing"), _BELOW_1),
    "dropout": _BELOW_1,
    "extra_share": _BELOW_1,
    "hard_share": ("more than 0, 1 at most", lambda v: 0 < v <= 1),
    "crop_hw": (f"two sides of {_SMALLEST_CROP} or more", lambda v: min(v) >= _SMALLEST_CROP),
    "scale": ("the smaller before the larger, both more than 0", lambda v: 0 < v[0] <= v[1]),
    "rotate_deg": ("0 to 180", lambda v: 0 <= v <= 180),
    **dict.fromkeys(("aspect", "colour"), _SHARE),
    **dict.fromkeys(("rare_share", "blur_share", "noise_share"), _SHARE),
    **dict.fromkeys(("shadow_share", "glare_share", "motion_share"), _SHARE),
    **dict.fromkeys(("haze_share", "dark_share"), _SHARE),
    **dict.fromkeys(
        ("blur_sigma", "noise_sigma"),
        ("the smaller before the larger, both more than 0", lambda v: 0 < v[0] <= v[1]),
    ),
}
"""What a key may be: in words, and as a test."""


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
        motion_share: share of crops smeared along a line, as a camera that shakes or turns does.
        haze_share: share of crops seen through a grey veil: fog, a dirty windscreen, low contrast.
        dark_share: share of crops that are underexposed.
        blur_sigma: smallest and largest standard deviation of the blur, in pixels.
        noise_sigma: smallest and largest standard deviation of the noise, in levels of 255.
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
    motion_share: float = 0.0
    haze_share: float = 0.0
    dark_share: float = 0.0
    blur_sigma: tuple[float, float] = (0.4, 1.4)
    noise_sigma: tuple[float, float] = (2.0, 10.0)


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
        clip_norm: gradients of a larger Euclidean norm, over all weights together, are scaled down
            to this one; 0 leaves them as they are.
        guard_rise: the run goes back to its best checkpoint, and on at half the rate, once its
            smoothed loss is so many times its best; 0 lets it rise. See `training/guard.py`.
        guard_returns: how often it may go back, for that or for a loss that is no number.
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
        auxiliary_weight: of the auxiliary head's loss, which segnet-lite alone has; 0 for the
            other networks.
        dropout: probability behind SegNet's three deepest groups; other networks have their own.
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
    extra_share: float
    validate_every: int
    augmentation: Augmentation
    auxiliary_weight: float = 0.0
    momentum: float = 0.9
    clip_norm: float = 0.0
    guard_rise: float = 1.5
    guard_returns: int = 3
    schedule: str = "poly"
    swa_share: float = 0.0
    label_smoothing: float = 0.0
    hard_share: float = 1.0
    dropout: float = 0.0
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
        file: Any = Path(name_or_path)
        if not file.is_file():
            raise UsageError(f"no recipe at {file}")
        name = file.stem
    else:
        if name_or_path not in recipe_names():
            raise UsageError(
                f"unknown recipe {name_or_path!r}",
                fix=f"use {option('--recipe', *recipe_names())} or the path of a .toml file",
            )
        file = resources.files("roadseg.training") / "recipes" / f"{name_or_path}.toml"
        name = name_or_path
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise UsageError(f"recipe {name!r} cannot be read: {os_reason(exc)}") from exc
    table = values.pop("augmentation", {})
    checked = _checked(Recipe, values, f"recipe {name!r}", given=("name", "augmentation"))
    augmentation = Augmentation(**_checked(Augmentation, table, f"recipe {name!r}"))
    recipe = Recipe(name=name, augmentation=augmentation, **checked)
    if recipe.batch_size == round(recipe.batch_size * recipe.extra_share):
        raise UsageError(
            f"recipe {name!r}: extra_share = {recipe.extra_share:g} leaves no room in a batch "
            f"of {recipe.batch_size} for the frames of {option('--data')}",
            fix="lower it",
        )
    return recipe


def _checked(
    kind: type, values: Any, recipe: str, *, given: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The values of a table of TOML as `kind` takes them; `given` are keys that it has besides.

    Raises:
        UsageError: a key is unknown or missing, or a value has the wrong type or size.
    """
    table = " in [augmentation]" if kind is Augmentation else ""
    if not isinstance(values, dict):
        raise UsageError(
            f"{recipe}: augmentation = {_shown(values)}", fix="make it a table of its own"
        )
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name not in given}
    for key in values:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, 1)
            advice = f"write {close[0]}" if close else f"there are {', '.join(fields)}"
            raise UsageError(f"{recipe} has an unknown key{table}, {key}", fix=advice)
    missing = [
        key
        for key, field in fields.items()
        if key not in values and field.default is dataclasses.MISSING
    ]
    if missing:
        raise UsageError(
            f"{recipe} lacks {', '.join(missing)}{table}",
            fix=f"{page('training.md')} says what each key does",
        )
    hints = get_type_hints(kind)
    return {key: _value(recipe, key, value, hints[key]) for key, value in values.items()}


def _value(recipe: str, key: str, value: Any, kind: Any) -> Any:
    """One value as its field takes it."""
    parts: Iterable[Any] = get_args(kind)
    if parts:
        wanted = (
            "two whole numbers, as in [256, 320]"
            if int in parts
            else "two numbers, as in [0.5, 2.0]"
        )
        right = isinstance(value, list) and len(value) == 2
        right = right and all(_is(part, v) for part, v in zip(parts, value, strict=True))
        value = tuple(part(v) for part, v in zip(parts, value, strict=True)) if right else value
    else:
        wanted = {
            bool: "true or false",
            int: "a whole number",
            float: "a finite number",
            str: "a text",
        }[kind]
        right = _is(kind, value)
        value = kind(value) if right else value
    if right and key in _CHOICES:
        wanted, right = " or ".join(_CHOICES[key]), value in _CHOICES[key]
    if right and key in _LIMITS:
        wanted, allowed = _LIMITS[key]
        right = allowed(value)
    if not right:
        raise UsageError(f"{recipe}: {key} = {_shown(value)}", fix=f"give {wanted}")
    return value


def _is(kind: type, value: Any) -> bool:
    """Whether a value of TOML can stand for a number, text or switch; none stands for another."""
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind


def _shown(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_shown(v) for v in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
