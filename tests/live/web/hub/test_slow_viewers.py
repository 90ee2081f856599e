"""Viewers that take nothing, or come and go, cost the others nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

import pytest
from websockets.exceptions import ConnectionClosed

from roadseg.live.web import viewer
from roadseg.live.web.hub import Hub
from tests.support.live import eventually
from tests.support.web import Camera, Page, drain

pytestmark = pytest.mark.usefixtures("no_thread_left")


def test_viewers_that_never_acknowledge_cost_others_nothing(
    hub: Hub, cameras: list[Camera]
) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Page(hub)) for _ in range(5)]
        for page in silent:
            page.watch(0, 1)
            page.settle()
        with Page(hub) as good:
            good.watch(0)
            good.settle()
            for number in range(20):
                cameras[0].show()
                frame = good.frame()
                assert frame.number == number
                good.ack(frame)
        assert hub.counts.frames == 20 + 5


def test_one_that_acknowledges_nothing_is_cut_off(
    hub: Hub, cameras: list[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "_ACKNOWLEDGE_S", 0.1)
    with Page(hub) as page:
        page.watch(0)
        page.settle()
        assert hub.viewers == 1
        cameras[0].show()
        eventually(lambda: hub.viewers == 0)
        assert hub.counts.refused == 1
        assert hub.feeds[0].newest is None
        with pytest.raises(ConnectionClosed):
            drain(page)


def test_coming_and_going_leaves_nothing_behind(hub: Hub, cameras: list[Camera]) -> None:
    cameras[0].show()
    with Page(hub) as page:
        page.watch(0)
        page.frame()
    eventually(lambda: hub.viewers == 0)
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for i in range(30):
        with Page(hub) as page:
            page.watch(0)
            page.frame()
            if i % 2:
                page.socket.socket.shutdown(socket.SHUT_RDWR)  # gone without a word
    eventually(lambda: hub.viewers == 0)
    eventually(lambda: threading.active_count() <= threads + 1)  # a second compressor
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
    assert hub.feeds[0].newest is None
