"""`python -m tools.ladder` (`make ladder`): how the shipped INT8 models score at other inputs.

`roadseg run` takes the best rung that a processor has time for, so that each rung's accuracy and
cost must be those of the weights that ship. `make weights` measures the ladder, too.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.cli import main
from roadseg.core.errors import UsageError
from roadseg.core.geometry import Geometry, network_size, postprocess, preprocess
from roadseg.core.progress import ShowProgress, StageClock
from roadseg.core.types import Image, Labels
from roadseg.core.wording import option
from roadseg.datasets.camvid import CamVid
from roadseg.evaluation.evaluate import LabelledFrames
from roadseg.metrics.confusion import ConfusionMatrix
from roadseg.synth.drive import random_scene
from roadseg.weights import RungScores, load_manifest, resolve_model
from tools.figures import refresh_figures
from tools.manifest import write_ladder

PIXELS = (
    192 * 256,
    224 * 288,
    256 * 352,
    288 * 384,
    320 * 416,
    352 * 480,
    416 * 576,
    480 * 640,
)
"""Areas of the rungs, each a shape of its own for frames of 4:3 and for frames of 16:9."""

program = typer.Typer(add_completion=False)

# Another seed than those of clips and of training sets.
_SEED = 712_000_000
_HD_HW = (720, 1280)

# Costs are medians of so many fewer frames than scores are means of.
_EVERY = 9


class HdScenes:
    """Rendered scenes of 720x1280 with exact labels, none of them in a clip or a training set.

    Args:
        count: how many.
    """

    def __init__(self, count: int = 48) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Image, Labels]]:
        for index in range(self._count):
            yield random_scene(_SEED + index, _HD_HW)


def measure_ladder(
    model: Path | Any,
    name: str,
    datasets: Mapping[str, LabelledFrames],
    *,
    pixels: Sequence[int] | None = None,
    progress: ShowProgress | None = None,
    clock: Callable[[], float] = time.process_time,
) -> tuple[RungScores, ...]:
    """Score a model for OpenVINO at inputs of several areas.

    The rungs take turns frame by frame, on one thread, so that their costs can be compared.

    Args:
        model: see `OpenVinoBackend`.
        name: the model's name.
        datasets: `val`, on which the cost is measured as well, and others.
        pixels: of the rungs; default: `PIXELS`.
        progress: shows how many frames are done.
        clock: processor time in seconds.
    """
    pixels = PIXELS if pixels is None else pixels
    miou: dict[int, dict[str, float]] = {each: {} for each in pixels}
    cost_ms: dict[int, float] = {}
    for key, dataset in datasets.items():
        confusions = {each: ConfusionMatrix() for each in pixels}
        taken_ms: dict[int, list[float]] = {each: [] for each in pixels}
        with ExitStack() as stack:
            backends: dict[int, OpenVinoBackend] = {}
            watch = StageClock(f"{name} on {key}", progress)
            for done, (image_bgr, true_ids) in enumerate(dataset, start=1):
                source_hw = (image_bgr.shape[0], image_bgr.shape[1])
                for each in pixels:
                    if each not in backends:
                        size_hw = network_size(source_hw, budget=each)
                        backends[each] = OpenVinoBackend(
                            model, size_hw, name=name, precision="int8", threads=1
                        )
                        stack.callback(backends[each].close)
                    network_hw = backends[each].network_hw
                    network_bgr, _ = preprocess(image_bgr, network_hw)
                    started_s = clock()
                    network_ids = backends[each].infer(network_bgr[np.newaxis])[0]
                    taken_ms[each].append((clock() - started_s) * 1e3)
                    labels_hw = (true_ids.shape[0], true_ids.shape[1])
                    way_back = Geometry(source_hw=labels_hw, network_hw=network_hw)
                    confusions[each].update(postprocess(network_ids, way_back).ids, true_ids)
                watch.step(done, len(dataset))
        for each in pixels:
            miou[each][key] = round(confusions[each].miou, 4)
            if key == "val":
                cost_ms[each] = round(statistics.median(taken_ms[each]), 1)
    return tuple(RungScores(each, cost_ms[each], miou[each]) for each in pixels)


def measure_costs(
    models: Mapping[str, Path | Any],
    images_bgr: Sequence[Image],
    *,
    pixels: Sequence[int] | None = None,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, dict[int, float]]:
    """What each rung costs, on one thread: all models at all inputs take turns frame by frame.

    A machine is faster at one time than at another. Were rungs measured one after the other, that
    would put them in a wrong order.

    Args:
        models: for OpenVINO, by name.
        images_bgr: frames of one size. Another turn with the first comes before and does not count.
        pixels: of the rungs; default: `PIXELS`.
        clock: processor time in seconds.

    Returns:
        Milliseconds by model and area, medians of all frames.
    """
    pixels = PIXELS if pixels is None else pixels
    source_hw = images_bgr[0].shape[:2]
    taken_ms: dict[tuple[str, int], list[float]] = {}
    with ExitStack() as stack:
        backends: dict[tuple[str, int], OpenVinoBackend] = {}
        for name, model in models.items():
            for each in pixels:
                size_hw = network_size(source_hw, budget=each)
                backend = OpenVinoBackend(model, size_hw, name=name, precision="int8", threads=1)
                stack.callback(backend.close)
                backends[name, each] = backend
        for image_bgr in (images_bgr[0], *images_bgr):
            for rung, backend in backends.items():
                network_bgr, _ = preprocess(image_bgr, backend.network_hw)
                started_s = clock()
                backend.infer(network_bgr[np.newaxis])
                taken_ms.setdefault(rung, []).append((clock() - started_s) * 1e3)
    return {
        name: {each: round(statistics.median(taken_ms[name, each][1:]), 1) for each in pixels}
        for name in models
    }


def with_known_costs(
    rungs: Sequence[RungScores], before: Sequence[RungScores]
) -> tuple[RungScores, ...]:
    """Rungs with the costs that they had, where they had one.

    Costs of all models are compared, so they are of one machine. New weights of one network take as
    long as the old ones did; what another machine makes of them alone would only mislead.

    Args:
        rungs: of one model, as measured now.
        before: of the same model, as it ships.
    """
    known_ms = {rung.pixels: rung.cost_ms for rung in before}
    return tuple(replace(rung, cost_ms=known_ms.get(rung.pixels, rung.cost_ms)) for rung in rungs)


@program.command()
def ladder(
    data: Annotated[Path, typer.Option(help="Folder in the CamVid layout; val is scored.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Which models; by default all that ship in INT8.")
    ] = None,
    costs: Annotated[
        bool, typer.Option("--costs", help="Of all models measure costs alone; scores stay.")
    ] = False,
) -> None:
    """Score each shipped INT8 model at each rung's input, and write the manifest's ladders.

    What an input costs is measured where all models are, all of them in turns: costs of several
    models can be compared only then. The documentation's figures follow.
    """
    from roadseg.cli.progress_bar import progress_bar

    if model and costs:
        raise UsageError(
            "costs of some models say nothing about the others",
            fix=f"leave {option('--model')} out",
        )
    shipped = load_manifest()
    names = model or [name for name, entry in shipped.items() if "openvino" in entry.files]
    val = CamVid(data, "val")
    datasets: dict[str, LabelledFrames] = {"val": val, "720p": HdScenes()}
    files = {name: resolve_model(name, "openvino").path for name in names}
    ladders = {name: shipped[name].ladder for name in names}
    if not costs:
        for name, path in files.items():
            with progress_bar() as progress:
                rungs = measure_ladder(path, name, datasets, progress=progress)
            ladders[name] = with_known_costs(rungs, shipped[name].ladder) if model else rungs
    if not model:
        measured = measure_costs(files, [val[index][0] for index in range(0, len(val), _EVERY)])
        for name, rungs in ladders.items():
            ladders[name] = tuple(
                replace(rung, cost_ms=measured[name].get(rung.pixels, rung.cost_ms))
                for rung in rungs
            )
    for name, rungs in ladders.items():
        write_ladder(name, rungs)
        for rung in rungs:
            scores = ", ".join(f"{key} {miou:.4f}" for key, miou in rung.miou.items())
            typer.echo(f"{name} {rung.pixels} pixels: {rung.cost_ms:.1f} ms, mIoU {scores}")
        for page in refresh_figures(load_manifest()[name], Path()):
            typer.echo(f"{page} follows")


if __name__ == "__main__":
    sys.exit(main(program=program, name="python -m tools.ladder"))
