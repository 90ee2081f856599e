"""`python -m tools.leave_one_drive_out`: what `roadseg crossval` found, beside a shipped model.

    python -m tools.leave_one_drive_out runs/crossval --model segnet-lite

Validation frames are of a drive that training saw as well; this says what the same training is
worth on drives that it did not see.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from roadseg.cli import main
from roadseg.core.errors import DataError, os_reason
from roadseg.training.crossval import RESULT
from tools.manifest import write_leave_one_drive_out

program = typer.Typer(add_completion=False)


def result_of(run: Path) -> dict[str, Any]:
    """What the manifest says of a cross-validation: recipe, length, seed, mIoU of each drive.

    Args:
        run: folder of `roadseg crossval`.

    Raises:
        DataError: it is none, or a fold is missing.
    """
    path = run / RESULT
    fix = "give the folder that 'roadseg crossval --output' wrote"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        settings = found["settings"]
        recipe, budget_s = settings["recipe"], settings["time_budget_s"]
        drives = {fold["drive"]: round(fold["miou"], 4) for fold in found["folds"]}
        result = {
            "recipe": recipe["name"],
            "quick": settings["quick"],
            **({"minutes": budget_s / 60} if budget_s else {"epochs": recipe["epochs"]}),
            "rendered_scenes": settings["extra_frames"],
            "seed": settings["seed"],
            "miou": found["mean"],
            "spread": found["spread"],
            "drives": drives,
        }
        missing = set(settings["drives"]) - set(drives)
    except OSError as exc:
        raise DataError(f"cannot read {path} ({os_reason(exc)})", fix=fix) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise DataError(f"{path} is damaged ({exc!r})", fix=fix) from exc
    if missing:
        raise DataError(
            f"{run} lacks {', '.join(sorted(missing))}",
            fix="start 'roadseg crossval' again, which goes on",
        )
    return result


@program.command()
def leave_one_drive_out(
    runs: Annotated[list[Path], typer.Argument(help="Folders of 'roadseg crossval'.")],
    model: Annotated[str, typer.Option(help="Whose manifest entry gets them.")],
) -> None:
    """Write the results of cross-validations into a shipped model's manifest."""
    results = [result_of(run) for run in runs]
    write_leave_one_drive_out(model, results)
    for each in results:
        typer.echo(f"{model}: {each['miou']:.3f} by {each['recipe']} on drives left out")


if __name__ == "__main__":
    sys.exit(main(program=program, name="python -m tools.leave_one_drive_out"))
