"""Recipes: every number of a training run, in a small TOML file."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from roadseg.core.errors import UsageError, reading
from roadseg.core.shipped import page
from roadseg.core.wording import option

Weighting = Literal["none", "median", "median-present", "sqrt-median", "log", "caffe"]

WEIGHTINGS = get_args(Weighting)
"""Ways to weigh classes; see `roadseg.training.balance.class_weights`."""

# What a key may be, as msgspec checks it and as messages say it. Not even the largest is infinite.
_MOST = sys.float_info.max
Count = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
CountFrom0 = Annotated[int, Meta(ge=0, description="a whole number, 0 or more")]
Positive = Annotated[float, Meta(gt=0, le=_MOST, description="a finite number, more than 0")]
From0 = Annotated[float, Meta(ge=0, le=_MOST, description="a finite number, 0 or more")]
Share = Annotated[float, Meta(ge=0, le=1, description="a number, 0 to 1")]
Below1 = Annotated[float, Meta(ge=0, lt=1, description="a number, 0 or more and less than 1")]
Angle = Annotated[float, Meta(ge=0, le=180, description="a number, 0 to 180")]
HardShare = Annotated[float, Meta(gt=0, le=1, description="a number, more than 0, 1 at most")]
Range = Annotated[
    tuple[Positive, Positive],
    Meta(description="two numbers, both more than 0, the smaller first, as in [0.5, 2.0]"),
]
# A crop that some network can halve five times.
Side = Annotated[int, Meta(ge=32)]
Crop = Annotated[
    tuple[Side, Side], Meta(description="two whole numbers, 32 or more, as in [256, 320]")
]
GuardRise = Annotated[float, Meta(ge=0, le=_MOST, description="0, or a number more than 1")]


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
        noise_share: share of crops with a sensor's grain.
        shadow_share: share of crops with a side in shadow.
        glare_share: share of crops with a low sun in the windscreen.
        motion_share: share of crops smeared along a line, as a camera that shakes or turns does.
        rain_share: share of crops with streaks of rain or flakes of snow.
        haze_share: share of crops seen through a grey veil: fog, a dirty windscreen, low contrast.
        dark_share: share of crops that are underexposed.
        blur_sigma: smallest and largest standard deviation of the blur, in pixels.
        noise_sigma: smallest and largest standard deviation of the noise, in levels of 255.
    """

    scale: Range
    aspect: Share
    rotate_deg: Angle
    flip: bool
    rare_share: Share
    colour: Share
    blur_share: Share
    noise_share: Share
    shadow_share: Share = 0.0
    glare_share: Share = 0.0
    motion_share: Share = 0.0
    rain_share: Share = 0.0
    haze_share: Share = 0.0
    dark_share: Share = 0.0
    blur_sigma: Range = (0.4, 1.4)
    noise_sigma: Range = (2.0, 10.0)


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
        encoder_rate: share of the learning rate that an encoder gets which ImageNet weights are
            made for: it knows already what the rest has to learn.
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
        teacher_scale: the teacher sees each batch enlarged so many times in height and width; its
            scores are shrunk again.
        temperature: of the distillation loss.
        statistics_batches: recompute batch-norm statistics over so many batches of whole frames
            before validating, as the paper does; 0 keeps the running ones.
        extra_share: share of each batch drawn from the extra data, where there is any.
        validate_every: epochs between validations.
        class_bias: when the run is over, give each class the bias under which the mean IoU on the
            training frames is highest; see `roadseg.metrics.class_bias`.
        augmentation: how crops are drawn.
    """

    name: str
    description: str
    epochs: Count
    batch_size: Count
    crop_hw: Crop
    optimizer: Literal["adamw", "sgd"]
    learning_rate: Positive
    weight_decay: From0
    warmup_epochs: From0
    poly_power: From0
    ema_decay: Below1
    class_weighting: Weighting
    jaccard_weight: From0
    extra_share: Below1
    validate_every: Count
    augmentation: Augmentation
    auxiliary_weight: From0 = 0.0
    encoder_rate: Positive = 1.0
    momentum: Below1 = 0.9
    clip_norm: From0 = 0.0
    guard_rise: GuardRise = 1.5
    guard_returns: CountFrom0 = 3
    schedule: Literal["poly", "cosine"] = "poly"
    swa_share: Below1 = 0.0
    label_smoothing: Below1 = 0.0
    hard_share: HardShare = 1.0
    dropout: Below1 = 0.0
    teacher_weight: From0 = 1.0
    teacher_scale: Positive = 1.0
    temperature: Positive = 2.0
    statistics_batches: CountFrom0 = 0
    class_bias: bool = False


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
        with reading(UsageError, file):
            is_there = file.is_file()
        if not is_there:
            raise UsageError(f"no recipe at {file}", fix="check the path")
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
        values = msgspec.toml.decode(file.read_bytes())
    except (OSError, ValueError) as exc:
        raise UsageError(f"recipe {name!r} cannot be read ({exc})", fix="correct it") from exc
    what = f"recipe {name!r}"
    table = values.pop("augmentation", {})
    if not isinstance(table, dict):
        raise UsageError(
            f"{what}: augmentation = {_shown(table)}", fix="make it a table of its own"
        )
    checked = _checked(Recipe, values, what, given=("name", "augmentation"))
    augmentation = Augmentation(**_checked(Augmentation, table, what))
    recipe = Recipe(name=name, augmentation=augmentation, **checked)
    if recipe.batch_size == round(recipe.batch_size * recipe.extra_share):
        raise UsageError(
            f"{what}: extra_share = {recipe.extra_share:g} leaves no room in a batch of "
            f"{recipe.batch_size} for the frames of {option('--data')}",
            fix="lower it",
        )
    return recipe


def _checked(
    kind: type, values: dict[str, Any], recipe: str, *, given: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The values of a table of TOML as `kind` takes them; `given` are keys that it has besides.

    Raises:
        UsageError: a key is unknown or missing, or a value has the wrong type or size.
    """
    table = " in [augmentation]" if kind is Augmentation else ""
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name not in given}
    for key in values:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, 1)
            fix = f"write {close[0]}" if close else f"there are {', '.join(fields)}"
            raise UsageError(f"{recipe} has an unknown key{table}, {key}", fix=fix)
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
    kinds = get_type_hints(kind, include_extras=True)
    return {key: _value(recipe, key, value, kinds[key]) for key, value in values.items()}


def _value(recipe: str, key: str, value: Any, kind: Any) -> Any:
    """One value as its field takes it."""
    try:
        taken = msgspec.convert(value, kind)
        if (kind is Range and taken[0] > taken[1]) or (kind is GuardRise and 0 < taken <= 1):
            raise msgspec.ValidationError
    except msgspec.ValidationError as exc:
        raise UsageError(f"{recipe}: {key} = {_shown(value)}", fix=f"give {_wanted(kind)}") from exc
    return taken


def _wanted(kind: Any) -> str:
    """What a key may be, in words."""
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if get_origin(kind) is Annotated:
        return str(get_args(kind)[1].description)
    return "true or false" if kind is bool else "a text"


def _shown(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, list):
        return f"[{', '.join(_shown(v) for v in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
