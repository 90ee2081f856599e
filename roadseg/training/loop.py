"""A training run from its data to its best weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from roadseg.core.errors import DataError, SinkError, UsageError, os_reason
from roadseg.core.weights_file import best_weights
from roadseg.core.wording import option
from roadseg.datasets.labelled import LabelledSet
from roadseg.models import build_model, load_weights
from roadseg.models.large import DeconvNet, DeepLabLargeFOV, FCN8s
from roadseg.models.segnet import SegNet
from roadseg.models.vgg import load_vgg16
from roadseg.training.augment import CropTargets
from roadseg.training.balance import (
    ClassFrequencies,
    check_weighting,
    class_frequencies,
    class_weights,
    rare_ids,
)
from roadseg.training.checkpoint import AveragedWeights
from roadseg.training.curves import draw_curves
from roadseg.training.determinism import kernel_choice
from roadseg.training.distributed import World, world
from roadseg.training.feed import Share, build_feed
from roadseg.training.limits import check_batch, failures_explained
from roadseg.training.log import forget_after
from roadseg.training.recipes import Recipe
from roadseg.training.record import check_resumption, git_revision, run_record, write_config
from roadseg.training.trainer import LAST, EpochEnd, Progress, Trainer

__all__ = ["EpochEnd", "Progress", "TrainingResult", "build_network", "train"]


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run reached: its best validated weights and where they are."""

    weights: Path
    epochs: int
    best_epoch: int
    best_miou: float
    elapsed_s: float


def train(
    model_name: str,
    data: LabelledSet,
    validation: LabelledSet,
    recipe: Recipe,
    folder: Path,
    *,
    extra: LabelledSet | None = None,
    init: Path | None = None,
    encoder_weights: Path | None = None,
    teacher: Path | None = None,
    resume: bool = False,
    time_budget_s: float | None = None,
    seed: int = 0,
    compile_step: bool = False,
    deterministic: bool = False,
    on_step: Callable[[Progress], None] | None = None,
    on_epoch: Callable[[EpochEnd], None] | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> TrainingResult:
    """Train a network and keep the weights that validate best.

    `folder` receives `last.ckpt` (everything needed to go on), `best.ckpt` (what a run that has
    diverged goes back to), `best.safetensors` (averaged weights of the best validation, FP16),
    `config.json`, `log.jsonl`, TensorBoard events and `curves.png`. An interruption loses the epoch
    under way; a kill or a crash also loses those before whose checkpoint is not written yet. Under
    torchrun every process calls this; the recipe's batch is shared among them and the first one
    writes.

    Args:
        model_name: a name of `roadseg.models`.
        data: training frames, all kept in memory, on a GPU in its if they are of one size. Their
            classes are what the network learns.
        validation: frames that choose the snapshot; never trained on.
        recipe: every number of the run.
        folder: where the run lives; created.
        extra: further training frames, mixed in at the recipe's `extra_share`.
        init: a file whose weights the run starts from, instead of random ones. Of other
            classes, all are kept but those of the layers that give a score for each class.
        encoder_weights: VGG16's ImageNet weights, for SegNet's encoder.
        teacher: a file of a network whose scores are learnt from, too.
        resume: go on from `folder/last.ckpt`.
        time_budget_s: ends the schedule after that much training time, over all resumptions,
            instead of after `recipe.epochs`; the learning rate is planned to match.
        seed: of initialisation, order and augmentation.
        compile_step: fuse forward and loss with torch.compile; needs a C++ compiler.
        deterministic: prefer a GPU's kernels that give the same bits every time.
        on_step: called after every step.
        on_epoch: called after every epoch, by the process that leads.
        report: told, in one line, what was kept of `init`.

    Raises:
        UsageError: the folder holds a run and `resume` is false; the run was started otherwise, or
            from other weights;
            `init` is of another network; `encoder_weights` for a network without VGG16's encoder;
            class weights of other classes; a batch that the network cannot be trained on.
        ModelError: the checkpoint does not fit, `teacher` knows other classes, or the run has
            diverged and there is no going back.
        DataError: a frame or label is unusable, or the data sets differ in their classes.
        BackendError: the device has too little memory.
        SinkError: the folder cannot be written.
    """
    for other in (validation, *([extra] if extra is not None else [])):
        if not other.classes.same_classes(data.classes):
            raise DataError(
                f"{other.root} has {other.classes}, and {data.root} has {data.classes}",
                fix="train on data of the same classes",
            )
    check_weighting(recipe.class_weighting, data.classes)
    record = run_record(
        model_name,
        recipe,
        seed,
        time_budget_s,
        len(data),
        len(extra) if extra else 0,
        {"init": init, "encoder": encoder_weights, "teacher": teacher},
        data.classes,
    )
    if resume:
        record = check_resumption(folder, record)
    elif (folder / LAST).exists():
        raise UsageError(
            f"{folder} holds a run",
            fix=f"go on with {option('--resume', True)} or choose another "
            f"{option('--output', parameter='folder')}",
        )
    with (
        world() as place,
        failures_explained(place.device),
        kernel_choice(deterministic=deterministic),
    ):
        check_batch(model_name, data.classes.num_classes, recipe, place.size)
        _make(folder)
        torch.manual_seed(seed)
        trainer = _trainer(
            model_name, data, validation, extra, recipe, folder, seed,
            record["time_budget_s"], place, teacher,
        )  # fmt: skip
        if resume:
            trainer.restore()
        elif init is not None:
            told = trainer.start_from(init)
            if place.leads:
                report(told)
        elif encoder_weights is not None:
            _load_encoder(trainer, encoder_weights)
        trainer.connect(compiled=compile_step)
        if place.leads:
            facts = {
                "compile": compile_step,
                "deterministic": deterministic,
                "device": _device_name(place.device),
                "processes": place.size,
                "torch": torch.__version__,
                "git_revision": git_revision(),
            }
            write_config(folder, record, facts)
            forget_after(folder, trainer.epoch)
        with _pictured(trainer), trainer.checkpoints:
            while not trainer.finished:
                trainer.run_epoch(on_step, on_epoch)
    return TrainingResult(
        best_weights(folder),
        trainer.epoch,
        trainer.best_epoch,
        trainer.best_miou,
        trainer.elapsed_s,
    )


@contextmanager
def _pictured(trainer: Trainer) -> Iterator[None]:
    """Draws the curves and ends the events of a run, whatever ends it."""
    if trainer.board is None:
        yield
        return
    try:
        yield
    except BaseException:
        with suppress(SinkError):  # what ended the run is the news
            draw_curves(trainer.folder, trainer.classes.names)
            trainer.board.close()
        raise
    draw_curves(trainer.folder, trainer.classes.names)
    trainer.board.close()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SinkError(
            f"cannot create {folder} ({os_reason(exc)})",
            fix=f"choose another {option('--output', parameter='folder')}",
        ) from exc


def _trainer(
    model_name: str,
    data: LabelledSet,
    validation: LabelledSet,
    extra: LabelledSet | None,
    recipe: Recipe,
    folder: Path,
    seed: int,
    time_budget_s: float | None,
    place: World,
    teacher: Path | None,
) -> Trainer:
    classes = data.classes
    model = build_network(model_name, classes.num_classes, recipe)
    expert = None if teacher is None else load_weights(teacher, classes)[0]
    frequencies = class_frequencies(data)
    frames, held_out = list(data), list(validation)
    counted = ClassFrequencies.of((labels for _, labels in held_out), classes.num_classes)
    for part, found in ((data, frequencies), (validation, counted)):
        if not found.pixels.any():
            raise DataError(
                f"every pixel of the {part.split} labels of {part.root} is void",
                fix=f"look at one of them, {part.pairs[0][1]}",
            )
    targets = CropTargets(classes.void_id, rare_ids(frequencies, classes))
    share = Share(place.rank, place.size)
    feed = build_feed(frames, list(extra or ()), recipe, place.device, share, targets)
    return Trainer(
        model_name,
        model,
        feed,
        frames,
        held_out,
        class_weights(frequencies, recipe.class_weighting, classes),
        recipe,
        folder,
        seed,
        time_budget_s,
        place,
        expert,
        classes,
    )


def build_network(model_name: str, num_classes: int, recipe: Recipe) -> nn.Module:
    """A network as a recipe trains it; see `roadseg.models.build_model`."""
    if model_name == "segnet":
        return SegNet(num_classes, recipe.dropout)
    return build_model(model_name, num_classes)


def _load_encoder(trainer: Trainer, weights: Path) -> None:
    if not isinstance(trainer.model, (SegNet, FCN8s, DeepLabLargeFOV, DeconvNet)):
        raise UsageError(
            f"{option('--encoder-weights')} is for networks with VGG16's encoder, which "
            f"{trainer.model_name} has not",
            fix=f"use {option('--model', 'segnet', parameter='model_name')}",
        )
    load_vgg16(trainer.model.encoder, weights)
    trainer.average = AveragedWeights(trainer.model, trainer.recipe.ema_decay)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
