"""A training run from its data to its best weights."""

from __future__ import annotations

import dataclasses
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.backends import cudnn

from roadseg.core.errors import SinkError, UsageError, os_reason
from roadseg.core.weights_file import best_weights
from roadseg.core.wording import option
from roadseg.training.curves import draw_curves
from roadseg.training.distributed import world
from roadseg.training.feed import read_data
from roadseg.training.folder import LAST, write_config
from roadseg.training.limits import check_batch, failures_explained
from roadseg.training.log import forget_after
from roadseg.training.progress import ShowTraining
from roadseg.training.record import check_resumption, git_revision, run_record
from roadseg.training.spec import RunSpec
from roadseg.training.start import starting_network
from roadseg.training.trainer import Trainer

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run reached: its best validated weights and where they are."""

    weights: Path
    epochs: int
    best_epoch: int
    best_miou: float
    elapsed_s: float


def train(spec: RunSpec, *, progress: ShowTraining | None = None) -> TrainingResult:
    """Train a network and keep the weights that validate best.

    `spec.output` receives `last.ckpt` (everything needed to go on), `best.ckpt` (what a run that
    has diverged goes back to), `best.safetensors` (averaged weights of the best validation, FP16),
    `config.json`, `log.jsonl`, TensorBoard events and `curves.png`. An interruption loses the epoch
    under way; a kill or a crash also loses those before whose checkpoint is not written yet. Under
    torchrun every process calls this; the recipe's batch is shared among them and the first one
    writes.

    Args:
        spec: all of the run.
        progress: gets a `TrainingProgress` after every step, and after every epoch an `EpochEnd`,
            from the process that leads.

    Raises:
        UsageError: the folder holds a run and `resume` is false; the run was started otherwise, or
            from other weights; `init` is of another network; `encoder_weights` for a network
            without such an encoder; a batch that the network cannot be trained on.
        ModelError: the checkpoint does not fit, `teacher` knows other classes, or the run has
            diverged and there is no going back.
        DataError: a frame or label is unusable.
        BackendError: the device has too little memory.
        SinkError: the folder cannot be written.
    """
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    record = run_record(spec)
    if spec.resume:
        record = check_resumption(spec.output, record)
        spec = dataclasses.replace(spec, time_budget_s=record["time_budget_s"])
    elif (spec.output / LAST).exists():
        raise UsageError(
            f"{spec.output} holds a run",
            fix=f"go on with {option('--resume', True)} or choose another {option('--output')}",
        )
    with (
        world() as place,
        failures_explained(place.device),
        kernel_choice(deterministic=spec.deterministic),
    ):
        check_batch(spec.model, spec.classes.num_classes, spec.recipe, place.size)
        _make(spec.output)
        torch.manual_seed(spec.seed)
        network = starting_network(spec, leads=place.leads)
        trainer = Trainer(spec, network, read_data(spec, place), place, progress)
        if spec.resume:
            trainer.restore()
        trainer.learner.connect(place, compiled=spec.compiled)
        if place.leads:
            facts = {
                "compile": spec.compiled,
                "deterministic": spec.deterministic,
                "device": _device_name(place.device),
                "processes": place.size,
                "torch": torch.__version__,
                "git_revision": git_revision(),
            }
            write_config(spec.output, record, facts)
            forget_after(spec.output, trainer.epoch)
        with _pictured(trainer), trainer.checkpoints:
            if spec.resume and trainer.course.finished:
                trainer.judge_where_it_ends()
            while not trainer.course.finished:
                trainer.run_epoch()
            if place.leads and spec.recipe.class_bias:
                _balance(trainer)
    return TrainingResult(
        best_weights(spec.output),
        trainer.epoch,
        trainer.best.epoch,
        trainer.best.miou,
        trainer.course.elapsed_s,
    )


def _balance(trainer: Trainer) -> None:
    before = trainer.best.miou
    found = trainer.best.balance()
    if found is not None:
        verdict = "kept" if trainer.best.miou == found else "left out"
        _log.info(f"class biases: validation mIoU {before:.4f} to {found:.4f}, {verdict}")


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
            fix=f"choose another {option('--output')}",
        ) from exc


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@contextmanager
def kernel_choice(*, deterministic: bool) -> Iterator[None]:
    """The fastest kernels within the block, or those that give the same bits every time.

    On a CPU they are the same. Where PyTorch has no deterministic kernel for a GPU it warns, and
    goes on.
    """
    choices = cudnn.benchmark, cudnn.deterministic
    enforced = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn.benchmark, cudnn.deterministic = not deterministic, deterministic
    if deterministic:
        # cuBLAS looks at it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            # Its order matters where windows overlap; those of 2x2 pools with stride 2 do not.
            warnings.filterwarnings("ignore", "max_unpooling2d")
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = choices
        torch.use_deterministic_algorithms(enforced, warn_only=warn_only)
