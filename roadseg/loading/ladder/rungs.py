"""The rungs that there are, best first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from roadseg.core.backend import SIDE_MULTIPLE
from roadseg.core.geometry import PIXEL_BUDGET, network_size
from roadseg.core.size import SizeHW
from roadseg.weights import ManifestEntry

_HD_PIXELS = 720 * 1280
_GPU_SCORES = "fp32 on val"

# With other instructions networks cost otherwise beside each other, but hardly twice as much.
_UNSURE = 2.0


@dataclass(frozen=True, slots=True)
class Rung:
    """A network at inputs of one area.

    Attributes:
        model: name of a shipped model.
        pixels: area of its input.
        miou: what it scores, 0..1, on frames like those of the source.
        cost_ms: what it costs on the machine where the ladder was measured; None: not known.
    """

    model: str
    pixels: int
    miou: float
    cost_ms: float | None = None

    def network_hw(self, source_hw: SizeHW) -> SizeHW:
        """Height and width of the input for frames of one size."""
        return network_size(source_hw, multiple=SIDE_MULTIPLE, budget=self.pixels)


def cpu_rungs(
    entries: Iterable[ManifestEntry], source_hw: SizeHW, *, costs_compare: bool = True
) -> tuple[Rung, ...]:
    """The rungs of models that ship for OpenVINO, the most accurate first.

    A rung that costs more than another one without being more accurate is left out, and so are
    inputs larger than `PIXEL_BUDGET` for frames that are hardly larger themselves.

    Args:
        entries: the models that ship.
        source_hw: size of the frames: those of 720p and more show small things that an input of
            `PIXEL_BUDGET` loses, and have scores of their own.
        costs_compare: what networks cost beside each other is as it was measured. Else another
            network's rung has to cost half as much; which is faster, timing tells.
    """
    is_large = source_hw[0] * source_hw[1] >= _HD_PIXELS
    data = "720p" if is_large else "val"
    rungs = [
        Rung(entry.name, each.pixels, each.miou.get(data, each.miou["val"]), each.cost_ms)
        for entry in entries
        if "openvino" in entry.files
        for each in entry.ladder
        if "val" in each.miou and (is_large or each.pixels <= PIXEL_BUDGET)
    ]
    return tuple(rung for rung in _best_first(rungs) if not _is_beaten(rung, rungs, costs_compare))


def gpu_rungs(entries: Iterable[ManifestEntry]) -> tuple[Rung, ...]:
    """The models whose weights ship, at the usual input, the most accurate first.

    A GPU has time to spare for pixels; what it has to choose between is networks.
    """
    rungs = [
        Rung(entry.name, PIXEL_BUDGET, float(entry.validation[_GPU_SCORES]["miou"]))
        for entry in entries
        if "torch" in entry.files and _GPU_SCORES in entry.validation
    ]
    return tuple(_best_first(rungs))


def _best_first(rungs: list[Rung]) -> list[Rung]:
    return sorted(rungs, key=lambda rung: (-rung.miou, rung.pixels))


def _is_beaten(rung: Rung, rungs: list[Rung], costs_compare: bool) -> bool:
    def cost(other: Rung) -> float:
        unsure = 1.0 if costs_compare or other.model == rung.model else _UNSURE
        return (other.cost_ms or 0.0) * unsure

    own = rung.cost_ms or 0.0
    return any(
        (other.miou >= rung.miou and cost(other) < own)
        or (other.miou > rung.miou and cost(other) == own)
        for other in rungs
    )
