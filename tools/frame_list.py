"""`python -m tools.frame_list CAMVID`: writes calibration/frames.txt again.

It names the frames that INT8 ranges of the networks that ship are measured on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli import main
from roadseg.core.files import write_text
from roadseg.datasets.camvid import CamVid
from roadseg.datasets.frames import DEFAULT_EVERY

FRAME_LIST = Path(__file__).parents[1] / "calibration" / "frames.txt"


def write_frame_list(path: Path, root: Path, *, every: int = DEFAULT_EVERY) -> int:
    """Write the list: each `every`-th frame of CamVid's training split, the first included.

    Returns:
        The number of frames.

    Raises:
        DataError: the data set cannot be read.
        SinkError: the list cannot be written.
    """
    chosen = [image for image, _label in CamVid(root, "train").pairs[::every]]
    names = [image.relative_to(root).as_posix() for image in chosen]
    head = f"# Every {every}th frame of CamVid's training split; see README.md beside this file.\n"
    write_text(path, head + "\n".join(names) + "\n", fix="give another path")
    return len(names)


program = typer.Typer(add_completion=False)


@program.command()
def frame_list(data: Annotated[Path, typer.Argument(help="Folder in the CamVid layout.")]) -> None:
    """Write calibration/frames.txt again."""
    typer.echo(f"{FRAME_LIST}: {write_frame_list(FRAME_LIST, data)} frames")


if __name__ == "__main__":
    sys.exit(main(program=program, name="python -m tools.frame_list"))
