"""Options that several commands have, with their help written once."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["BackendOption", "ModelOption", "SizeOption", "ThreadsOption", "tell"]

ModelOption = Annotated[
    str, typer.Option(help="Name of a model, or an .xml, .onnx, .pt or .engine file.")
]
BackendOption = Annotated[
    str,
    typer.Option(
        help="auto, tensorrt, openvino, torch or fake; auto takes the GPU where there is one."
    ),
]
SizeOption = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="Network input; by default it follows the frames."),
]
ThreadsOption = Annotated[
    int | None, typer.Option(help="CPU threads; by default the runtime decides.")
]


def tell(line: str) -> None:
    """What the user should know while a model is made ready: on stderr."""
    typer.echo(line, err=True)
