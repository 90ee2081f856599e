"""The MJPEG stream: finished pictures, for as long as somebody takes them."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest

from roadseg.live.events import CameraState, LossReason
from roadseg.live.web import gate
from roadseg.live.web.hub import Hub
from tests.support.live import PATIENCE_S, eventually
from tests.support.web import Camera, get

pytestmark = pytest.mark.usefixtures("no_thread_left")


def test_the_stream_is_finished_pictures_made_while_watched(
    hub: Hub, cameras: list[Camera]
) -> None:
    import http.client

    cv2 = pytest.importorskip("cv2")
    drawn = hub._mjpegs["front"]
    cameras[0].show(shade=100, class_id=8)
    assert drawn.drawn == 0
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=PATIENCE_S)
    connection.request("GET", "/stream/front.mjpg")
    answer = connection.getresponse()
    assert answer.getheader("content-type") == "multipart/x-mixed-replace; boundary=roadseg"

    def picture() -> np.ndarray:
        assert answer.readline() == b"--roadseg\r\n"
        assert answer.readline() == b"Content-Type: image/jpeg\r\n"
        length = int(answer.readline().split(b":")[1])
        assert answer.readline() == b"\r\n"
        jpeg = answer.read(length)
        assert answer.readline() == b"\r\n"
        return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))

    live = picture()
    assert live.shape == (96, 160, 3)
    # Half of the frame, half of a car's colour.
    assert np.abs(live[80, 20].astype(int) - [178, 96, 67]).max() < 8
    for number, shade in enumerate((200, 50, 120), 2):
        cameras[0].show(shade=shade, class_id=8)
        # One picture more where the one before was repeated meanwhile.
        assert any(abs(int(picture()[80, 20, 0]) - shade / 2 - 128) < 8 for _ in range(60))
        assert drawn.drawn == number
    cameras[0].change(CameraState.LOST, LossReason.REFUSED)
    lost = picture()
    while lost.mean() > 60:
        lost = picture()
    assert drawn.drawn == 5
    picture()  # repeated, not drawn again
    assert drawn.drawn == 5
    connection.sock.close()
    answer.close()
    connection.close()
    eventually(lambda: hub.feeds[0].newest is None)
    assert get(hub, "/stream/nobody.mjpg")[0] == 404


def test_a_program_that_takes_nothing_is_cut_off(
    hub: Hub, cameras: list[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_STALL_S", 0.2)
    noise = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), np.uint8)
    with socket.create_connection(("127.0.0.1", hub.port), PATIENCE_S) as stuck:
        stuck.sendall(b"GET /stream/front.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: hub.feeds[0]._news != set())
        ends_s = time.monotonic() + PATIENCE_S
        while hub.feeds[0]._news and time.monotonic() < ends_s:
            cameras[0].show(image_bgr=noise)
            time.sleep(0.02)
        assert not hub.feeds[0]._news
