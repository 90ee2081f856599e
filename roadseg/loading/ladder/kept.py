"""Times of rungs, kept in the user's cache: a machine is measured once.

`rungs/DIGEST.json` has what was measured on one machine with one runtime:

    {"version": 1, "machine": {"processor": "...", "instructions": "AVX2", ...},
     "times": [{"model": "segnet-lite", "sha256": "...", "size_hw": [352, 480], "ms": 40.7}],
     "taken": [{"source_hw": [540, 960], "rate": 25.0, "model": "segnet-lite", "pixels": 90112,
                "every": 1, "disturbed": false, "planar": true}]}

A file that is damaged, of another machine or of another version counts as none.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

from roadseg.core.cache import keep_in_cache, user_cache_dir
from roadseg.core.errors import BackendError
from roadseg.core.processor import instruction_sets, isa_limit, processor_name, usable_cores
from roadseg.core.records import read_record
from roadseg.core.size import SizeHW
from roadseg.loading.ladder.pace import Pace
from roadseg.loading.ladder.rungs import Rung

_VERSION = 1

# The latest sources of which is remembered what was taken.
_SOURCES = 16

_PACKAGES = {"openvino": "openvino", "tensorrt": "tensorrt", "torch": "torch"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TimedOn:
    """What a time depends on beside the network and its input.

    Attributes:
        processor: its name, or the GPU's.
        instructions: those for INT8; `unknown` where the system does not say.
        limit: what the user holds OpenVINO's kernels to; empty for nothing.
        runtime: the backend with its version.
        threads: of the network; as many as there are cores where nothing else is asked for.
        throughput: several frames were in flight at once.
        scores: the network gave the scores behind its labels.
    """

    processor: str
    instructions: str
    limit: str
    runtime: str
    threads: int
    throughput: bool = False
    scores: bool = False

    def path(self) -> Path:
        """Where its times are kept."""
        facts = json.dumps(asdict(self), sort_keys=True).encode()
        return user_cache_dir() / "rungs" / f"{hashlib.sha256(facts).hexdigest()[:16]}.json"


@dataclass(frozen=True)
class TimedRung:
    """The time of a network at an input; `sha256` is that of its weights."""

    model: str
    sha256: str
    size_hw: SizeHW
    ms: float


@dataclass(frozen=True)
class Taken:
    """What was taken for a source.

    Attributes:
        rate: None: it did not say.
        every, planar: see `Pace`.
        disturbed: other programs had the processor when it was.
    """

    source_hw: SizeHW
    rate: float | None
    model: str
    pixels: int
    every: int = 1
    disturbed: bool = False
    planar: bool = False


@dataclass(frozen=True)
class Kept:
    """What is kept of one machine."""

    machine: TimedOn
    times: tuple[TimedRung, ...] = field(default=())
    taken: tuple[Taken, ...] = field(default=())

    def times_ms(
        self, rungs: tuple[Rung, ...], source_hw: SizeHW, sha256: Mapping[str, str]
    ) -> dict[Rung, float]:
        """The times of rungs for frames of one size, with the weights that there are now."""
        known = {(each.model, each.sha256, each.size_hw): each.ms for each in self.times}
        keys = {r: (r.model, sha256.get(r.model, ""), r.network_hw(source_hw)) for r in rungs}
        return {rung: known[key] for rung, key in keys.items() if key in known}

    def before(
        self, rungs: tuple[Rung, ...], pace: Pace, *, disturbed: bool = False
    ) -> Rung | None:
        """What was taken for such a source the last time; with `disturbed` also where it was."""
        asked = _asked(pace)
        for each in self.taken:
            if each.disturbed and not disturbed:
                continue
            if _asked(each) == asked:
                fitting = (r for r in rungs if (r.model, r.pixels) == (each.model, each.pixels))
                return next(fitting, None)
        return None

    def adding(
        self, times_ms: Mapping[Rung, float], source_hw: SizeHW, sha256: Mapping[str, str]
    ) -> Kept:
        """With times of rungs; those of other weights of these models are dropped."""
        new = tuple(
            TimedRung(r.model, sha256.get(r.model, ""), r.network_hw(source_hw), ms)
            for r, ms in times_ms.items()
        )
        there = {(each.model, each.size_hw) for each in new}
        old = (
            each
            for each in self.times
            if (each.model, each.size_hw) not in there
            and sha256.get(each.model, each.sha256) == each.sha256
        )
        return Kept(self.machine, (*new, *old), self.taken)

    def having_taken(self, rung: Rung, pace: Pace, *, disturbed: bool = False) -> Kept:
        """With what was taken for a source; `disturbed` as of `Taken`."""
        asked = _asked(pace)
        source_hw, rate, every, planar = asked
        latest = Taken(source_hw, rate, rung.model, rung.pixels, every, disturbed, planar)
        others = (each for each in self.taken if _asked(each) != asked)
        return Kept(self.machine, self.times, (latest, *others)[:_SOURCES])


def _asked(of: Pace | Taken) -> tuple[SizeHW, float | None, int, bool]:
    """What a source asks for, as far as what is taken depends on it."""
    return of.source_hw, None if of.rate is None else float(of.rate), of.every, of.planar


def this_machine(
    backend: str,
    threads: int | None,
    gpu: str | None = None,
    *,
    throughput: bool = False,
    scores: bool = False,
) -> TimedOn:
    """What times of now depend on.

    Args:
        backend: `openvino`, `torch` or `tensorrt`.
        threads: as asked for.
        gpu: its name, where the network runs on one.
        throughput: several frames are in flight at once.
        scores: the network gives the scores behind its labels.
    """
    try:
        version = metadata.version(_PACKAGES[backend])
    except (KeyError, metadata.PackageNotFoundError):
        version = "unknown"
    sets = instruction_sets()
    has = [name for name, there in sets.items() if there]
    return TimedOn(
        processor=gpu or processor_name(),
        instructions=", ".join(has) or ("none" if sets else "unknown"),
        limit=isa_limit(),
        runtime=f"{backend} {version}",
        threads=threads or usable_cores(),
        throughput=throughput,
        scores=scores,
    )


def read_kept(machine: TimedOn) -> Kept:
    """What is kept of a machine; nothing where there is none, or none that can be used."""
    path = machine.path()
    try:
        kept = read_record(path, Kept, BackendError, fix="it is made again", version=_VERSION)
    except FileNotFoundError:
        return Kept(machine)
    except BackendError as exc:
        _log.debug("%s", exc)
        return Kept(machine)
    if kept.machine != machine or any(each.ms <= 0 for each in kept.times):
        _log.debug("%s is of another machine, or damaged", path)
        return Kept(machine)
    return kept


def keep(kept: Kept) -> bool:
    """Write it; False where the cache cannot be written, and the next run measures again."""
    document = {"version": _VERSION, **asdict(kept)}
    return keep_in_cache(kept.machine.path(), json.dumps(document, indent=1).encode())
