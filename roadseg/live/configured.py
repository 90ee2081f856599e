"""The outputs that a configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from roadseg.core.files import claim_file
from roadseg.core.home import below_home
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.types import Image
from roadseg.live.config import LiveConfig, SourceConfig
from roadseg.live.outputs import (
    ClipsWriter,
    MaskWriter,
    PictureWriter,
    Result,
    TimelineWriter,
    Writer,
)
from roadseg.live.station import Station
from roadseg.render import HudStats, Renderer
from roadseg.video.clips import ClipFolder, Roll
from roadseg.video.inference import FrameSegmenter
from roadseg.video.reading import Reader, ReadingOptions

# Digits that change with every frame cannot be read.
_HUD_INTERVAL_S = 0.25


def check_look(config: LiveConfig) -> None:
    """Refuse what can be seen to be wrong before anything is opened: an unknown view or palette,
    read-outs that cannot be, paths below homes that are not there.

    Raises:
        UsageError, BackendError: see `ReadingOptions.check`.
    """
    Renderer(**_look(config))
    for source in config.source:
        reading_of(config, source).check()
        for path in (source.output, source.raw_output, source.save_masks):
            _path(path)
    if config.record is not None:
        _path(config.record.folder)


def reading_of(
    config: LiveConfig, source: SourceConfig, temperature: float = 1.0
) -> ReadingOptions:
    """What is read from the frames of a source; `temperature` is that of the network's scores."""
    return ReadingOptions(
        readouts=config.readouts,
        timeline=_path(source.timeline),
        corridor=source.corridor,
        camera_height_m=source.camera_height,
        horizon=source.horizon,
        fov_deg=source.fov,
        ignore_mask=_path(source.ignore_mask),
        smooth=config.smooth,
        blur=() if config.blur is None else tuple(n.strip() for n in config.blur.split(",")),
        blur_style=config.blur_style,
        doubt=config.doubt,
        doubt_limit=config.doubt_limit,
        doubt_view=config.view == "doubt",
        temperature=temperature,
        rules=tuple(f"{event.name}: {event.rule}" for event in config.event),
        events=_path(source.events),
        event_clips=_path(source.event_clips),
        groups=config.group,
    )


def wants_doubt(config: LiveConfig) -> bool:
    """Whether the scores behind the labels are needed."""
    return any(reading_of(config, source).wants_doubt for source in config.source)


def configured_reader(
    config: LiveConfig,
    classes: ClassSet,
    folders: dict[str, ClipFolder] | None = None,
    *,
    temperature: float = 1.0,
) -> Callable[[SourceConfig], Reader | None]:
    """What `LiveRun` takes as `reader`. What it returns raises `UsageError`, and `SinkError`.

    Args:
        config: of the run.
        classes: of the labels.
        folders: gets the folder of each source that wants clips of its events, by its name.
        temperature: of the network's scores.
    """

    def reader(source: SourceConfig) -> Reader | None:
        options = reading_of(config, source, temperature)
        options.check_groups(classes)
        if not options.wants_reader:
            return None
        if options.events is not None:
            claim_file(options.events)
        clips = None
        if options.event_clips is not None and folders is not None:
            clips = folders[source.name] = ClipFolder(options.event_clips)
        return Reader(options, classes, clips=clips)

    return reader


def _path(text: str | None) -> Path | None:
    return None if text is None else below_home(text)


def configured_writers(
    config: LiveConfig,
    segmenter: FrameSegmenter,
    classes: ClassSet = CAMVID,
    folders: Mapping[str, ClipFolder] | None = None,
) -> Callable[[Station], list[Writer]]:
    """What `LiveRun` takes as `writers`: all files of every source.

    Args:
        config: of the run.
        segmenter, classes: say what runs, and what it tells apart.
        folders: see `configured_reader`.
    """

    def writers(station: Station) -> list[Writer]:
        made: list[Writer] = []
        if station.config.output is not None:
            path = below_home(station.config.output)
            made.append(PictureWriter(path, renderer_of(station, config, segmenter, classes)))
        if station.config.raw_output is not None:
            path = below_home(station.config.raw_output)
            made.append(PictureWriter(path, lambda result: result.frame.image_bgr))
        if station.config.save_masks is not None:
            path = below_home(station.config.save_masks)
            made.append(MaskWriter(path, classes.names))
        if station.config.timeline is not None and station.reader is not None:
            path = below_home(station.config.timeline)
            reader = station.reader
            made.append(TimelineWriter(path, reader.names, model, reader.hidden))
        if folders is not None and station.name in folders:
            rolls = {event.name: Roll(event.pre_s, event.post_s) for event in config.event}
            render = renderer_of(station, config, segmenter, classes)
            made.append(ClipsWriter(folders[station.name], rolls, render))
        return made

    def model() -> str:
        info = segmenter.backend_info
        return info.model if info else ""

    return writers


def renderer_of(
    station: Station, config: LiveConfig, segmenter: FrameSegmenter, classes: ClassSet = CAMVID
) -> Callable[[Result], Image]:
    """Makes finished pictures of a station's results, with its own figures in the corner. One
    thread at a time.

    Raises:
        UsageError: there is no such palette or view.
    """
    render = Renderer(classes=classes, **_look(config))
    shown: HudStats | None = None
    since_s = 0.0
    going_on: tuple[str, ...] = ()

    def picture(result: Result) -> Image:
        nonlocal shown, since_s, going_on
        events = () if result.read is None else result.read.events
        if shown is None or result.shown_s - since_s >= _HUD_INTERVAL_S or events != going_on:
            info, since_s, going_on = segmenter.backend_info, result.shown_s, events
            dropped = station.tally.dropped
            shown = HudStats(
                fps=station.shows.per_s(),
                latency_ms=result.age_s * 1e3,
                # What was asked for is no loss.
                dropped=sum(n for cause, n in dropped.items() if cause not in _ASKED_FOR),
                backend=info.name if info else "",
                lines=result.lines,
                shares=() if result.read is None else result.read.shares,
            )
        guides = None if result.read is None else result.read.guides
        return render(
            result.frame.image_bgr,
            result.label_map,
            shown,
            result.left_out,
            result.doubt,
            guides,
        )

    return picture


def _look(config: LiveConfig) -> dict[str, Any]:
    keys = ("palette", "view", "alpha", "legend", "hud")
    return {key: value for key in keys if (value := getattr(config, key)) is not None}


_ASKED_FOR = ("skipped", "paused", "stopped")
