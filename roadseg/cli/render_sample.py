"""`roadseg render-sample`: render a drive with exact labels, or scenes for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli.options import is_typed


def render_sample(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Argument(metavar="OUTPUT.mp4", help="The clip to write; an older one is replaced."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write every frame's class ids as an 8-bit PNG here."),
    ] = None,
    labels_npz: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write all class ids here, as one array 'labels'."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of the clip.")] = 10.0,
    fps: Annotated[float, typer.Option(help="Frames per second of the clip.")] = 15.0,
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Instead of a clip, write random scenes here, in the CamVid layout.",
        ),
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", help="How many random scenes.")] = 600,
    split: Annotated[str, typer.Option(help="Which list of the data set to write.")] = "train",
    size: Annotated[str, typer.Option(metavar="HxW", help="Size of the pictures.")] = "360x480",
    seed: Annotated[int, typer.Option(help="Another seed is another street.")] = 0,
) -> None:
    """Render a procedural drive with the exact label of every pixel.

    The same seed and size give the same labels, bit for bit.
    """
    from roadseg.cli.progress_bar import progress_bar
    from roadseg.core.errors import UsageError
    from roadseg.core.size import parse_size
    from roadseg.synth.export import write_clip, write_dataset

    size_hw = parse_size(size, "the pictures", (360, 480))
    if (output is None) == (dataset is None):
        raise UsageError(
            "nothing says what to write" if output is None else "a clip and --dataset are two runs",
            fix="give either a clip to write, like drive.mp4, or --dataset FOLDER",
        )
    others = ("count", "split") if dataset is None else ("seconds", "fps")
    for name in others:
        if is_typed(context, name):
            what = (
                "a --dataset, and this is a clip" if dataset is None else "a clip, not a --dataset"
            )
            raise UsageError(f"--{name} is for {what}", fix="leave it out")
    if dataset is not None:
        if labels is not None or labels_npz is not None:
            raise UsageError(
                "--labels is for a clip, and a --dataset always has its labels", fix="leave it out"
            )
        with progress_bar() as progress:
            write_dataset(dataset, count, size_hw, seed, split, progress)
        typer.echo(f"{dataset}: {count} scenes, listed in {dataset / f'{split}.txt'}")
        return
    assert output is not None
    from roadseg.synth.drive import Drive

    drive = Drive.lasting(seconds, seed, size_hw, fps)
    with progress_bar() as progress:
        write_clip(drive, output, labels, labels_npz, progress)
    typer.echo(f"{output}: {drive.frames} frames of {size_hw[0]}x{size_hw[1]}")
