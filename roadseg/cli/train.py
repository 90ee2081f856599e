"""`roadseg train`: weights from labelled frames."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["train"]


def train(
    context: typer.Context,
    data: Annotated[
        Path, typer.Option(help="Labelled frames in a layout of docs/data.md: train and val.")
    ],
    model: Annotated[
        str,
        typer.Option(
            help="Name of a network: segnet, segnet-basic, segnet-lite, or one of docs/compare.md."
        ),
    ] = "segnet-lite",
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a .toml file.")] = "lite",
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run; by default runs/MODEL.")
    ] = None,
    extra: Annotated[
        Path | None,
        typer.Option(help="More training frames in the same layout, such as rendered scenes."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="How many passes over the data, instead of the recipe's number."),
    ] = None,
    time_budget: Annotated[
        float | None,
        typer.Option(
            help="How many minutes to train, validation not counted; the schedule fits them."
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Start from these weights, not random ones: a shipped model's name or a "
            "file. Those of other classes are adapted.",
        ),
    ] = None,
    encoder_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Start the encoder from these ImageNet weights of VGG16, in torchvision's layout.",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Learn from this network's scores, too: a shipped model's name or a file.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint.")] = False,
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**32 - 1, help="Random seed of weights, order and crops."),
    ] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="How many CPU threads to use.")] = None,
    compile: Annotated[bool, typer.Option(help="Fuse the step with torch.compile.")] = False,
    deterministic: Annotated[
        bool,
        typer.Option(help="Give the same bits every time on a GPU, too, at some cost."),
    ] = False,
) -> None:
    """Train a network and keep the weights that validate best.

    Ctrl-C ends a run, and --resume goes on with it.
    """
    import dataclasses

    from roadseg.cli.progress import say, training_progress
    from roadseg.core.errors import UsageError
    from roadseg.core.installing import require
    from roadseg.datasets.opening import open_dataset
    from roadseg.training.allocator import keep_freed_memory
    from roadseg.training.recipes import load_recipe
    from roadseg.training.record import epochs_of

    if time_budget is not None and not 0 < time_budget < math.inf:
        raise UsageError(f"--time-budget {time_budget:g}", fix="give the minutes to train, above 0")
    _refuse_both({"--epochs": epochs, "--time-budget": time_budget})
    _refuse_both({"--init": init, "--encoder-weights": encoder_weights})
    settings, folder = load_recipe(recipe), output or Path("runs") / model
    if epochs is None and resume:
        epochs = epochs_of(folder)
    if epochs is not None:
        settings = dataclasses.replace(settings, epochs=epochs)
    frames, validation = open_dataset(data, "train"), open_dataset(data, "val")
    extra_frames = open_dataset(extra, "train") if extra is not None else None
    keep_freed_memory()
    require("training", ("torch",), "train")
    import torch

    from roadseg.training.loop import train as run_training

    if threads is not None:
        torch.set_num_threads(threads)
    # Under torchrun one process speaks for all.
    leads = os.environ.get("RANK", "0") == "0"
    if leads:
        _say_what_is_missing()
    with _interruption_explained(context, folder, leads), training_progress(shown=leads) as display:
        result = run_training(
            model,
            frames,
            validation,
            settings,
            folder,
            extra=extra_frames,
            init=_weights_file(init),
            encoder_weights=encoder_weights,
            teacher=_weights_file(teacher),
            resume=resume,
            time_budget_s=None if time_budget is None else time_budget * 60,
            seed=seed,
            compile_step=compile,
            deterministic=deterministic,
            on_step=display,
            on_epoch=display.epoch_ended,
            report=say,
        )
    if not leads:
        return
    typer.echo(
        f"{result.weights}: validation mIoU {result.best_miou:.4f} at epoch "
        f"{result.best_epoch} of {result.epochs}, {result.elapsed_s / 60:.1f} minutes of training"
    )


def _weights_file(name_or_path: str | None) -> Path | None:
    """The weights that a shipped model's name, or a path, stands for."""
    from roadseg.weights import model_names, resolve_model

    if name_or_path is None:
        return None
    if name_or_path in model_names():
        return resolve_model(name_or_path, "torch").path
    return Path(name_or_path)


def _refuse_both(options: dict[str, Any]) -> None:
    from roadseg.core.errors import UsageError

    if all(value is not None for value in options.values()):
        raise UsageError(f"{' and '.join(options)} exclude each other", fix="give one of them")


def _say_what_is_missing() -> None:
    """A run goes on without what only shows it."""
    from roadseg.core.installing import install

    packages = {"tensorboard": "TensorBoard events", "matplotlib": "curves.png"}
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        typer.echo(
            f"without {' and '.join(packages[name] for name in missing)}: {install('train')}",
            err=True,
        )


# What a run remembers: its first weights are in the checkpoint, its length in config.json.
_NOT_TO_RESUME = ("init", "encoder_weights", "epochs", "time_budget", "resume")


@contextmanager
def _interruption_explained(context: typer.Context, folder: Path, leads: bool) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if leads and (folder / "last.ckpt").is_file():
            typer.echo(f"interrupted: go on with\n  {_command_to_resume(context)}", err=True)
        raise


def _command_to_resume(context: typer.Context) -> str:
    """The command line that this is, to be typed again with --resume."""
    words = _program(context)
    for parameter in context.command.params:
        name = parameter.name
        if name is None or name in _NOT_TO_RESUME:
            continue
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if isinstance(value, bool):
            words.append((parameter.opts if value else parameter.secondary_opts)[0])
        else:
            words += [parameter.opts[0], str(value)]
    return shlex.join([*words, "--resume"])


def _program(context: typer.Context) -> list[str]:
    """What comes before the options."""
    parent = context.find_root()
    debug = ["--debug"] if parent.params.get("debug") else []
    words = ["roadseg", *debug, "train"]
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if processes > 1:
        each = os.environ.get("LOCAL_WORLD_SIZE", str(processes))
        words = ["torchrun", "--nproc-per-node", each, "-m", *words]
    return words
