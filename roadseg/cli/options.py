"""Options that several commands have, with their help written once."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

import typer

__all__ = [
    "BackendOption",
    "ModelOption",
    "RtspTransportOption",
    "SizeOption",
    "ThreadsOption",
    "parse_fps",
    "parse_network_size",
    "tell",
]

_SIDES = (32, 4096)

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

RtspTransportOption = Annotated[
    str,
    typer.Option(
        metavar="auto|tcp|udp", help="How RTSP sends; auto is TCP, or UDP where that is refused."
    ),
]


def parse_fps(text: str | None) -> Fraction | None:
    """Frames per second from `--fps`: `25`, `29.97` or `30000/1001`; None stays None.

    Raises:
        UsageError: it is no positive number, or more than 1000.
    """
    from roadseg.errors import UsageError

    if text is None:
        return None
    try:
        fps = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        fps = Fraction(0)
    if not 0 < fps <= 1000:
        raise UsageError(
            f"--fps {text} is not a number above 0 and at most 1000: use for example --fps 25"
        )
    return fps.limit_denominator(1_000_000)


def parse_network_size(size: str | None) -> tuple[int, int] | None:
    """Height and width from `--size`, where files are made for one input; None stays None.

    Raises:
        UsageError: it is not HxW, or no size that engines are built for.
    """
    from roadseg.errors import UsageError
    from roadseg.pipeline import parse_size

    if size is None:
        return None
    size_hw = parse_size(size)
    low, high = _SIDES
    if not all(low <= side <= high for side in size_hw):
        raise UsageError(
            f"network input {size_hw[0]}x{size_hw[1]}: its sides must be {low} to {high}: "
            "use for example --size 352x480"
        )
    return size_hw


def tell(line: str) -> None:
    """What the user should know while a model is made ready: on stderr."""
    typer.echo(line, err=True)
