"""`roadseg find-bonnet`: propose an ignore mask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli.options import SourceArgument, SourceOption, one_source


def find_bonnet(
    sources: SourceArgument = None,
    source: SourceOption = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="The mask, white where the bonnet is."),
    ] = None,
) -> None:
    """Propose a mask of the bonnet for run --ignore-mask.

    The car has to drive for ten seconds or more. Look at the mask before you use it.
    """
    from roadseg.core.errors import UsageError
    from roadseg.run.bonnet import write_bonnet_mask

    source = one_source(sources, source, "find-bonnet")
    if output is None:
        raise UsageError("no file for the mask is given", fix="give --output mask.png")
    mask = write_bonnet_mask(source, output)
    typer.echo(f"{output}: leaves out {mask.share:.0%} of the picture; look at it")
