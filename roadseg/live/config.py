"""The configuration of a live run: a TOML file, checked key by key.

    model = "auto"

    [web]
    port = 8080

    [[source]]
    name = "front"
    url = "rtsp://user:password@10.0.0.7/live"

    [source.health]
    frozen_s = 3.0

Keys are called like the options of the command line, with `_` for `-`. `roadseg.live.toml` reads
and writes it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from roadseg.live.health import HealthLimits
from roadseg.live.sources import is_device, is_live
from roadseg.media.redaction import redact
from roadseg.media.sources.base import CameraMode, RtspTransport

__all__ = [
    "EventConfig",
    "LiveConfig",
    "Policy",
    "RecordConfig",
    "SourceConfig",
    "WebConfig",
]

Policy = Literal["auto", "latest", "every"]
"""`latest`: the newest frame wins. `every`: none is lost, the source waits. `auto`: the first for
cameras and streams, the second for files."""


def _key(default: Any, wanted: str, allowed: Callable[[Any], object]) -> Any:
    """A key with a limit: in words, and as a test."""
    return field(default=default, metadata={"wanted": wanted, "allowed": allowed})


def _above_0(default: float | None) -> Any:
    return _key(default, "more than 0", lambda v: v > 0)


def _from_0(default: float | None) -> Any:
    return _key(default, "0 or more", lambda v: v >= 0)


@dataclass(frozen=True)
class WebConfig:
    """`[web]`: the page.

    Attributes:
        address: to listen on; others than this machine need the token.
        port: 0 takes any that is free.
        token_file: holds the token.
        hosts: further names by which viewers reach the page: that of a proxy in front of it.
    """

    address: str = "127.0.0.1"
    port: int = _key(8080, "0 to 65535", lambda v: 0 <= v <= 65535)
    token_file: str | None = None
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceConfig:
    """`[[source]]`: one camera, stream, file or folder.

    Attributes:
        name: for people, files and addresses of pages; no two sources share one.
        url: whatever `--source` takes.
        policy: which frames are processed; a file under `latest` plays like a camera.
        max_staleness: seconds; an older frame is not shown. Of no effect with `every`.
        stall_timeout: seconds without a frame after which a live source counts as stalled.
        timeout: seconds that a URL may take to answer, and later for the next frame.
        retry_first: seconds to wait after the first loss; twice as long each time, up to
        retry_most: this many.
        stride: process every so many frames.
        max_fps: at most so many frames a second.
        max_frames: end after so many frames of the source.
        loop: begin a file again at its end.
        fps: frames a second of what has no rate of its own: images and bare streams.
        camera_size, camera_fps: what a webcam or `csi://` camera is asked for: `"1280x720"`, 30.
        rtsp_transport: how RTSP sends its pictures.
        stream: number of the video stream where there are several, from 1.
        corridor, camera_height, horizon, fov: where the road lies, as `--corridor` and so on.
        ignore_mask: picture whose white parts count for nothing: bonnet, wiper, time stamp.
        output: file or folder of the finished pictures.
        raw_output: the same of the pictures without colours; what `blur` hides is hidden there too.
        save_masks: `.mkv` file or folder of the labels.
        timeline: file with a row of read-outs for each frame.
        events: file with a line for each event of a rule.
        event_clips: folder for a clip and a snapshot of each.
        watch_health: look for frozen, black, covered, ... pictures.
        health: from where on a picture counts as frozen, black, covered, ...
    """

    name: str
    url: str
    policy: Policy = "auto"
    max_staleness: float = _above_0(0.3)
    stall_timeout: float = _above_0(2.0)
    timeout: float = _above_0(10.0)
    retry_first: float = _above_0(1.0)
    retry_most: float = _above_0(30.0)
    stride: int = _key(1, "1 or more", lambda v: v >= 1)
    max_fps: float | None = _above_0(None)
    max_frames: int | None = _key(None, "1 or more", lambda v: v >= 1)
    loop: bool = False
    fps: float | None = _key(None, "more than 0, at most 1000", lambda v: 0 < v <= 1000)
    camera_size: str | None = _key(
        None, 'width and height, "1280x720"', lambda v: re.fullmatch("[1-9]\\d*x[1-9]\\d*", v)
    )
    camera_fps: float | None = _above_0(None)
    rtsp_transport: RtspTransport = "auto"
    stream: int | None = _key(None, "1 or more", lambda v: v >= 1)
    corridor: str | None = None
    camera_height: float | None = _above_0(None)
    horizon: float | None = None
    fov: float | None = _above_0(None)
    ignore_mask: str | None = None
    output: str | None = None
    raw_output: str | None = None
    save_masks: str | None = None
    timeline: str | None = None
    events: str | None = None
    event_clips: str | None = None
    watch_health: bool = True
    health: HealthLimits = field(default_factory=HealthLimits)

    @property
    def camera_mode(self) -> CameraMode | None:
        """What a camera is asked for; None for its own choice."""
        if self.camera_size is None and self.camera_fps is None:
            return None
        size_wh = None
        if self.camera_size is not None:
            width, height = self.camera_size.split("x")
            size_wh = (int(width), int(height))
        return CameraMode(size_wh, self.camera_fps)

    @property
    def shown(self) -> str:
        """The URL for people, without passwords."""
        return redact(self.url)

    @cached_property
    def is_file(self) -> bool:
        """Whether it is a file or a folder by its looks: not worth another try when it is gone."""
        return not is_live(self.url) and not is_device(self.url)


@dataclass(frozen=True)
class RecordConfig:
    """`[record]`: rolling files of every source.

    Attributes:
        folder: for the files.
        start: record every source from its first picture on; else when a viewer of the page, or
            the key r in the window, says so.
        segment_minutes: length of a file.
        keep_gb: delete the oldest files beyond this; None deletes nothing.
        min_free_gb: free space of the disk below which nothing is recorded.
        raw: record the picture without colours as well; what `blur` hides is hidden there too.
    """

    folder: str = "recordings"
    start: bool = True
    segment_minutes: float = _above_0(5.0)
    keep_gb: float | None = _above_0(None)
    min_free_gb: float = _from_0(1.0)
    raw: bool = False


@dataclass(frozen=True)
class EventConfig:
    """`[[event]]`: a rule on what the labels say, and the clip around the moment it holds.

    Attributes:
        name: for people and file names.
        rule: such as `"pedestrian in corridor > 0.02"`.
        pre_s: seconds of the clip before the event.
        post_s: seconds after it.
    """

    name: str
    rule: str
    pre_s: float = _from_0(5.0)
    post_s: float = _from_0(10.0)


@dataclass(frozen=True)
class LiveConfig:
    """A whole configuration.

    Attributes:
        source: at least one.
        model, backend, size, threads: as `--model` and so on; None for the default.
        blur, blur_style: what is hidden in every picture before it leaves the program, and how.
        smooth: steady labels over time, one frame late.
        readouts: show what the road says.
        doubt, doubt_limit: as `--doubt` and `--doubt-limit`; costs time.
        group: names for some classes, each `NAME=CLASS,...`.
        palette, view, alpha, legend, hud: how finished pictures look; None for the default.
        web: None serves no page.
        record: None records nothing.
        event: rules.
    """

    source: tuple[SourceConfig, ...]
    model: str | None = None
    backend: str | None = None
    size: str | None = None
    threads: int | None = _key(None, "1 or more", lambda v: v >= 1)
    blur: str | None = None
    blur_style: str = "blur"
    smooth: bool = False
    readouts: bool = False
    doubt: bool = False
    doubt_limit: float | None = _key(None, "more than 0, less than 1", lambda v: 0 < v < 1)
    group: tuple[str, ...] = ()
    palette: str | None = None
    view: str | None = None
    alpha: float | None = _key(None, "0 to 1", lambda v: 0 <= v <= 1)
    legend: bool | None = None
    hud: bool | None = None
    web: WebConfig | None = None
    record: RecordConfig | None = None
    event: tuple[EventConfig, ...] = ()


def only_given(config: Any) -> dict[str, Any]:
    """The fields of a configuration that are not None, and no empty list."""
    return {
        each.name: value
        for each in dataclasses.fields(config)
        if (value := getattr(config, each.name)) is not None and value != ()
    }
