"""The options of `roadseg run` that only live runs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SourcesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="SOURCE",
        help="Another way to name the source. Given several times, one network serves them all.",
    ),
]
WebOption = Annotated[
    str | None,
    typer.Option(
        metavar="[HOST:]PORT",
        help="Show it all on a page for any browser, such as 8080. Others than this machine get it "
        "with an address such as 0.0.0.0:8080, and need a token.",
    ),
]
WebTokenOption = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        envvar="ROADSEG_WEB_TOKEN",
        show_envvar=True,
        help="What viewers of the page must know; made where it is needed and not given.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Read sources and options from a file; see docs/live.md. What is typed here wins.",
    ),
]
PrintConfigOption = Annotated[
    bool,
    typer.Option("--print-config", help="Print such a file for what was typed, and end."),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        metavar="latest|every",
        help="latest: the newest frame wins, as of cameras. every: none is lost, as of files.",
    ),
]
MaxStalenessOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        show_default="0.3",
        help="With --policy latest no frame is shown that is older than this.",
    ),
]
StallTimeoutOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", show_default="2", help="A camera that is silent for so long is stalled."
    ),
]
MaxFpsOption = Annotated[
    float | None,
    typer.Option(metavar="RATE", help="Process at most so many frames a second of a source."),
]
StrideOption = Annotated[
    int | None, typer.Option(metavar="N", help="Process every Nth frame of a source.")
]
SegmentMinutesOption = Annotated[
    float | None,
    typer.Option(
        metavar="MINUTES",
        show_default="5 with several sources",
        help="Record into the folder of --output, a new file every so often.",
    ),
]
KeepGbOption = Annotated[
    float | None,
    typer.Option(
        metavar="GB", show_default="keep all", help="Delete the oldest recordings beyond this."
    ),
]
RecordRawOption = Annotated[
    bool,
    typer.Option("--record-raw", help="Record the pictures without colours, too."),
]
CameraSizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="WxH", help="Pictures to ask a webcam or csi:// camera for, such as 1280x720."
    ),
]
CameraFpsOption = Annotated[
    float | None, typer.Option(metavar="RATE", help="Pictures a second to ask such a camera for.")
]
LogJsonOption = Annotated[
    bool, typer.Option("--log-json", help="Write lines on stderr as JSON, for programs.")
]
