"""`roadseg train`: weights from labelled frames."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli.options import LabelledOption


def train(
    context: typer.Context,
    data: LabelledOption,
    model: Annotated[
        str,
        typer.Option(
            help="Name of a network: segnet, segnet-basic, segnet-lite, segnet-edge, segnet-nano, "
            "or one of docs/compare.md."
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
            help="Start the encoder from these ImageNet weights of VGG16, in torchvision's layout, "
            "or of EfficientNet-Lite2.",
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
    from roadseg.cli.lines import lines_on_stdout
    from roadseg.cli.progress import training_progress
    from roadseg.core.allocator import keep_freed_memory
    from roadseg.core.installing import require
    from roadseg.training.spec import RunSpec

    spec = RunSpec.opening(
        data,
        model=model,
        recipe=recipe,
        output=output,
        extra=extra,
        init=init,
        encoder_weights=encoder_weights,
        teacher=teacher,
        seed=seed,
        epochs=epochs,
        time_budget_s=None if time_budget is None else time_budget * 60,
        resume=resume,
        compiled=compile,
        deterministic=deterministic,
        threads=threads,
    )
    keep_freed_memory()
    require("training", ("torch",), "train")
    import roadseg

    # Under torchrun one process speaks for all.
    leads = os.environ.get("RANK", "0") == "0"
    if leads:
        _say_what_is_missing()
    with (
        _interruption_explained(context, spec.output, leads),
        training_progress(shown=leads) as display,
        lines_on_stdout(),
    ):
        result = roadseg.train(spec, progress=display)
    if not leads:
        return
    typer.echo(
        f"{result.weights}: validation mIoU {result.best_miou:.4f} at epoch "
        f"{result.best_epoch} of {result.epochs}, {result.elapsed_s / 60:.1f} minutes of training"
    )


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
