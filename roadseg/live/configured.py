"""The outputs that a configuration asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from roadseg.core.errors import UsageError
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.types import Image
from roadseg.live.config import LiveConfig
from roadseg.live.outputs import MaskWriter, PictureWriter, Result, Writer
from roadseg.live.station import Station
from roadseg.render import HudStats, Renderer
from roadseg.video.inference import FrameSegmenter

# Digits that change with every frame cannot be read.
_HUD_INTERVAL_S = 0.25


def configured_writers(
    config: LiveConfig, segmenter: FrameSegmenter, classes: ClassSet = CAMVID
) -> Callable[[Station], list[Writer]]:
    """What `LiveRun` takes as `writers`: the `output` and `save_masks` of every source."""

    def writers(station: Station) -> list[Writer]:
        made: list[Writer] = []
        if station.config.output is not None:
            path = Path(station.config.output).expanduser()
            made.append(PictureWriter(path, renderer_of(station, config, segmenter, classes)))
        if station.config.save_masks is not None:
            made.append(MaskWriter(Path(station.config.save_masks).expanduser()))
        return made

    return writers


def renderer_of(
    station: Station, config: LiveConfig, segmenter: FrameSegmenter, classes: ClassSet = CAMVID
) -> Callable[[Result], Image]:
    """Makes finished pictures of a station's results, with its own figures in the corner. One
    thread at a time.

    Raises:
        UsageError: there is no such palette or view.
    """
    if config.view == "doubt":
        raise UsageError(
            "live runs cannot show doubt, for which they keep no scores",
            fix="use another view, or roadseg run",
        )
    look: dict[str, Any] = {"palette": config.palette, "view": config.view, "alpha": config.alpha}
    render = Renderer(classes=classes, **{key: v for key, v in look.items() if v is not None})
    shown: HudStats | None = None
    since_s = 0.0

    def picture(result: Result) -> Image:
        nonlocal shown, since_s
        if shown is None or result.shown_s - since_s >= _HUD_INTERVAL_S:
            info, since_s = segmenter.backend_info, result.shown_s
            dropped = station.tally.dropped
            shown = HudStats(
                fps=station.shows.per_s(),
                latency_ms=result.age_s * 1e3,
                # What was asked for is no loss.
                dropped=sum(n for cause, n in dropped.items() if cause not in _ASKED_FOR),
                backend=info.name if info else "",
            )
        return render(result.frame.image_bgr, result.label_map, shown)

    return picture


_ASKED_FOR = ("skipped", "paused", "stopped")
