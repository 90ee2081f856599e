"""Options that several commands have, with their help written once."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from roadseg.core.size import SizeHW, check_network_size, parse_size

SourceArgument = Annotated[
    # A list, so that a pattern which the shell has expanded gets an answer.
    list[str] | None,
    typer.Argument(
        metavar="SOURCE",
        show_default=False,
        help="A video file, the number of a webcam, an rtsp:// or http(s):// URL, an image, a "
        "folder of images, or a quoted pattern of images.",
    ),
]
SourceOption = Annotated[
    str | None, typer.Option(metavar="SOURCE", help="Another way to name the source.")
]
ModelOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="Name of a model, or an .xml, .onnx, .safetensors or .engine file.",
    ),
]
BackendOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What runs the network: auto, tensorrt, openvino, torch or fake. auto takes the GPU "
        "where there is one.",
    ),
]
WeightsOption = Annotated[str, typer.Option(help="Name of a model, or a file of weights.")]
LabelledOption = Annotated[
    Path, typer.Option(help="Labelled frames in a layout of docs/data.md: train and val.")
]
MaxDropOption = Annotated[float, typer.Option(help="Points of validation mIoU that INT8 may cost.")]
RuntimeThreadsOption = Annotated[
    int | None,
    typer.Option(min=1, help="How many CPU threads to use; by default the runtime decides."),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="HxW", help="Size of the network's input; by default it follows the frames."
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="How many CPU threads to use; by default the runtime decides."),
]

RtspTransportOption = Annotated[
    str,
    typer.Option(
        metavar="auto|tcp|udp",
        help="How RTSP sends its pictures; auto is TCP, or UDP where that is refused.",
    ),
]


def is_typed(context: typer.Context, parameter: str) -> bool:
    """Whether an option was typed, be it with its default; what the environment says was not."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def one_source(positional: list[str] | None, option: str | None, command: str) -> str:
    """The source, which may be given with or without `--source`.

    Raises:
        UsageError: there is none, or more than one.
    """
    from roadseg.core.errors import UsageError
    from roadseg.media.redaction import redact

    given = [*(positional or []), *([] if option is None else [option])]
    if len(given) == 1 and given[0]:
        return given[0]
    see = f"(see 'roadseg {command} --help')"
    if not any(given):
        raise UsageError(
            "no source is given", fix=f"for example 'roadseg {command} drive.mp4' {see}"
        )
    if option is None:
        raise UsageError(
            f"{len(given)} sources are given, {redact(given[0])} to {redact(given[-1])}, and one "
            "at a time is read",
            fix=f'put a pattern of images in quotes, as in "drive/*.png" {see}',
        )
    raise UsageError(
        f"two sources are given, {redact(given[0])} and --source {redact(option)}",
        fix=f"leave one out {see}",
    )


def several_sources(
    positional: list[str] | None, options: list[str] | None, command: str
) -> list[str]:
    """The sources, of which one may be given without `--source`; none where there is none.

    Raises:
        UsageError: several are given without `--source`.
    """
    if positional and len(positional) > 1:
        one_source(positional, None, command)
    return [*(positional or []), *(options or [])]


def parse_fps(text: str | None) -> Fraction | None:
    """Frames per second from `--fps`: `25`, `29.97` or `30000/1001`; None stays None.

    Raises:
        UsageError: it is no positive number, or more than 1000.
    """
    from roadseg.core.errors import UsageError

    if text is None:
        return None
    try:
        fps = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        fps = Fraction(0)
    if not 0 < fps <= 1000:
        raise UsageError(
            f"--fps {text} is not a number above 0 and at most 1000", fix="use for example --fps 25"
        )
    return fps.limit_denominator(1_000_000)


def parse_network_size(size: str | None) -> SizeHW | None:
    """Height and width from `--size`, where files are made for one input; None stays None.

    Raises:
        UsageError: it is not HxW, or no size that engines are built for.
    """
    if size is None:
        return None
    size_hw = parse_size(size)
    check_network_size(size_hw)
    return size_hw
