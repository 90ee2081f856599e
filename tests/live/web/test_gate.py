"""Who is let in: Host, Origin, other sites, token; and the headers of every answer."""

from __future__ import annotations

import logging
import re

import pytest
from websockets.exceptions import InvalidStatus

from roadseg.core.errors import UsageError
from roadseg.live.web.gate import is_loopback, known_hosts
from roadseg.live.web.hub import Hub
from tests.support.web import Camera, Page, Serve, get

TOKEN = "correct horse battery"

pytestmark = pytest.mark.usefixtures("no_thread_left")


@pytest.fixture
def locked(serve: Serve) -> Hub:
    return serve(token=TOKEN)


def refused(hub: Hub, **options: object) -> int:
    """The status with which a WebSocket is refused."""
    with pytest.raises(InvalidStatus) as info, Page(hub, **options):
        pass
    return int(info.value.response.status_code)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_alone(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "", "192.168.1.7", "example.org"])
def test_other_machines_too(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]", "127.0.0.1:1", "192.168.1.7:8080"]
)
def test_hosts_of_this_machine_are_answered(hub: Hub, host: str) -> None:
    assert get(hub, "/healthz", Host=host)[0] != 421


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "a:b:c", "["],
)
def test_other_hosts_are_not(hub: Hub, host: str) -> None:
    assert get(hub, "/", Host=host)[0] == 421


def test_further_names_can_be_given(serve: Serve) -> None:
    hub = serve(hosts=["Cams.example"])
    assert get(hub, "/", Host="cams.example")[0] == 200
    assert "cams.example" in known_hosts("127.0.0.1", ["Cams.example"])


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "x:["])
def test_pages_of_others_get_no_socket(hub: Hub, origin: str) -> None:
    assert refused(hub, origin=origin) == 403
    assert get(hub, "/metrics", Origin=origin)[0] == 403


def test_its_own_page_gets_one(hub: Hub) -> None:
    with Page(hub, origin=f"http://127.0.0.1:{hub.port}") as page:
        page.settle()


@pytest.mark.parametrize("path", ["/stream/front.mjpg", "/healthz", "/static/main.js"])
def test_pages_of_others_cannot_embed_anything(hub: Hub, path: str) -> None:
    assert get(hub, path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403


def test_a_link_on_another_page_leads_here(hub: Hub) -> None:
    visit = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert get(hub, "/", **visit, Sec_Fetch_Dest="document")[0] == 200
    assert get(hub, "/", **visit, Sec_Fetch_Dest="iframe")[0] == 403


@pytest.mark.parametrize("path", ["/", "/healthz", "/static/main.js", "/nothing"])
def test_every_answer_has_a_strict_policy(hub: Hub, path: str) -> None:
    headers = get(hub, path)[1]
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


@pytest.mark.parametrize(
    "path", ["/static/../hub.py", "/static/%2e%2e/hub.py", "/static//etc/passwd"]
)
def test_only_files_of_the_page_are_served(hub: Hub, path: str) -> None:
    assert get(hub, path)[0] == 404


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/stream/front.mjpg", "/recordings", "/static/main.js", "/nothing"]
)
def test_without_the_token_nothing_is_shown(locked: Hub, path: str) -> None:
    status, headers, body = get(locked, path)
    assert status == 401
    assert b"front" not in body
    assert "set-cookie" not in headers


def test_without_the_token_there_is_no_socket(locked: Hub) -> None:
    assert refused(locked) == 403
    page_with_token = {"additional_headers": {"Cookie": f"roadseg_{locked.port}=wrong"}}
    assert refused(locked, **page_with_token) == 403


def test_without_the_token_health_names_nothing(locked: Hub) -> None:
    status, _, body = get(locked, "/healthz")
    assert (status, body) == (200, b'{"status":"ok"}')
    assert b"front" in get(locked, "/healthz", Authorization=f"Bearer {TOKEN}")[2]


def test_the_first_visit_leaves_a_cookie_and_the_address_clean(locked: Hub) -> None:
    status, headers, _ = get(locked, "/?token=correct%20horse%20battery&a=1")
    assert (status, headers["location"]) == (303, "/?a=1")
    cookie = headers["set-cookie"]
    assert f"roadseg_{locked.port}=" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "horse" not in cookie
    name_and_value = cookie.split(";")[0]
    assert get(locked, "/", Cookie=name_and_value)[0] == 200
    with Page(locked, additional_headers={"Cookie": name_and_value}) as page:
        page.settle()


def test_the_way_on_never_leads_to_another_machine(locked: Hub) -> None:
    for path in ("//evil.example/", "/\\evil.example/"):
        _, headers, _ = get(locked, f"{path}?token=correct%20horse%20battery")
        assert headers["location"].startswith("/evil.example")


@pytest.mark.parametrize("given", ["wrong", "", "correct%20horse%20batter", "%ff"])
def test_a_wrong_token_is_refused(locked: Hub, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadseg.live.web.gate._WRONG_TOKEN_S", 0.0)
    status, headers, body = get(locked, f"/?token={given}")
    assert status == 401
    assert "set-cookie" not in headers
    assert b"<form" in body
    assert get(locked, "/metrics", Authorization=f"Bearer {given}")[0] == 401


def test_programs_send_the_token_in_a_header(locked: Hub) -> None:
    assert get(locked, "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
    with Page(locked, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as page:
        page.settle()


def test_beyond_this_machine_a_token_is_made(cameras: list[Camera]) -> None:
    stations = [camera.station for camera in cameras]
    one, other = Hub(stations, "0.0.0.0", 8080), Hub(stations, "0.0.0.0", 8080)
    assert one.token is not None
    assert len(one.token) >= 20
    assert one.token != other.token
    assert one.visit_url == f"{one.url}?token={one.token}"
    assert one.token not in one.url


def test_an_address_for_people_holds_no_token_that_they_have_given(cameras: list[Camera]) -> None:
    hub = Hub([camera.station for camera in cameras], "0.0.0.0", 8080, token=TOKEN)
    assert hub.token == TOKEN
    assert hub.visit_url == hub.url


def test_on_this_machine_none_is_needed(hub: Hub) -> None:
    assert hub.token is None
    assert hub.visit_url == f"http://127.0.0.1:{hub.port}/"


def test_a_short_token_is_refused(cameras: list[Camera]) -> None:
    with pytest.raises(UsageError, match="fewer than 8 characters"):
        Hub([camera.station for camera in cameras], token="secret")


def test_the_token_stands_in_no_log(locked: Hub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    get(locked, "/?token=correct%20horse%20battery")
    get(locked, "/healthz", Authorization=f"Bearer {TOKEN}")
    with pytest.raises(InvalidStatus), Page(locked) as page:
        page.settle()
    own = [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")]
    assert not re.search("horse|battery", " ".join(own))
