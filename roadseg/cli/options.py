"""Options that several commands have, with their help written once."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["BackendOption", "ModelOption", "SizeOption", "ThreadsOption"]

ModelOption = Annotated[str, typer.Option(help="Name of a model, or an .xml, .onnx or .pt file.")]
BackendOption = Annotated[str, typer.Option(help="auto, openvino, torch or fake.")]
SizeOption = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="Network input; by default it follows the frames."),
]
ThreadsOption = Annotated[
    int | None, typer.Option(help="CPU threads; by default the runtime decides.")
]
