"""A configured run, opened: the network, the cameras and the page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roadseg.core.cv2_check import one_opencv_thread
from roadseg.core.errors import UsageError, unreadable
from roadseg.core.home import below_home
from roadseg.core.labels import DEFAULT_PALETTE
from roadseg.core.size import parse_size
from roadseg.live.config import LiveConfig, RecordConfig, WebConfig
from roadseg.live.configured import (
    check_look,
    configured_reader,
    configured_writers,
    renderer_of,
    wants_doubt,
)
from roadseg.live.recording.recorder import StationRecorder
from roadseg.live.run import LiveRun
from roadseg.live.scheduler import Batch
from roadseg.live.station import LiveEvent
from roadseg.live.web import serve
from roadseg.loading.segmenter import Segmenter
from roadseg.video.clips import ClipFolder

if TYPE_CHECKING:
    from roadseg.core.progress import ShowProgress
    from roadseg.live.web.hub import Hub


_LOG = logging.getLogger("roadseg.live")

# A GPU takes so many frames in hardly more time than one; more would make the first ones wait.
_BATCH = 8

# The shape of most cameras' pictures; others are known when they have answered.
_USUAL_HW = (540, 960)

# What `--model auto` counts on, frames a second: of one camera, and of each of several.
_RATE, _RATE_OF_SEVERAL = 25.0, 10.0

# Cameras of other shapes have networks of their own. Compiling one again at every frame would
# leave no time for anything else.
_NETWORKS = 8


@dataclass(frozen=True)
class Live:
    """Everything that a live run needs.

    Attributes:
        run: not started yet.
        segmenter: its network.
        recorder: of its stations; None where nothing asks for one.
        hub: serves the page; None for none.
    """

    run: LiveRun
    segmenter: Segmenter
    recorder: StationRecorder | None = None
    hub: Hub | None = None


@contextmanager
def open_live(
    config: LiveConfig,
    *,
    token: str | None = None,
    patient: bool = True,
    on_event: Callable[[LiveEvent], None] | None = None,
    progress: ShowProgress | None = None,
) -> Iterator[Live]:
    """Open what a configuration asks for, and close it again.

    Cheap checks come first. The network is compiled before any camera is opened: they would send
    meanwhile what nobody takes.

    Args:
        config: what to run.
        token: of the page; wins over the configuration's file.
        patient: see `LiveRun`.
        on_event: gets every change of state and every event; must not block.
        progress: see `roadseg.Segmenter`.

    Raises:
        RoadsegError: something that is named is unknown or cannot be opened.
    """
    check_look(config)
    if token is None and config.web is not None:
        token = _token_of(config.web)
    with ExitStack() as stack:
        stack.enter_context(one_opencv_thread())
        segmenter = stack.enter_context(
            Segmenter(
                config.model or "auto",
                config.backend or "auto",
                size_hw=None if config.size is None else parse_size(config.size),
                threads=config.threads,
                keep=_NETWORKS,
                scores=wants_doubt(config),
                progress=progress,
            )
        )
        folders: dict[str, ClipFolder] = {}
        run = LiveRun(
            segmenter,
            config.source,
            # A batch gives labels alone.
            batch=None if wants_doubt(config) else batch_of(segmenter),
            writers=configured_writers(config, segmenter, segmenter.classes, folders),
            reader=configured_reader(
                config, segmenter.classes, folders, temperature=segmenter.choice.temperature
            ),
            on_event=on_event,
            patient=patient,
            rate=rate_of(config),
        )
        recorder = hub = None
        if config.record is not None or config.web is not None:
            recorder = StationRecorder(
                config.record or RecordConfig(start=False),
                run,
                lambda station: renderer_of(station, config, segmenter, segmenter.classes),
            )
        if config.web is not None:
            # Before the network is compiled: a port that is taken is known at once.
            hub = stack.enter_context(
                serve(
                    run.stations,
                    config.web.address,
                    config.web.port,
                    token=token,
                    hosts=config.web.hosts,
                    classes=segmenter.classes,
                    palette=config.palette or DEFAULT_PALETTE,
                    recorder=recorder,
                )
            )
        segmenter.fit(_USUAL_HW, rate_of(config))
        segmenter.prepare(_USUAL_HW)
        yield Live(run, segmenter, recorder, hub)


def rate_of(config: LiveConfig) -> float:
    """Frames a second that the network is chosen for; 0 where all sources wait for it.

    >>> rate_of(LiveConfig((SourceConfig("a", "0"), SourceConfig("b", "1", max_fps=5.0))))
    15.0
    """
    usual = _RATE if len(config.source) == 1 else _RATE_OF_SEVERAL
    return sum(
        min(usual / each.stride, each.max_fps or usual)
        for each in config.source
        if each.policy == "latest" or (each.policy == "auto" and not each.is_file)
    )


def batch_of(segmenter: Segmenter) -> Batch | None:
    """How frames of several sources go together: as a batch on a GPU; on a CPU, where that takes
    as long as one after the other, not at all."""
    if segmenter.choice.backend in ("openvino", "fake"):
        return None
    return Batch(_BATCH, segmenter.infer_batch)


def _token_of(web: WebConfig) -> str | None:
    if web.token_file is None:
        return None
    path = below_home(web.token_file, "token_file")
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise unreadable(UsageError, f"the token in {path}", exc) from exc
    if not token:
        raise UsageError(f"{path} holds no token", fix="write one of 8 or more characters into it")
    return token
