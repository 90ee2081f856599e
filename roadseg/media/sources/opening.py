"""Where frames come from: one function that opens whatever `--source` names."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import get_args

from roadseg.core.errors import SourceError, UsageError, unreadable
from roadseg.core.wording import option
from roadseg.media.picture_file import is_animated
from roadseg.media.sources import places
from roadseg.media.sources.base import CameraMode, RtspTransport, Source
from roadseg.media.sources.places import Images

__all__ = ["check_fps", "open_source"]

_MOST_FPS = 1000


def open_source(
    spec: str,
    *,
    loop: bool = False,
    timeout_s: float = 10.0,
    max_frames: int | None = None,
    fps: Fraction | None = None,
    rtsp_transport: RtspTransport = "auto",
    stream: int | None = None,
    camera: CameraMode | None = None,
    planar: bool = False,
    threads: int | None = None,
) -> Source:
    """Open whatever `spec` names, and read its first frame.

    Args:
        spec: path of a video file, an image or a folder of images; a glob of images such as
            `"drive/*.png"`; a webcam's number (`"0"`) or device (`"/dev/video0"`, or a link to
            it such as those in /dev/v4l/by-id); a URL; `csi://0`, a Jetson's camera; a pipeline of
            GStreamer without its sink, such as `"v4l2src ! videoconvert"`. What exists wins over
            all else.
        loop: start again at the end, with times and numbers going on; no effect on live sources.
        timeout_s: how long a URL may take to answer, and later to send the next frame.
        max_frames: `read` returns None after so many frames.
        fps: frames per second of what has no rate of its own: images, and bare video streams.
        rtsp_transport: see `roadseg.media.sources.network.open_url`.
        camera: what a webcam or a Jetson's camera is asked for.
        stream: number of the video stream to read where there are several (front and rear
            camera), from 1; None for the first that is no preview.
        planar: pictures may come in planes; video files give them so where they can.
        threads: that decode a file; None: as many as help.

    Raises:
        SourceError: it is missing, unreadable, or does not answer.
        UsageError: `max_frames`, `timeout_s` or `fps` is not positive, or the source has a rate
            of its own.
    """
    if max_frames is not None and max_frames < 1:
        raise UsageError(
            f"cannot process {max_frames} frames", fix=f"use {option('--max-frames', 1)} or more"
        )
    if timeout_s <= 0:
        raise UsageError(f"a time limit of {timeout_s:g} s is none", fix="give a positive number")
    if fps is not None and not 0 < fps <= _MOST_FPS:
        raise UsageError(
            f"{option('--fps', round(float(fps), 6))} cannot be",
            fix=f"give a rate above 0 and at most {_MOST_FPS}",
        )
    if rtsp_transport not in get_args(RtspTransport):
        raise UsageError(
            f"unknown {option('--rtsp-transport')} {rtsp_transport!r}",
            fix=f"use {'|'.join(get_args(RtspTransport))}",
        )
    place = places.find(spec)
    cameras = (places.Camera, places.Csi, places.Pipeline)
    if stream is not None and isinstance(place, (*cameras, places.Images)):
        raise UsageError(
            f"{option('--stream')} chooses among the videos in one file or URL; {place.name} "
            "has no others",
            fix="leave it out",
        )
    if fps is not None:
        check_fps(place)
    if isinstance(place, places.Camera):
        from roadseg.media.sources.camera import CameraSource

        return CameraSource(place.index, mode=camera, max_frames=max_frames)
    if isinstance(place, places.Csi):
        from roadseg.media.sources.gstreamer import open_csi

        return open_csi(place, mode=camera, max_frames=max_frames, timeout_s=timeout_s)
    if isinstance(place, places.Pipeline):
        from roadseg.media.sources.gstreamer import open_pipeline

        return open_pipeline(place.elements, place.name, max_frames=max_frames)
    if isinstance(place, places.Url):
        from roadseg.media.sources.network import open_url

        return open_url(
            place.url,
            loop=loop,
            timeout_s=timeout_s,
            max_frames=max_frames,
            rtsp_transport=rtsp_transport,
            stream=stream,
        )
    if isinstance(place, places.Images):
        return _open_images(place, loop=loop, max_frames=max_frames, fps=fps)
    from roadseg.media.sources.file import open_file

    source = open_file(
        place.path,
        loop=loop,
        max_frames=max_frames,
        fps=fps,
        stream=stream,
        planar=planar,
        threads=threads,
    )
    source.warnings += place.notes
    return source


def check_fps(place: places.Place) -> None:
    """Refuse a rate for what has its own. Raises `UsageError`."""
    if isinstance(place, (places.Camera, places.Csi, places.Pipeline, places.Url)):
        raise UsageError(
            f"{option('--fps')} is for images and bare streams; {place.name} has its own rate",
            fix="leave it out",
        )


def _open_images(
    place: Images, *, loop: bool, max_frames: int | None, fps: Fraction | None
) -> Source:
    from roadseg.media.sources.animation import open_animation
    from roadseg.media.sources.images import ImageSource

    if place.path is not None and place.paths == (place.path,) and _animated(place.path):
        if fps is not None:
            raise UsageError(
                f"{option('--fps')} is for images and bare streams; {place.name} is animated "
                "and has its own rate",
                fix="leave it out",
            )
        source = open_animation(place.path, loop=loop, max_frames=max_frames)
        source.warnings += place.notes
        return source
    return ImageSource(
        place.paths,
        place.name,
        path=place.path,
        loop=loop,
        max_frames=max_frames,
        rate=fps,
        warnings=place.notes,
    )


def _animated(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_animated(file)
    except OSError as exc:
        raise unreadable(SourceError, path, exc) from exc
