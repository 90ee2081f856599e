"""`python -m tools.temperature` (`make temperature`): the temperatures of the models that ship.

`make weights` fits that of new weights, too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from roadseg.backends.openvino.scores import OpenVinoScoringBackend
from roadseg.cli import main
from roadseg.core.errors import DataError
from roadseg.core.geometry import network_size
from roadseg.datasets.camvid import CamVid
from roadseg.evaluation.evaluate import LabelledFrames, evaluate_backend
from roadseg.evaluation.temperature import TemperatureFit
from roadseg.weights import load_manifest, resolve_model
from tools.manifest import write_temperature

program = typer.Typer(add_completion=False)


def fit_temperature(model: Path | Any, name: str, frames: LabelledFrames) -> float:
    """The temperature of a model for OpenVINO on labelled frames, to three digits.

    Args:
        model: see `OpenVinoBackend`.
        name: the model's name.
        frames: of the classes that the network knows.

    Raises:
        DataError: there are no frames.
    """
    first = next(iter(frames), None)
    if first is None:
        raise DataError("no frames to fit a temperature on", fix="add some")
    network_hw = network_size((first[0].shape[0], first[0].shape[1]))
    fit = TemperatureFit()
    backend = OpenVinoScoringBackend(model, network_hw, name=name, precision="int8")
    try:
        evaluate_backend(backend, frames, observers=[fit])
    finally:
        backend.close()
    return round(fit.temperature(), 3)


@program.command()
def temperature(
    data: Annotated[Path, typer.Option(help="Folder in the CamVid layout; val is looked at.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Which models; by default all that run on a CPU.")
    ] = None,
) -> None:
    """Fit the temperature of each shipped model on validation frames, and write the manifest's."""
    names = model or [name for name, entry in load_manifest().items() if "openvino" in entry.files]
    for name in names:
        found = fit_temperature(resolve_model(name, "openvino").path, name, CamVid(data, "val"))
        write_temperature(name, found)
        typer.echo(f"{name}: {found:g}")


if __name__ == "__main__":
    sys.exit(main(program=program, name="python -m tools.temperature"))
