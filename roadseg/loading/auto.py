"""Which rung `--model auto` takes for a source: a network and the area of its input.

>>> choice = choose_for(choose("auto"), (540, 960), rate=25)
>>> choice.model, choice.network_hw((540, 960))
('segnet-lite', (224, 416))
"""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction

from roadseg.backends.gpu import has_nvidia_driver
from roadseg.core.errors import BackendError
from roadseg.core.processor import instruction_sets, isa_limit, usable_cores
from roadseg.core.size import SizeHW
from roadseg.core.wording import option
from roadseg.loading.choice import Choice, choose
from roadseg.loading.ladder.carrying import EVERY, may_carry, or_all_frames
from roadseg.loading.ladder.kept import this_machine
from roadseg.loading.ladder.pace import Pace
from roadseg.loading.ladder.rungs import Rung, cpu_rungs, gpu_rungs
from roadseg.loading.ladder.settle import settle
from roadseg.weights import load_manifest, resolve_model

_log = logging.getLogger(__name__)


def choose_for(
    choice: Choice,
    source_hw: SizeHW,
    rate: Fraction | float | None,
    *,
    every: int | None = 1,
    planar: bool = False,
    scores: bool = False,
) -> Choice:
    """Choose the rung for a source, where it is still to be chosen; which and why is logged.

    The first time on a machine that takes up to three seconds (`roadseg.loading.ladder.timing`).

    Args:
        choice: of `choose`.
        source_hw: size of the frames.
        rate: frames a second; None: the source does not say; 0: it need not be kept up with.
        every: see `Pace`; None: every second one or all, as `or_all_frames` says.
        planar: see `Pace`.
        scores: they are wanted as well: one network at all its inputs, since what scores mean
            (temperature, limits of doubt) is each network's own. It is timed as it then runs, one
            frame at a time.

    Raises:
        BackendError, EngineError, ModelError: a network cannot be opened, or fails.
    """
    if not choice.auto:
        return choice
    if scores:
        # What gives scores has one frame in flight, whatever the source; see `Choice.open`.
        choice = replace(choice, throughput=False)
    rungs = ladder(choice, source_hw, choice.model if scores else None)
    if not rungs:
        return replace(choice, auto=False)
    sha256 = {
        name: entry.files["openvino" if choice.backend == "openvino" else "torch"].parts[-1].sha256
        for name, entry in load_manifest().items()
        if name in {rung.model for rung in rungs}
    }
    # A GPU's network takes less time than carrying labels would.
    may = every is None and choice.backend == "openvino" and may_carry(rate)
    pick = settle(
        rungs,
        Pace(source_hw, rate, usable_cores(), EVERY if may else every or 1, planar),
        this_machine(
            choice.backend,
            choice.threads,
            _gpu_name(choice.backend),
            throughput=choice.throughput,
            scores=scores,
        ),
        sha256,
        lambda rung: _on(choice, rung).open(rung.network_hw(source_hw), scores=scores),
    )
    if may:
        pick = or_all_frames(pick)
    carries = may and pick.pace.every > 1
    chosen = replace(_on(choice, pick.rung), pick=pick)
    height, width = chosen.network_hw(source_hw)
    takes_another = f"{option('--model', chosen.model)} {option('--size', 'HxW')} takes another"
    if carries:
        takes_another += f", {option('--reuse', 1)} shows it all frames"
    _log.info(
        f"{chosen.model} at {height}x{width}{' on every second frame' if carries else ''}: "
        f"{pick.reason()}; {takes_another}"
    )
    return chosen


def choose_below(choice: Choice) -> Choice | None:
    """One rung down, for a run that falls behind; None: there is none."""
    pick = None if choice.pick is None else choice.pick.stepped_down()
    return None if pick is None else replace(_on(choice, pick.rung), pick=pick)


def ladder(choice: Choice, source_hw: SizeHW, alone: str | None = None) -> tuple[Rung, ...]:
    """The rungs for frames of one size, the most accurate first; none where they are not known.

    Of TensorRT those whose engine is there: building one takes minutes.

    Args:
        choice: of `choose`.
        source_hw: size of the frames.
        alone: the only model whose rungs are wanted; None for all.
    """
    entries = [each for each in load_manifest().values() if alone in (None, each.name)]
    if choice.backend == "openvino":
        return cpu_rungs(entries, source_hw, costs_compare=_costs_compare())
    if choice.backend == "torch" and has_nvidia_driver():
        return gpu_rungs(entries)
    if choice.backend != "tensorrt":
        return ()
    from roadseg.loading.tensorrt import has_engine

    return tuple(
        rung
        for rung in gpu_rungs(entries)
        if has_engine(rung.model, resolve_model(rung.model, "tensorrt"), rung.network_hw(source_hw))
    )


def _costs_compare() -> bool:
    """Whether this processor is of the kind that costs in the manifest were measured on: AVX2
    without VNNI. With other instructions depthwise layers cost otherwise beside dense ones."""
    sets = instruction_sets()
    return sets.get("AVX2", False) and (not sets.get("VNNI", False) or isa_limit() == "AVX2")


def _on(choice: Choice, rung: Rung) -> Choice:
    """The same with the network of a rung."""
    own = choose(rung.model, choice.backend, threads=choice.threads)
    return replace(own, pixels=rung.pixels, throughput=choice.throughput)


def _gpu_name(backend: str) -> str | None:
    if backend == "openvino":
        return None
    from roadseg.backends.gpu import shared_cuda

    try:
        return shared_cuda().device.name
    except BackendError:
        # PyTorch brings CUDA of its own.
        return "GPU"
