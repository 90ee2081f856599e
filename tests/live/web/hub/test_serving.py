"""The server begins and ends: addresses, ports, and viewers that find it again."""

from __future__ import annotations

import pytest

from roadseg.core.errors import UsageError
from roadseg.live.web import serve as serve_page
from roadseg.live.web.hub import Hub
from tests.support.web import Camera, Page, Serve, closed, get

pytestmark = pytest.mark.usefixtures("no_thread_left")


def test_viewers_are_told_when_it_ends_and_find_it_again(
    serve: Serve, cameras: list[Camera]
) -> None:
    hub = serve()
    with Page(hub) as page:
        page.settle()
        hub.stop()
        assert closed(page) == 1012
    cameras[0].show()  # nobody is there
    again = serve(port=hub.port)
    with Page(again) as page:
        page.settle()


def test_results_go_on_when_the_page_is_gone(serve: Serve, cameras: list[Camera]) -> None:
    hub = serve()
    with Page(hub) as page:
        page.watch(0)
        page.settle()
        hub.stop()
        for _ in range(5):
            cameras[0].show()
    assert cameras[0].station.tally.shown == 5


def test_a_port_that_is_taken_is_named(hub: Hub, serve: Serve) -> None:
    with pytest.raises(
        UsageError, match=f"127.0.0.1:{hub.port}: address already in use: free the port"
    ):
        serve(port=hub.port)


def test_an_address_of_another_machine_is_refused(serve: Serve) -> None:
    with pytest.raises(UsageError, match="at 192.0.2.1:0: .*: give an address of this"):
        serve(address="192.0.2.1")


def test_the_context_manager_serves_and_ends(cameras: list[Camera]) -> None:
    with serve_page([camera.station for camera in cameras], port=0) as hub:
        status, _, body = get(hub, "/")
        assert status == 200
        assert b"<title>roadseg</title>" in body
    with pytest.raises(OSError, match="refused"):
        get(hub, "/")
