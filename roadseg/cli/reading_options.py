"""Options of what is shown and what is read from frames, for one recording or for many."""

from __future__ import annotations

from typing import Annotated

import typer

ViewOption = Annotated[
    str,
    typer.Option(metavar="NAME", help="What is shown: overlay, mask, side-by-side or doubt."),
]
AlphaOption = Annotated[
    float, typer.Option(metavar="NUMBER", help="Opacity of the colours, from 0 to 1.")
]
LegendOption = Annotated[
    bool, typer.Option("--legend/--no-legend", help="Show which colour is which class.")
]
PaletteOption = Annotated[
    str, typer.Option(metavar="NAME", help="The colours: street, colorblind or camvid.")
]
CorridorOption = Annotated[
    str | None,
    typer.Option(
        metavar="CORNERS",
        help='Corners of the lane ahead, as fractions of the picture or in pixels: "0.2,1 '
        '0.45,0.5 0.55,0.5 0.8,1". By default it follows from the camera.',
    ),
]
CameraHeightOption = Annotated[
    float | None,
    typer.Option(
        metavar="METRES", show_default="1.3", help="How high the camera is above the road."
    ),
]
HorizonOption = Annotated[
    float | None,
    typer.Option(
        metavar="ROW",
        show_default="the middle",
        help="Row of the picture where the horizon lies.",
    ),
]
FovOption = Annotated[
    float | None,
    typer.Option(
        metavar="DEGREES", show_default="60", help="Horizontal field of view of the camera."
    ),
]
IgnoreMaskOption = Annotated[
    str | None,
    typer.Option(
        metavar="MASK",
        help="What is neither coloured nor counted, such as the bonnet: white in a .png (see "
        'find-bonnet), or polygons, in a .json or as "0,1 0.2,0.9 0.8,0.9 1,1; ...".',
    ),
]
SmoothOption = Annotated[
    bool,
    typer.Option("--smooth", help="Steady the labels over time, one frame late."),
]
BlurOption = Annotated[
    str | None,
    typer.Option(
        metavar="CLASS,...",
        help="Hide classes or groups in every output, such as people,car. What the network "
        "does not find is not hidden.",
    ),
]
BlurStyleOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", show_default="blur", help="How --blur hides them: blur, pixelate or fill."
    ),
]
DoubtOption = Annotated[
    bool,
    typer.Option(
        "--doubt",
        help="Show how sure the network is, and when not to trust it; costs time. --view doubt "
        "does so, too.",
    ),
]
DoubtLimitOption = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER", show_default="0.105", help="Doubt above which not to trust a picture."
    ),
]
EventOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULE",
        help='Watch for an event, such as "walker: pedestrian in corridor > 0.5% for 0.3s"; '
        "may be given several times. Each is a line when it ends.",
    ),
]
GroupOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=CLASS,...",
        help="A name for some classes, such as road=track; may be given several times.",
    ),
]


def parse_blur(blur: str | None, style: str | None) -> tuple[tuple[str, ...], str]:
    """What is hidden, and how, from `--blur` and `--blur-style`.

    Raises:
        UsageError: only the style is given, also the usual one.
    """
    if blur is None and style is not None:
        from roadseg.video.reading.options import nothing_to_hide

        raise nothing_to_hide(style)
    return () if blur is None else tuple(name.strip() for name in blur.split(",")), style or "blur"
