"""Recipes: those that ship load, and what is wrong with one's own is said in a line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import pytest

from roadseg.core.errors import UsageError
from roadseg.training import recipes
from roadseg.training.recipes import load_recipe, recipe_names

pytestmark = pytest.mark.usefixtures("as_typed")

TEXT = (Path(recipes.__file__).parent / "recipes" / "lite.toml").read_text(encoding="utf-8")


RANGE = "two numbers, both more than 0, the smaller first, as in [0.5, 2.0]"


def refusal(folder: Path, text: str) -> str:
    path = folder / "odd.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_recipe(str(path))
    return str(caught.value)


def test_shipped_recipes_load() -> None:
    assert recipe_names() == (
        "cpu",
        "edge",
        "gpu",
        "gpu-lite",
        "gpu-nano",
        "lite",
        "paper",
        "paper-large",
        "refine",
        "refine-edge",
        "sharpen",
        "sharpen-edge",
    )
    for name in recipe_names():
        assert load_recipe(name).name == name


def test_what_keeps_a_run_from_diverging_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(TEXT)
    own = load_recipe(str(tmp_path / "own.toml"))
    assert (own.clip_norm, own.guard_rise, own.guard_returns) == (0.0, 1.5, 3)
    assert load_recipe("gpu").clip_norm == 5.0
    for line, complaint in (
        ("clip_norm = -1.0", "clip_norm = -1.0: give a finite number, 0 or more"),
        ("guard_rise = 1.0", "guard_rise = 1.0: give 0, or a number more than 1"),
        ("guard_rise = -2.0", "guard_rise = -2.0: give 0, or a number more than 1"),
        ("guard_returns = 1.5", "guard_returns = 1.5: give a whole number, 0 or more"),
        ("guard_returns = -1", "guard_returns = -1: give a whole number, 0 or more"),
    ):
        assert refusal(tmp_path, f"{line}\n{TEXT}") == f"recipe 'odd': {complaint}"
    (tmp_path / "own.toml").write_text(f"guard_rise = 0\nguard_returns = 0\n{TEXT}")
    assert load_recipe(str(tmp_path / "own.toml")).guard_rise == 0


def test_recipes_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as unknown:
        load_recipe("nope")
    assert str(unknown.value) == (
        "unknown recipe 'nope': use --recipe cpu|edge|gpu|gpu-lite|gpu-nano|lite|paper|paper-large|"
        "refine|refine-edge|sharpen|sharpen-edge or the path of a .toml file"
    )
    with pytest.raises(UsageError) as missing:
        load_recipe(str(tmp_path / "none.toml"))
    assert str(missing.value) == f"no recipe at {tmp_path / 'none.toml'}: check the path"


def test_what_most_networks_do_not_need_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text(TEXT.replace("auxiliary_weight = 0.4\n", ""))
    assert load_recipe(str(path)).auxiliary_weight == 0.0


def test_whole_numbers_may_stand_for_others(tmp_path: Path) -> None:
    path = tmp_path / "whole.toml"
    path.write_text(TEXT.replace("weight_decay = 1e-2", "weight_decay = 1"))
    assert load_recipe(str(path)).weight_decay == 1.0


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('epochs = "ten"', 'epochs = "ten": give a whole number, 1 or more'),
        ("epochs = 2.5", "epochs = 2.5: give a whole number, 1 or more"),
        ("epochs = true", "epochs = true: give a whole number, 1 or more"),
        ("epochs = 0", "epochs = 0: give a whole number, 1 or more"),
        ("validate_every = 0", "validate_every = 0: give a whole number, 1 or more"),
        ("crop_hw = 5", "crop_hw = 5: give two whole numbers, 32 or more, as in [256, 320]"),
        ("crop_hw = [64]", "crop_hw = [64]: give two whole numbers, 32 or more, as in [256, 320]"),
        (
            "crop_hw = [64.5, 64]",
            "crop_hw = [64.5, 64]: give two whole numbers, 32 or more, as in [256, 320]",
        ),
        (
            "crop_hw = [16, 64]",
            "crop_hw = [16, 64]: give two whole numbers, 32 or more, as in [256, 320]",
        ),
        (
            "scale = [1]",
            f"scale = [1]: give {RANGE}",
        ),
        (
            'scale = ["a", 1]',
            f'scale = ["a", 1]: give {RANGE}',
        ),
        (
            "scale = [2, 1]",
            f"scale = [2, 1]: give {RANGE}",
        ),
        ("flip = 3", "flip = 3: give true or false"),
        ("learning_rate = nan", "learning_rate = nan: give a finite number, more than 0"),
        ("learning_rate = inf", "learning_rate = inf: give a finite number, more than 0"),
        ("learning_rate = 0", "learning_rate = 0: give a finite number, more than 0"),
        ("weight_decay = -1.0", "weight_decay = -1.0: give a finite number, 0 or more"),
        ("ema_decay = 1.0", "ema_decay = 1.0: give a number, 0 or more and less than 1"),
        ("rare_share = 1.5", "rare_share = 1.5: give a number, 0 to 1"),
        ('optimizer = "lion"', 'optimizer = "lion": give adamw or sgd'),
        ("extra_share = 1", "extra_share = 1: give a number, 0 or more and less than 1"),
        (
            "extra_share = 0.95",
            "extra_share = 0.95 leaves no room in a batch of 8 for the frames of --data: lower it",
        ),
    ],
)
def test_values_that_cannot_be_used(tmp_path: Path, line: str, complaint: str) -> None:
    key = line.partition(" ")[0]
    text = re.sub(rf"^{key} = .*$", line, TEXT, flags=re.MULTILINE)
    assert text != TEXT
    assert refusal(tmp_path, text) == f"recipe 'odd': {complaint}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            TEXT.replace("optimizer", "#").replace("learning_rate", "#"),
            " lacks optimizer, learning_rate: docs/training.md says what each key does",
        ),
        (
            TEXT.replace("flip = true\n", ""),
            " lacks flip in [augmentation]: docs/training.md says what each key does",
        ),
        (
            TEXT.replace("poly_power", "polly_power"),
            " has an unknown key, polly_power: write poly_power",
        ),
        (
            TEXT.replace("flip", "xyz"),
            " has an unknown key in [augmentation], xyz: there are scale, aspect, rotate_deg, "
            "flip, rare_share, colour, blur_share, noise_share, shadow_share, glare_share, "
            "motion_share, rain_share, haze_share, dark_share, blur_sigma, noise_sigma",
        ),
        (
            TEXT.partition("[augmentation]")[0] + "augmentation = 3\n",
            ": augmentation = 3: make it a table of its own",
        ),
        ("epochs = = 3", " cannot be read (Invalid value (at line 1, column 10)): correct it"),
    ],
    ids=["missing", "missing-augmentation", "misspelt", "unknown", "no-table", "no-toml"],
)
def test_recipes_that_cannot_be_used(tmp_path: Path, text: str, complaint: str) -> None:
    assert refusal(tmp_path, text) == f"recipe 'odd'{complaint}"


def test_every_key_has_its_limits() -> None:
    """And says them in words, on which the messages depend."""
    for kind in (recipes.Recipe, recipes.Augmentation):
        for name, annotation in get_type_hints(kind, include_extras=True).items():
            if get_origin(annotation) is Annotated:
                assert get_args(annotation)[1].description, name
            else:
                assert get_origin(annotation) is Literal or annotation in (
                    bool,
                    str,
                    recipes.Augmentation,
                ), name
