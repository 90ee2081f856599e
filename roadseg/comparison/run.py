"""`roadseg compare`: networks trained or loaded, scored and timed in one way, in one table."""

from __future__ import annotations

import dataclasses
import gc
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from roadseg.comparison.chart import chart_png
from roadseg.comparison.cost import check_size
from roadseg.comparison.network import ComparisonPlan, measure_network, training_recipe
from roadseg.comparison.paper import table_models
from roadseg.comparison.rows import Row, RowFile
from roadseg.comparison.table import Comparison, Failure
from roadseg.core.errors import BackendError, ModelError, UsageError
from roadseg.core.files import printable, write_bytes, writing
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.machine import describe_machine
from roadseg.core.weights_file import best_weights
from roadseg.core.wording import option
from roadseg.datasets.opening import open_dataset
from roadseg.models import COMPARISON_NAMES, MODEL_NAMES, load_weights
from roadseg.training.limits import check_batch
from roadseg.training.progress import ShowTraining
from roadseg.weights.manifest import sha256_of

__all__ = ["Comparison", "ComparisonPlan", "choose_models", "compare"]

_log = logging.getLogger(__name__)


def choose_models(table: int | None, models: str | None) -> tuple[str, ...]:
    """The networks that a table of the paper and a comma-separated list name together.

    Raises:
        UsageError: they name none, or one that does not exist.
    """
    names = list(table_models(table)) if table is not None else []
    names += [name.strip() for name in (models or "").split(",") if name.strip()]
    if not names:
        raise UsageError(
            "nothing to compare",
            fix=f"use {option('--table', 1, 3, 6)}, or {option('--models', 'a,b,c')}",
        )
    known = MODEL_NAMES + COMPARISON_NAMES
    for name in names:
        if name not in known:
            raise UsageError(
                f"unknown model {name!r}", fix=f"{option('--models')} takes {', '.join(known)}"
            )
    return tuple(dict.fromkeys(names))


def usual_recipe(table: int | None) -> str:
    """The recipe of the paper for a table: its larger networks stand in tables 3 and 6."""
    return "paper-large" if table in (3, 6) else "paper"


def compare(
    models: Sequence[str],
    plan: ComparisonPlan,
    folder: Path,
    *,
    title: str = "Comparison",
    threads: int | None = None,
    progress: ShowTraining | None = None,
) -> Comparison:
    """Measure networks and write the table.

    `folder` receives `rows.json`, `compare.md`, `compare.csv` and `compare.png`, all brought up to
    date after every network, and the training runs in `runs` (`quick` under `plan.quick`). A
    network whose row was measured in the same way before is not measured again, and a run that
    was interrupted goes on from its last checkpoint. A network that fails by itself, by a loss
    that is not finite or for want of memory, is left out, and the others are measured.

    Args:
        models: names for `build_model`.
        plan: how they are treated.
        folder: created where it is missing.
        title: of the table.
        threads: CPU threads, of the whole process; default: PyTorch's choice.
        progress: see `roadseg.training.loop.train`.

    Raises:
        UsageError: `folder` holds a run or rows that do not fit; the size, or the recipe's batches,
            are too small for a network.
        ModelError: weights to be loaded are missing, damaged or of another network.
        DataError: the data set is missing or damaged.
        SinkError: `folder` cannot be written.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    stored = RowFile(folder, plan.data)
    scored = open_dataset(plan.data, plan.split)
    for model in models:
        check_size(model, plan.size_hw)
        if plan.weights is None:
            check_batch(model, scored.classes.num_classes, training_recipe(plan))
        else:
            _check_weights(best_weights(plan.weights / model), model, scored.classes)
    stored.claim()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = _machine(device)
    rows: list[Row] = []
    failures: list[Failure] = []
    height, width = plan.size_hw
    conditions = f"{plan.data.name} {plan.split}, {height}x{width}, {machine}"
    # The paper's figures are of CamVid's classes; beside others they would mislead.
    paper = scored.classes.same_classes(CAMVID)
    result = Comparison(title, conditions, paper, (), ())
    for number, model in enumerate(models, start=1):
        say = _saying(f"{number}/{len(models)} {model}: ")
        configuration = _configuration(model, plan, machine)
        row = stored.find(model, configuration)
        if row is not None:
            say("measured before")
        else:
            try:
                row = measure_network(
                    model, plan, folder, scored, device, say=say, progress=progress
                )
                stored.keep(row, configuration)
            except (ModelError, BackendError) as exc:
                failures.append(Failure(model, type(exc), str(exc)))
                say(f"not measured: {exc}")
            _release_memory(device)
        if row is not None:
            rows.append(row)
        result = Comparison(title, conditions, paper, tuple(rows), tuple(failures))
        result = _write(folder, result)
    return result


def _saying(prefix: str) -> Callable[[str], None]:
    return lambda text: _log.info("%s%s", prefix, text)


def _release_memory(device: torch.device) -> None:
    # An error's traceback held a failed network's tensors until now.
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _check_weights(path: Path, model: str, classes: ClassSet) -> None:
    if not path.is_file():
        raise ModelError(
            f"no weights at {path}",
            fix=f"train them with 'roadseg train --model {model} --output {path.parent}', or leave "
            f"{option('--weights')} out",
        )
    found = load_weights(path, classes)[1]["model"]
    if found != model:
        raise ModelError(f"{path} holds {found}", fix=f"put weights of {model} there")


def _configuration(model: str, plan: ComparisonPlan, machine: str) -> dict[str, Any]:
    """All that a row depends on, but for the data."""
    how: dict[str, Any] = {
        "split": plan.split,
        "size_hw": plan.size_hw,
        "quick": plan.quick,
        "machine": machine,
    }
    if plan.weights is not None:
        return how | {"weights_sha256": sha256_of(best_weights(plan.weights / model))}
    return how | {
        "recipe": dataclasses.asdict(plan.recipe),
        "time_budget_s": plan.time_budget_s,
        "seed": plan.seed,
    }


def _write(folder: Path, result: Comparison) -> Comparison:
    contents: dict[str, bytes | None] = {
        "compare.md": printable(result.table).encode(),
        "compare.csv": printable(result.csv).encode(),
        "compare.png": chart_png(result) if result.rows else None,
    }
    fix = f"free some space, or choose another {option('--output', parameter='folder')}"
    written = []
    with writing(folder, fix):
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        if content is not None:
            write_bytes(folder / name, content, fix=fix)
            written.append(folder / name)
    return dataclasses.replace(result, files=tuple(written))


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    count = torch.get_num_threads()
    return f"{describe_machine().cpu}, {count} {'thread' if count == 1 else 'threads'}"
