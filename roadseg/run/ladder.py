"""Every rung of `--model auto`, measured with a source: `roadseg bench --all`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from roadseg.core.errors import UsageError
from roadseg.core.size import SizeHW
from roadseg.core.wording import option
from roadseg.loading.auto import ladder
from roadseg.loading.choice import AUTO, choose
from roadseg.loading.ladder.rungs import Rung
from roadseg.media.sources.opening import open_source
from roadseg.run.bench import BenchReport, bench
from roadseg.run.video import RunOptions

if TYPE_CHECKING:
    from roadseg.core.progress import ShowProgress


@dataclass(frozen=True, slots=True)
class MeasuredRung:
    """A rung and how fast it is.

    Attributes:
        rung: network, area of its input and mIoU.
        report: what was measured.
        chosen: `auto` takes this one for the source, for every frame or every second one.
    """

    rung: Rung
    report: BenchReport
    chosen: bool

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`."""
        return {"miou": self.rung.miou, "auto": self.chosen, **self.report.to_json()}


@dataclass(frozen=True, slots=True)
class LadderReport:
    """The ladder for one source.

    Attributes:
        rungs: the most accurate first.
        auto: what was measured with the one that `auto` takes, as it takes it.
        source_hw: size of the source's frames.
        rate: its frames a second; None: it does not say.
    """

    rungs: tuple[MeasuredRung, ...]
    auto: BenchReport
    source_hw: SizeHW
    rate: Fraction | None

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`."""
        return {
            "source_hw": list(self.source_hw),
            "rate": None if self.rate is None else float(self.rate),
            "rungs": [rung.to_json() for rung in self.rungs],
            "auto": self.auto.to_json(),
        }


def bench_ladder(
    options: RunOptions, *, encode: bool = True, progress: ShowProgress | None = None
) -> LadderReport:
    """Run the pipeline with each rung in turn, and with the choice of `auto`; see `bench`.

    Args:
        options: as for `bench`, without `size_hw`: it and `model` are those of the rungs.
        encode: encode the pictures to H.264, into a file that is thrown away.
        progress: see `roadseg.Segmenter`.

    Raises:
        UsageError: there is no ladder for this backend, or a size is given.
        RoadsegError: something cannot be opened or fails while running.
    """
    if options.size_hw is not None:
        raise UsageError(
            f"{option('--all')} measures sizes of its own", fix=f"leave {option('--size')} out"
        )
    with open_source(
        options.source, rtsp_transport=options.rtsp_transport, fps=options.fps
    ) as source:
        frame_hw = source.info.size_hw
        rate = source.info.rate
        if frame_hw is None:
            frame = source.read()
            frame_hw = (1, 1) if frame is None else frame.size_hw
    choice = choose(AUTO, options.backend, threads=options.threads)
    rungs = ladder(choice, frame_hw)
    if not rungs:
        raise UsageError(
            f"there is no ladder for the {choice.backend} backend",
            fix=f"use {option('--backend', 'openvino')}, or leave {option('--all', True)} out",
        )
    auto = bench(replace(options, model=AUTO), encode=encode, progress=progress)
    measured = []
    for rung in rungs:
        network_hw = rung.network_hw(frame_hw)
        named = replace(options, model=rung.model, size_hw=network_hw)
        report = bench(named, encode=encode, progress=progress)
        takes = (rung.model, network_hw) == (auto.run.model, auto.run.size_hw)
        measured.append(MeasuredRung(rung, report, takes))
    return LadderReport(tuple(measured), auto, frame_hw, rate)
