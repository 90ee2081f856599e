"""RTSP over TCP or UDP, against a server on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from roadseg.core.errors import SourceError
from roadseg.media.sources.opening import open_source
from tests.support.rtsp import RtspServer

_SECRET = "hunter2"
_NO_TCP = {"RTP/AVP/TCP": "461 Unsupported Transport"}
_NOTHING = {"RTP/AVP": "461 Unsupported Transport"}


@pytest.fixture
def rtsp() -> Iterator[Callable[[dict[str, str]], RtspServer]]:
    servers: list[RtspServer] = []

    def start(refuse: dict[str, str]) -> RtspServer:
        servers.append(RtspServer(refuse))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def asked_for(server: RtspServer) -> list[str]:
    return ["TCP" if "TCP" in r else "UDP" for r in server.requests if r.startswith("SETUP")]


@pytest.mark.parametrize("refusal", ["461 Unsupported Transport", "400 Bad Request", "500 Oops"])
def test_rtsp_that_refuses_tcp_plays_over_udp(
    rtsp: Callable[..., RtspServer], refusal: str
) -> None:
    server = rtsp({"RTP/AVP/TCP": refusal})
    url = f"rtsp://u:{_SECRET}@127.0.0.1:{server.port}/live"
    with open_source(url, timeout_s=20, max_frames=3) as source:
        assert (source.info.kind, source.info.size_hw) == ("live", (48, 64))
        assert source.info.name == f"rtsp://***@127.0.0.1:{server.port}/live"
        assert len(list(iter(source.read, None))) == 3
    assert asked_for(server) == ["TCP", "UDP"]


def test_rtsp_over_udp_alone(rtsp: Callable[..., RtspServer]) -> None:
    server = rtsp({})
    url = f"rtsp://127.0.0.1:{server.port}/live"
    with open_source(url, timeout_s=20, max_frames=1, rtsp_transport="udp") as source:
        assert source.read() is not None
    assert asked_for(server) == ["UDP"]


@pytest.mark.parametrize(
    ("transport", "refuse", "asked", "tried"),
    [
        ("tcp", _NO_TCP, ["TCP"], "TCP"),
        ("udp", _NOTHING, ["UDP"], "UDP"),
        ("auto", _NOTHING, ["TCP", "UDP"], "TCP and UDP"),
    ],
)
def test_a_failure_says_over_what_rtsp_was_tried(
    rtsp: Callable[..., RtspServer],
    transport: str,
    refuse: dict[str, str],
    asked: list[str],
    tried: str,
) -> None:
    server = rtsp(refuse)
    with pytest.raises(SourceError) as caught:
        open_source(
            f"rtsp://127.0.0.1:{server.port}/x",
            rtsp_transport=transport,  # type: ignore[arg-type]
        )
    assert str(caught.value) == (
        f"cannot open rtsp://127.0.0.1:{server.port}/x: it refuses this transport (tried RTSP "
        f'over {tried}): try rtsp_transport="tcp"|"udp", or check '
        "the camera's RTSP settings"
    )
    assert asked_for(server) == asked


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("401 Unauthorized", "check the user name and password in the URL"),
        ("404 Not Found", "check the path in the URL"),
    ],
)
def test_rtsp_that_refuses_the_caller_is_not_asked_twice(
    rtsp: Callable[..., RtspServer], status: str, why: str
) -> None:
    server = rtsp({"RTP/AVP": status})
    with pytest.raises(SourceError) as caught:
        open_source(f"rtsp://u:p%23{_SECRET}@127.0.0.1:{server.port}/x")
    assert str(caught.value).endswith(f"(tried RTSP over TCP): {why}")
    assert asked_for(server) == ["TCP"]


@pytest.mark.parametrize("character", list("@:%"))
def test_special_characters_in_the_password_are_explained_where_opening_fails(
    rtsp: Callable[..., RtspServer], character: str
) -> None:
    server = rtsp({"RTP/AVP": "401 Unauthorized"})
    with pytest.raises(SourceError) as caught:
        open_source(f"rtsp://u:p{character}{_SECRET}@127.0.0.1:{server.port}/x")
    assert _SECRET not in str(caught.value)
    assert "(percent-encoded)" in str(caught.value)
