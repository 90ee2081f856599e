"""`python -m tools.average`: several runs of one network become one, the mean of their weights.

Runs that went on from the same weights lie in one basin, whose middle is often better than each of
them (Wortsman et al. 2022, "Model soups", section 2). `make weights` takes the folder it writes.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from roadseg.cli import main
from roadseg.core.errors import UsageError
from roadseg.core.files import write_json
from roadseg.core.labels import CAMVID
from roadseg.core.weights_file import best_weights
from roadseg.core.wording import option
from roadseg.datasets.camvid import CamVid
from roadseg.models import load_weights, save_weights
from roadseg.training.class_bias import fit_class_bias
from roadseg.training.folder import BEST, read_config
from roadseg.training.validation import confusion
from roadseg.weights import load_manifest
from tools.release import read_run, training_facts

program = typer.Typer(add_completion=False)


def mean_state(
    states: Sequence[Mapping[str, Tensor]], shares: Sequence[float]
) -> dict[str, Tensor]:
    """The weighted mean of parameters and statistics; counters are the first one's.

    Args:
        states: of one network each, with the same names and shapes.
        shares: of each; they are scaled to a sum of 1.
    """
    total = sum(shares)
    return {
        key: sum(
            (share / total * state[key] for share, state in zip(shares, states, strict=True)),
            start=torch.zeros_like(first),
        )
        if first.is_floating_point()
        else first
        for key, first in states[0].items()
    }


def average(
    sources: Sequence[str],
    output: Path,
    data: Path,
    *,
    shares: Sequence[float] = (),
    class_bias: bool = True,
) -> float:
    """Write the mean of several runs as a run of its own.

    Args:
        sources: folders of runs, and names of models that ship; the last one is a folder, whose
            log and curves are taken over.
        output: the folder to write.
        data: CamVid layout; its training frames set the class biases, `val` scores the outcome.
        shares: of each source; default: equal ones.
        class_bias: see `roadseg.training.class_bias`.

    Returns:
        The mean IoU on validation.

    Raises:
        UsageError: the last source is a name, the networks differ, or shares do not fit.
        ModelError: weights are missing or damaged.
        DataError: a folder holds no run, or `data` no frames.
        SinkError: `output` cannot be written.
    """
    last = Path(sources[-1])
    if not last.is_dir():
        raise UsageError(f"{last} is no folder of a run", fix="name the latest run last")
    shares = list(shares) or [1.0] * len(sources)
    if len(shares) != len(sources) or not min(shares) > 0:
        raise UsageError(
            f"{len(shares)} shares for {len(sources)} sources",
            fix=f"give {option('--share')} once for each, above 0",
        )
    parts = [_read(source) for source in sources]
    names = [name for _, name, _ in parts]
    if len(set(names)) > 1:
        raise UsageError(f"the networks differ: {', '.join(names)}", fix="name runs of one network")
    model, name, facts = parts[-1]
    model.load_state_dict(mean_state([part.state_dict() for part, _, _ in parts], shares))
    bias = fit_class_bias(model, list(CamVid(data, "train"))) if class_bias else None
    miou = float(confusion(model, list(CamVid(data, "val"))).miou)
    output.mkdir(parents=True, exist_ok=True)
    meta: dict[str, Any] = {"epoch": facts["best_epoch"], "validation_miou": miou}
    if bias is not None:
        meta["class_bias"] = [round(float(v), 4) for v in bias]
    save_weights(output / BEST, model, name, classes=CAMVID, **meta)
    total = sum(shares)
    averaged = [
        {"share": round(share / total, 4), **facts}
        for share, (_, _, facts) in zip(shares, parts, strict=True)
    ]
    write_json(output / "config.json", read_config(last) | {"averaged": averaged})
    for file in ("log.jsonl", "curves.png"):
        shutil.copyfile(last / file, output / file)
    return miou


def _read(source: str) -> tuple[torch.nn.Module, str, dict[str, Any]]:
    """A network, its name, and how it was trained."""
    shipped = load_manifest()
    if source in shipped:
        model, meta = load_weights(shipped[source].files["torch"].parts[0].path, CAMVID)
        return model, str(meta["model"]), dict(shipped[source].training)
    config = read_run(Path(source))
    model, meta = load_weights(best_weights(Path(source)), CAMVID)
    return model, str(meta["model"]), training_facts(config, meta)


@program.command()
def command(
    sources: Annotated[
        list[str], typer.Argument(help="Folders of runs, and names of models that ship.")
    ],
    data: Annotated[Path, typer.Option(help="Folder in the CamVid layout (train and val).")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    share: Annotated[
        list[float] | None, typer.Option(help="Of each source; by default equal.")
    ] = None,
    class_bias: Annotated[bool, typer.Option(help="Set the classes' biases.")] = True,
) -> None:
    """Average the weights of several runs, as one run that `make weights` takes."""
    miou = average(sources, output, data, shares=share or (), class_bias=class_bias)
    typer.echo(f"{output / BEST}: validation mIoU {miou:.4f}")


if __name__ == "__main__":
    sys.exit(main(program=program, name="python -m tools.average"))
