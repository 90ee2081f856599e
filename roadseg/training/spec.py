"""All that a training run is asked for, in one value."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from roadseg.core.errors import DataError, UsageError, reading
from roadseg.core.labels import ClassSet
from roadseg.core.wording import option
from roadseg.datasets.labelled import LabelledSet
from roadseg.datasets.opening import open_dataset
from roadseg.training.balance import check_weighting
from roadseg.training.folder import epochs_of
from roadseg.training.recipes import Recipe, load_recipe
from roadseg.weights import model_names, resolve_model


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One training run; `RunSpec.opening` makes it from names and paths.

    Attributes:
        model: a name of `roadseg.models`.
        data: training frames, all kept in memory, on a GPU in its if they are of one size. Their
            classes are what the network learns.
        validation: frames that choose the snapshot; never trained on.
        recipe: every number of the run.
        output: the folder that the run lives in; created.
        extra: further training frames, mixed in at the recipe's `extra_share`.
        init: a file whose weights the run starts from, instead of random ones. Of other
            classes, all are kept but those of the layers that give a score for each class.
        encoder_weights: ImageNet weights of VGG16 or EfficientNet-Lite2, for networks with that
            encoder.
        teacher: a file of a network whose scores are learnt from, too; for `cross_validate` also
            the folder of another cross-validation.
        seed: of initialisation, order and augmentation.
        time_budget_s: ends the schedule after that much training time, over all resumptions,
            instead of after `recipe.epochs`; the learning rate is planned to match.
        resume: go on from `output/last.ckpt`.
        compiled: fuse forward and loss with torch.compile; needs a C++ compiler.
        deterministic: prefer a GPU's kernels that give the same bits every time.
        threads: CPU threads of the process; None for PyTorch's choice.
        keep_last: the weights at the end are kept, whatever validation says of them.

    Raises:
        UsageError: two of them exclude each other, or one cannot be meant.
        DataError: the data sets differ in their classes.
    """

    model: str
    data: LabelledSet
    validation: LabelledSet
    recipe: Recipe
    output: Path
    extra: LabelledSet | None = None
    init: Path | None = None
    encoder_weights: Path | None = None
    teacher: Path | None = None
    seed: int = 0
    time_budget_s: float | None = None
    resume: bool = False
    compiled: bool = False
    deterministic: bool = False
    threads: int | None = None
    keep_last: bool = False

    def __post_init__(self) -> None:
        check_budget(self.time_budget_s)
        _refuse_both(option("--init"), option("--encoder-weights"), self.init, self.encoder_weights)
        for other in (self.validation, self.extra):
            if other is not None and not other.classes.same_classes(self.classes):
                raise DataError(
                    f"{other.root} has {other.classes}, and {self.data.root} has {self.classes}",
                    fix="train on data of the same classes",
                )
        check_weighting(self.recipe.class_weighting, self.classes)

    @property
    def classes(self) -> ClassSet:
        """What the network learns to tell apart."""
        return self.data.classes

    @classmethod
    def opening(
        cls,
        data: Path | str,
        *,
        model: str = "segnet-lite",
        recipe: Recipe | str = "lite",
        output: Path | str | None = None,
        extra: Path | str | None = None,
        init: Path | str | None = None,
        encoder_weights: Path | str | None = None,
        teacher: Path | str | None = None,
        seed: int = 0,
        epochs: int | None = None,
        time_budget_s: float | None = None,
        resume: bool = False,
        compiled: bool = False,
        deterministic: bool = False,
        threads: int | None = None,
    ) -> RunSpec:
        """A run on a folder of labelled frames, described as on the command line.

        Args:
            data: the folder, in a layout of docs/data.md; its `train` is trained on, its `val`
                chooses the snapshot.
            recipe: a shipped recipe's name, a `.toml` file, or a recipe.
            output: `runs/MODEL` by default.
            extra: a folder whose `train` is mixed in.
            init, teacher: a file of weights, or the name of a model that ships.
            epochs: instead of the recipe's; on resuming, the run's own by default.
            model, encoder_weights, seed, time_budget_s, resume, compiled, deterministic, threads:
                see `RunSpec`.

        Raises:
            UsageError: two of them exclude each other, or one cannot be meant.
            ModelError: there is no run to resume, or the manifest of what ships is damaged.
            DataError: a data set is missing or incomplete, or they differ in their classes.
        """
        check_budget(time_budget_s)
        _refuse_both(option("--epochs"), budget_option(), epochs, time_budget_s)
        _refuse_both(option("--init"), option("--encoder-weights"), init, encoder_weights)
        settings = load_recipe(recipe) if isinstance(recipe, str) else recipe
        folder = Path("runs") / model if output is None else Path(output)
        if epochs is None and resume:
            epochs = epochs_of(folder)
        if epochs is not None:
            settings = dataclasses.replace(settings, epochs=epochs)
        return cls(
            model=model,
            data=open_dataset(data, "train"),
            validation=open_dataset(data, "val"),
            recipe=settings,
            output=folder,
            extra=None if extra is None else open_dataset(extra, "train"),
            init=_weights_file(init, "--init"),
            encoder_weights=None if encoder_weights is None else Path(encoder_weights),
            teacher=_weights_file(teacher, "--teacher"),
            seed=seed,
            time_budget_s=time_budget_s,
            resume=resume,
            compiled=compiled,
            deterministic=deterministic,
            threads=threads,
        )


def budget_option(seconds: float | None = None) -> str:
    """How to give a time budget, for a message: in minutes on the command line."""
    typed, written = ["--time-budget"], ["time_budget_s"]
    if seconds is not None:
        typed.append(f"{seconds / 60:g}")
        written.append(f"{seconds:g}")
    return option(" ".join(typed), parameter="=".join(written))


def check_budget(seconds: float | None) -> None:
    """Refuse a training time that is not above 0. Raises `UsageError`."""
    if seconds is not None and not 0 < seconds < math.inf:
        raise UsageError(
            budget_option(seconds),
            fix=f"give the {option('minutes', parameter='seconds')} to train, above 0",
        )


def _refuse_both(first: str, second: str, *given: object) -> None:
    if None not in given:
        raise UsageError(f"{first} and {second} exclude each other", fix="give one of them")


def _weights_file(name_or_path: Path | str | None, asked: str) -> Path | None:
    """The weights that a shipped model's name, or a path, stands for; `asked` is the option."""
    if name_or_path is None:
        return None
    if name_or_path in model_names():
        return resolve_model(str(name_or_path), "torch").path
    path = Path(name_or_path)
    with reading(UsageError, path):
        is_there = path.exists()
    if not path.suffix and not is_there:
        raise UsageError(
            f"there are no weights called {str(name_or_path)!r}",
            fix=f"use {option(asked, *model_names())}, or a file of 'roadseg train'",
        )
    return path
