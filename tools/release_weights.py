"""`python -m tools.release_weights` (`make weights`): what a run reached becomes what ships.

With `--model` in place of `--run`, the INT8 files of a model that ships are made again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from roadseg.cli import main
from roadseg.cli.lines import lines_on_stdout
from roadseg.core.errors import UsageError
from roadseg.core.wording import option

program = typer.Typer(add_completion=False)

NAME = "python -m tools.release_weights"


@program.command()
def release_weights(
    data: Annotated[Path, typer.Option(help="Folder in the CamVid layout (train and val).")],
    run: Annotated[Path | None, typer.Option(help="Folder of 'roadseg train'.")] = None,
    model: Annotated[
        str, typer.Option(help="Instead: a model that ships, whose INT8 files are made again.")
    ] = "",
    frame_list: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default="every 4th of train.txt",
            help="A file that names the frames to measure INT8 ranges on.",
        ),
    ] = None,
    samples: Annotated[
        Path, typer.Option(help="Folder with drive.mp4 and its labels; scored as well.")
    ] = Path("samples"),
    note: Annotated[str, typer.Option(help="A remark to keep in the manifest.")] = "",
    int8: Annotated[
        bool, typer.Option(help="Ship the network for the CPU in INT8, too, or FP16 weights alone.")
    ] = True,
    max_drop: Annotated[
        float, typer.Option(help="Points of validation mIoU that INT8 may cost.")
    ] = 0.5,
    calibration: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Quantise and measure a run's best weights, and write them with their manifest.

    TensorRT's INT8 scales come with them; nothing is replaced unless both kinds of INT8 pass. The
    documentation's figures, its picture and the curves follow.
    """
    from roadseg.core.installing import require
    from roadseg.datasets.clip import LabelledClip
    from roadseg.weights.gate import check_drop

    check_drop(max_drop)
    require("releasing weights", ("torch", "onnx"), "export")
    from tools.ladder import HdScenes
    from tools.release import release, requantize

    if (run is None) != bool(model) or (model and not int8):
        raise UsageError(
            "what to release is not clear",
            fix=f"use either {option('--run', 'DIR')} or {option('--model', 'NAME')} with INT8",
        )
    sample = LabelledClip(samples / "drive.mp4", samples / "drive_labels.npz")
    with lines_on_stdout():
        given = data, frame_list or calibration  # the option's older name
        options: Any = {
            "sample": sample,
            "scenes": HdScenes() if int8 else None,
            "max_drop_points": max_drop,
        }
        if run is None:
            result = requantize(model, *given, **options)
        else:
            scales = Path("calibration")
            result = release(run, *given, note=note, int8=int8, scales_dir=scales, **options)
    for (precision, key), scores in result.scores.items():
        typer.echo(
            f"{result.name} {precision} on {key}: mIoU {scores.miou:.4f}, "
            f"G {scores.global_accuracy:.4f}, C {scores.class_accuracy:.4f}, "
            f"BF {scores.bf_ground_truth:.4f}"
        )
    _refresh(result.name, run, samples)


def _refresh(model: str, run: Path | None, samples: Path) -> None:
    from roadseg.media.sources.opening import open_source
    from roadseg.weights import load_manifest
    from tools.figures import refresh_documents, write_picture

    written = refresh_documents(load_manifest()[model], run, Path())
    if model == "segnet-lite":
        with open_source(str(samples / "drive.mp4"), max_frames=1) as source:
            frame = source.read()
        assert frame is not None
        picture = Path("docs/picture.jpg")
        write_picture(picture, frame.image_bgr, model)
        written.append(picture)
    for path in written:
        typer.echo(f"{path} follows")


if __name__ == "__main__":
    sys.exit(main(program=program, name=NAME))
