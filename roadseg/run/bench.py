"""How fast a source, model and backend are together: `roadseg bench` and the benchmarks."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roadseg.core.errors import UsageError
from roadseg.core.machine import Machine, describe_machine
from roadseg.core.wording import option
from roadseg.media.redaction import redact
from roadseg.run.video import RunOptions, open_loop
from roadseg.video.inference import FrameSegmenter
from roadseg.video.meters import StageTimer
from roadseg.video.stats import RunStats

if TYPE_CHECKING:
    from roadseg.core.progress import ShowProgress


_MODEL_RUNS = 50
_MODEL_WARM_UP = 5


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What was measured.

    Attributes:
        run: the whole pipeline; `run.fps` is end to end.
        model_ms: median time of the network alone, batch 1, nothing else running.
        encoded: whether pictures were encoded to H.264.
        source: what was read.
        precision: of the network.
        machine: where, with which software, and when.
    """

    run: RunStats
    model_ms: float
    encoded: bool
    source: str
    precision: str
    machine: Machine

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`: the keys of `--stats-json` and the ones above."""
        return {
            **self.run.to_json(),
            "model_ms": self.model_ms,
            "encoded": self.encoded,
            "source": self.source,
            "precision": self.precision,
            "machine": asdict(self.machine),
        }


def bench(
    options: RunOptions,
    *,
    encode: bool = True,
    progress: ShowProgress | None = None,
) -> BenchReport:
    """Run the pipeline, with overlay and HUD, then the network alone.

    Args:
        options: what to run. `max_frames` frames are read; files shorter than that start again.
            `output`, `save_masks`, `show`, `measure` and `loop` are ignored.
        encode: encode the pictures to H.264, into a file that is thrown away.
        progress: see `roadseg.Segmenter`.

    Raises:
        RoadsegError: something cannot be opened or fails while running.
    """
    if options.max_frames is not None and options.max_frames < 1:
        raise UsageError(
            f"cannot measure {options.max_frames} frames",
            fix=f"use {option('--frames', 1, parameter='max_frames')} or more",
        )
    with tempfile.TemporaryDirectory(prefix="roadseg-bench-") as folder:
        options = replace(
            options,
            output=Path(folder) / "out.mp4" if encode else None,
            save_masks=None,
            show=False,
            measure=True,
            loop=options.max_frames is not None,
        )
        with open_loop(options, progress=progress) as video_loop:
            stats = video_loop.run()
            segmenter = video_loop.segmenter
            info = segmenter.backend_info
            assert info is not None
            model_ms = _model_alone_ms(segmenter, stats.size_hw)
    return BenchReport(
        run=stats,
        model_ms=model_ms,
        encoded=encode,
        source=redact(options.source),
        precision=info.precision,
        machine=describe_machine(),
    )


def _model_alone_ms(segmenter: FrameSegmenter, network_hw: tuple[int, int]) -> float:
    # A dense network takes as long for noise as for a street.
    noise = np.random.default_rng(0).integers(0, 256, (*network_hw, 3), dtype=np.uint8)
    for _ in range(_MODEL_WARM_UP):
        segmenter.submit(noise)
        segmenter.collect()
    timer = StageTimer(time.perf_counter)
    for _ in range(_MODEL_RUNS):
        with timer:
            segmenter.submit(noise)
            segmenter.collect()
    median_ms = timer.times_ms.percentile(50)
    assert median_ms is not None
    return round(median_ms, 3)
