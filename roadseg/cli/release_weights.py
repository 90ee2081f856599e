"""`roadseg release-weights`: what a training run reached becomes what ships (`make weights`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["release_weights"]


def release_weights(
    run: Annotated[Path, typer.Option(help="Folder of 'roadseg train'.")],
    data: Annotated[Path, typer.Option(help="Folder in the CamVid layout (train and val).")],
    calibration: Annotated[
        Path, typer.Option(metavar="FILE", help="List of frames to measure INT8 ranges on.")
    ] = Path("calibration/frames.txt"),
    samples: Annotated[
        Path, typer.Option(help="Folder with drive.mp4 and its labels; scored as well.")
    ] = Path("samples"),
    note: Annotated[str, typer.Option(help="Kept in the manifest.")] = "",
    int8: Annotated[
        bool, typer.Option(help="Ship the network for the CPU in INT8, too, or FP16 weights alone.")
    ] = True,
    max_drop: Annotated[
        float, typer.Option(help="Points of validation mIoU that INT8 may cost.")
    ] = 0.5,
) -> None:
    """Quantise and measure a run's best weights, and write them with their manifest.

    The documentation's figures, its picture, the curves and TensorRT's INT8 scales follow.
    """
    from roadseg.errors import BackendError
    from roadseg.evaluation.clip import LabelledClip
    from roadseg.export.gate import check_drop

    check_drop(max_drop)
    try:
        from roadseg.export.release import release
    except ImportError as exc:
        raise BackendError(
            f"releasing weights needs PyTorch and NNCF ({exc}): pip install torch onnx nncf"
        ) from exc
    sample = LabelledClip(samples / "drive.mp4", samples / "drive_labels.npz")
    result = release(
        run,
        data,
        calibration,
        sample=sample,
        note=note,
        int8=int8,
        max_drop_points=max_drop,
        report=typer.echo,
    )
    for (precision, key), scores in result.scores.items():
        typer.echo(
            f"{result.name} {precision} on {key}: mIoU {scores.miou:.4f}, "
            f"G {scores.global_accuracy:.4f}, C {scores.class_accuracy:.4f}, "
            f"BF {scores.bf_ground_truth:.4f}"
        )
    _refresh(result.name, run, samples)
    if int8:
        _calibrate(result.name, data, max_drop)


def _calibrate(model: str, data: Path, max_drop: float) -> None:
    from roadseg.data import open_dataset
    from roadseg.export.calibration import collect_frames
    from roadseg.export.int8 import calibrate_network
    from roadseg.export.network import load_network
    from roadseg.export.scales import calibration_path, write_calibration

    network = load_network(model)
    calibration = calibrate_network(
        network,
        collect_frames(data),
        open_dataset(data, "val"),
        max_drop_points=max_drop,
        report=typer.echo,
    )
    path = calibration_path(network.architecture, Path("calibration"))
    write_calibration(calibration, path)
    typer.echo(f"{path}: {len(calibration.scales)} scales")


def _refresh(model: str, run: Path, samples: Path) -> None:
    from roadseg.export.figures import refresh_documents, write_picture
    from roadseg.video.source import open_source
    from roadseg.weights import load_manifest

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
