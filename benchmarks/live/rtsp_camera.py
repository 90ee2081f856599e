"""A camera over RTSP, by GStreamer's own server; for Debian's Python, which has its bindings.

    apt install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-ugly
    /usr/bin/python3 benchmarks/live/rtsp_camera.py --port 8554 --user me --password secret

The pictures are a moving bar; the moment stands in each as `benchmarks.live.cameras` writes it.
Needs nothing of roadseg. Ctrl-C or a kill ends it, as a camera ends whose power is cut.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

BITS, BLOCK_PX = 32, 16


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--width", type=int, default=960)
    parser.add_argument("--height", type=int, default=540)
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--key-every", type=int, default=25, help="pictures from key to key")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds before each key picture")
    parser.add_argument("--freeze-after", type=float, default=0.0, help="the same from then on")
    parser.add_argument("--silent-after", type=float, default=0.0, help="nothing from then on")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    arguments = parser.parse_args()

    import gi  # type: ignore[import-not-found, unused-ignore]

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import (  # type: ignore[import-not-found, unused-ignore]
        GLib,
        Gst,
        GstRtspServer,
    )

    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=str(arguments.port))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    caps = (
        f"video/x-raw,format=BGRx,width={arguments.width},height={arguments.height},"
        f"framerate={round(arguments.fps)}/1"
    )
    factory.set_launch(
        f"( appsrc name=camera is-live=true do-timestamp=true format=time caps={caps} ! "
        "videoconvert ! video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast "
        f"key-int-max={arguments.key_every} bitrate=6000 ! rtph264pay name=pay0 pt=96 )"
    )
    factory.connect("media-configure", lambda _, media: feed(Gst, GLib, media, arguments))
    if arguments.user:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        basic = GstRtspServer.RTSPAuth.make_basic(arguments.user, arguments.password)
        auth.add_basic(basic, token)
        server.set_auth(auth)
        access = {"media.factory.access": True, "media.factory.construct": True}
        role = Gst.Structure.new_empty("viewer")
        for name, value in access.items():
            role.set_value(name, value)
        factory.add_role_from_structure(role)
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    print(f"rtsp://127.0.0.1:{arguments.port}/camera", flush=True)
    GLib.MainLoop().run()


def feed(gst: Any, glib: Any, media: Any, arguments: argparse.Namespace) -> None:
    """Push pictures into a medium as they are due, for as long as it takes them."""
    source = media.get_element().get_child_by_name("camera")
    began_s = time.monotonic()
    width, height = arguments.width, arguments.height
    grounds = [ground(width, height, step * width // 16) for step in range(16)]
    index = 0
    last = b""

    def push() -> bool:
        nonlocal index, last
        spent_s = time.monotonic() - began_s
        if arguments.silent_after and spent_s > arguments.silent_after:
            return False
        if not (arguments.freeze_after and spent_s > arguments.freeze_after):
            last = with_code(grounds[index % 16], width, time.time_ns() // 1_000_000)
        if source.emit("push-buffer", gst.Buffer.new_wrapped(last)) != gst.FlowReturn.OK:
            return False
        index += 1
        due_s = 1 / arguments.fps
        if index % arguments.key_every == 0:
            due_s += arguments.pause
        glib.timeout_add(round(1000 * due_s), push)
        return False

    glib.idle_add(push)


def ground(width: int, height: int, at: int) -> bytes:
    """A grey picture with a bright bar."""
    bar = width // 16
    row = b"\x60\x60\x60\x00" * at + b"\xc0\xd0\xe0\x00" * bar
    row += b"\x60\x60\x60\x00" * (width - at - bar)
    return row[: width * 4] * height


def with_code(picture: bytes, width: int, milliseconds: int) -> bytes:
    """The picture with the moment along its top."""
    levels = (
        b"\xff\xff\xff\x00" if milliseconds >> (BITS - 1 - i) & 1 else b"\0\0\0\0"
        for i in range(BITS)
    )
    code = b"".join(level * BLOCK_PX for level in levels)
    rows = bytearray(picture)
    for y in range(BLOCK_PX):
        rows[y * width * 4 : y * width * 4 + len(code)] = code
    return bytes(rows)


if __name__ == "__main__":
    main()
