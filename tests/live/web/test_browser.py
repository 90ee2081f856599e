"""The page in a real browser: moving pictures, and choices that are the viewer's own."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from roadseg.live.events import CameraState, LossReason
from roadseg.live.web.hub import Hub
from tests.support.live import PATIENCE_S, eventually
from tests.support.web import Camera, Line, Serve

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

Open = Callable[..., Any]


@contextmanager
def browser(*args: str) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # Software rendering: machines that run tests have no graphics.
        flags = ["--no-sandbox", "--enable-unsafe-swiftshader", *args]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            yield chromium
        finally:
            chromium.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as made:
        yield made


def open_page(
    chromium: Any,
    hub: Hub | Line,
    size: dict[str, int] = DESKTOP,
    part: str = "",
    **options: Any,
) -> Any:
    page = chromium.new_context(viewport=size, **options).new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on(
        "console",
        lambda message: message.type == "error" and page.faults.append(message.text),
    )
    page.goto(f"{hub.url}#{part}")
    page.wait_for_selector("#link[data-state=connected]")
    return page


@pytest.fixture
def open_it(chromium: Any) -> Iterator[Open]:
    pages: list[Any] = []

    def open_one(hub: Hub | Line, size: dict[str, int] = DESKTOP, **options: Any) -> Any:
        pages.append(open_page(chromium, hub, size, **options))
        return pages[-1]

    yield open_one
    for page in pages:
        page.context.close()


def shows(page: Any, number: int) -> None:
    """Wait until the large camera shows a result."""
    page.wait_for_selector(f"#large canvas[data-number='{number}']")


def pixel(page: Any, x: float = 0.5, y: float = 0.5) -> list[int]:
    """Red, green, blue in the large picture."""
    colour: list[int] = page.evaluate(
        """([x, y]) => {
            const canvas = document.querySelector("#large canvas");
            const at = [Math.floor(canvas.width * x), Math.floor(canvas.height * y)];
            return [...canvas.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3);
        }""",
        [x, y],
    )
    return colour


def near(colour: list[int], wanted: list[float], within: int = 6) -> bool:
    return bool(np.abs(np.array(colour) - wanted).max() <= within)


def watched(hub: Hub) -> None:
    eventually(lambda: bool(hub.feeds[0]._news))


def test_pictures_move_in_step_with_their_numbers(
    serve: Serve, cameras: list[Camera], open_it: Open
) -> None:
    hub = serve(palette="camvid")
    page = open_it(hub)
    page.click("[data-view=camera]")
    watched(hub)
    for number in range(5):
        shade = 40 + 30 * number
        cameras[0].show(shade=shade)
        shows(page, number)
        assert near(pixel(page), [shade] * 3)
    assert page.evaluate("document.body.dataset.painter") == "WebGL"
    assert page.faults == []


def test_what_a_viewer_chooses_acts_at_once_and_is_no_work_for_the_server(
    serve: Serve, cameras: list[Camera], open_it: Open
) -> None:
    hub = serve(palette="camvid")
    page = open_it(hub)
    watched(hub)
    cameras[0].show(shade=100, class_id=3)
    shows(page, 0)
    road = np.array([128, 64, 128])
    assert near(pixel(page), list((100 + road) / 2))
    sent = (hub.counts.frames, hub.counts.bytes, hub.feeds[0].encodings)
    page.click("#classes label:has-text('road')")
    assert near(pixel(page), [100, 100, 100])
    page.click("#classes label:has-text('road')")
    assert near(pixel(page), list((100 + road) / 2))
    page.fill("#opacity", "100")
    assert near(pixel(page), list(road))
    page.select_option("#palette", "street")
    assert near(pixel(page), [45, 35, 90])
    page.click("[data-view=both]")
    assert near(pixel(page, 0.25), [100, 100, 100])
    assert near(pixel(page, 0.75), [45, 35, 90])
    page.click("[data-view=mask]")
    assert pixel(page) == [45, 35, 90]
    page.hover("#large canvas")
    assert page.inner_text("#large .probe") == "road"
    with page.expect_download() as download:
        page.click("#snapshot")
    assert download.value.suggested_filename == "front-000000.png"
    assert (hub.counts.frames, hub.counts.bytes, hub.feeds[0].encodings) == sent
    page.click("#freeze")
    cameras[0].show(shade=200, class_id=4)
    eventually(lambda: hub.counts.frames == sent[0] + 1)
    assert page.get_attribute("#large canvas", "data-number") == "0"
    page.click("#freeze")
    cameras[0].show(shade=200, class_id=4)
    shows(page, 2)
    # Choices outlast the visit.
    page.reload()
    page.wait_for_selector("#views [data-view=mask][aria-checked=true]")
    assert page.faults == []


@pytest.mark.parametrize(
    ("typed", "chosen"), [("%", "front"), ("rear%", "front"), ("rear", "rear")]
)
def test_any_name_may_be_typed_into_the_address(
    hub: Hub, cameras: list[Camera], open_it: Open, typed: str, chosen: str
) -> None:
    page = open_it(hub, part=typed)
    watched(hub)
    for camera in cameras:
        camera.show()
    shows(page, 0)
    page.wait_for_selector(f"#large .tile[data-camera={chosen}][data-state=live]")
    assert page.faults == []


def test_a_camera_may_be_called_like_what_is_half_of_an_escape(chromium: Any) -> None:
    camera = Camera("50%")
    camera.change(CameraState.LIVE)
    hub = Hub([Camera("front").station, camera.station], port=0)
    hub.start()
    try:
        for part in ("50%", "50%25"):
            page = open_page(chromium, hub, part=part)
            page.wait_for_selector("#large .tile[data-camera='50%'][data-state=live]")
            page.context.close()
    finally:
        hub.stop()


def test_a_snapshot_has_the_number_of_its_picture(
    hub: Hub, cameras: list[Camera], open_it: Open
) -> None:
    page = open_it(hub)
    watched(hub)
    cameras[0].show()
    shows(page, 0)
    # As slow as a large picture is on a small machine: the next frame is there first.
    page.evaluate(
        """() => {
            const encode = HTMLCanvasElement.prototype.toBlob;
            HTMLCanvasElement.prototype.toBlob = function (done, ...rest) {
                const waits = (blob) => {
                    if (this.dataset.number === "1") done(blob);
                    else setTimeout(waits, 10, blob);
                };
                encode.call(this, waits, ...rest);
            };
        }"""
    )
    with page.expect_download() as download:
        page.click("#snapshot")
        cameras[0].show()
    assert page.get_attribute("#large canvas", "data-number") == "1"
    assert download.value.suggested_filename == "front-000000.png"
    assert page.faults == []


def test_cameras_are_chosen_and_lost_ones_say_so(
    hub: Hub, cameras: list[Camera], open_it: Open
) -> None:
    page = open_it(hub)
    watched(hub)
    for camera in cameras:
        camera.show()
    cameras[1].change(CameraState.LOST, LossReason.LOGIN)
    page.wait_for_selector("#tiles .tile[data-camera=rear][data-state=lost]")
    page.focus("#tiles .tile[data-camera=rear]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#large .tile[data-camera=rear]")
    assert "lost (login) since" in page.inner_text("#large .note")
    # Neither the next attempt nor its end makes the picture bright, or starts the time anew.
    note = page.inner_text("#large .note")
    for state in (CameraState.WAITING, CameraState.CONNECTING):
        cameras[1].change(state, LossReason.LOGIN if state is CameraState.WAITING else None)
        page.wait_for_selector(f"#large .tile.dark[data-state={state.value}]")
        assert page.inner_text("#large .note") == note
    page.wait_for_selector("#events li[data-kind=lost]:has-text('rear')")
    page.keyboard.press("1")
    page.wait_for_selector("#large .tile[data-camera=front]")
    page.focus("#large canvas")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#large .probe") == "road"
    page.wait_for_selector("#large canvas[aria-label^='front: live; road 100%']")
    page.wait_for_selector("#charts canvas")
    assert page.faults == []


def test_a_page_that_is_left_open_finds_the_server_again(
    serve: Serve, cameras: list[Camera], open_it: Open
) -> None:
    hub = serve()
    page = open_it(hub)
    hub.stop()
    page.wait_for_selector("body.gone")
    again = serve(port=hub.port)
    page.wait_for_selector("#link[data-state=connected]")
    watched(again)
    cameras[0].show()
    shows(page, 0)
    page.wait_for_selector("body:not(.gone)")


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_a_line_that_dies_without_a_word_is_no_live_picture(
    hub: Hub, cameras: list[Camera], open_it: Open, size: dict[str, int]
) -> None:
    line = Line(hub)
    try:
        page = open_it(line, size, reduced_motion="reduce")
        watched(hub)
        cameras[0].show()
        shows(page, 0)
        canvas = page.locator("#large canvas")
        page.wait_for_selector("#large canvas[aria-label^='front: live']")
        page.evaluate(
            "document.querySelectorAll('details').forEach((each) => { each.open = true })"
        )
        state, age = (page.locator(f"#figures dt:has-text('{x}') + dd") for x in ("State", "here"))
        assert state.inner_text().startswith("live")
        line.cut()
        page.wait_for_selector("body.gone")
        assert page.inner_text("#large .note").startswith("no connection since ")
        assert canvas.get_attribute("aria-label").startswith("front: no connection since ")
        assert state.inner_text().startswith("no connection since ")
        assert age.inner_text() == "-"
        assert not page.is_visible("#large .numbers")
        assert "brightness(0.35)" in canvas.evaluate("canvas => getComputedStyle(canvas).filter")
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        # An attempt that gets no answer either makes nothing bright.
        page.wait_for_selector("#link[data-state=connecting]")
        assert page.locator("body.gone").count() == 1
        line.mend()
        page.wait_for_selector("#link[data-state=connected]")
        page.wait_for_selector("body:not(.gone)")
        watched(hub)
        cameras[0].show()
        shows(page, 1)
        page.wait_for_selector("#large canvas[aria-label^='front: live']")
        assert "no connection" not in page.inner_text("#large .note")
        assert state.inner_text().startswith("live")
        # The browser's own words on the attempt that got no answer are none of the page's.
        assert [fault for fault in page.faults if "handshake" not in fault] == []
    finally:
        line.close()


CLOCK = """
    let now = 1000;
    const timers = new Map();
    const add = (timer) => timers.set(timers.size + 1, timer).size;
    window.sockets = [];
    window.states = [];
    performance.now = () => now;
    window.setTimeout = (act, ms) => add({ at: now + ms, act });
    window.setInterval = (act, every) => add({ at: now + every, act, every });
    window.clearTimeout = (id) => { if (timers.has(id)) timers.get(id).at = Infinity; };
    window.WebSocket = class Socket {
        static CONNECTING = 0;
        static OPEN = 1;
        readyState = 0;
        constructor() { sockets.push(this); }
        accept() { this.readyState = 1; this.onopen(); }
        says(type) { this.onmessage?.({ data: JSON.stringify({ type }) }); }
        send() {}
        close() { this.readyState = 2; }
    };
    // The clock leaps, as in sleep: what is due runs once, however late it is.
    window.leap = (ms) => {
        now += ms;
        for (const each of timers.values()) {
            if (each.at > now) continue;
            each.at = each.every ? now + each.every : Infinity;
            each.act();
        }
    };
    window.pass = (ms, each = () => {}) => {
        for (const ends = now + ms; now < ends;) { leap(100); each(); }
    };
    const { Link } = await import("/static/link.js");
    window.link = new Link();
    link.addEventListener("state", ({ detail }) => states.push(detail));
    link.open();
"""


@pytest.mark.parametrize(
    ("script", "states", "sockets"),
    [
        # It is open, and who has opened it says nothing.
        ("sockets[0].accept(); pass(4000)", [], 1),
        ("sockets[0].accept(); pass(6000)", ["gone", "connecting"], 2),
        # Nobody opens it.
        ("pass(9000)", [], 1),
        ("pass(11000)", ["gone", "connecting"], 2),
        # It was well for long.
        ("hello(); pass(60000, talk); pass(4000)", ["connected"], 1),
        ("hello(); pass(60000, talk); pass(6000)", ["connected", "gone", "connecting"], 2),
        # The page slept: what came meanwhile is read after the first look.
        ("hello(); leap(3.6e6); talk(); pass(4000)", ["connected"], 1),
        ("hello(); leap(3.6e6); link.open(); pass(1500); talk(); pass(4000)", ["connected"], 1),
        ("hello(); leap(3.6e6); pass(3000)", ["connected", "gone", "connecting"], 2),
        # A hidden page looks once a minute.
        (
            "hello(); for (let i = 0; i < 9; i++) { leap(6e4); talk(); } pass(4000)",
            ["connected"],
            1,
        ),
        # Asked for again, it waits for no look.
        ("hello(); pass(5000); link.open()", ["connected", "gone", "connecting"], 2),
        # A line whose messages take 8 s each is slow, not dead.
        (
            "hello(); pass(6000); hello(1); for (let i = 0; i < 9; i++) { pass(8000); talk(1); }",
            ["connected", "gone", "connecting", "connected"],
            2,
        ),
        # It is fast again: so is the page.
        (
            "hello(); pass(6000); hello(1); pass(40000, () => talk(1)); pass(6000)",
            ["connected", "gone", "connecting", "connected", "gone", "connecting"],
            3,
        ),
    ],
)
def test_silence_ends_a_connection_and_sleep_does_not(
    hub: Hub, chromium: Any, script: str, states: list[str], sockets: int
) -> None:
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.goto(f"{hub.url}healthz")
        got = page.evaluate(
            f"""async () => {{
                {CLOCK}
                const talk = (i = 0) => sockets[i].says("status");
                const hello = (i = 0) => {{ sockets[i].accept(); sockets[i].says("hello"); }};
                {script};
                return [states, sockets.length];
            }}"""
        )
    finally:
        context.close()
    assert got == [["connecting", *states], sockets]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_works_on_a_phone(hub: Hub, cameras: list[Camera], open_it: Open, scheme: str) -> None:
    page = open_it(hub, PHONE, color_scheme=scheme, has_touch=True, is_mobile=True)
    watched(hub)
    cameras[0].show()
    shows(page, 0)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    box = page.locator("#large canvas").bounding_box()
    assert box["width"] == pytest.approx(PHONE["width"], abs=1)
    assert box["y"] + box["height"] < PHONE["height"] / 2
    heights = page.eval_on_selector_all("#views button", "all => all.map((b) => b.offsetHeight)")
    assert len(set(heights)) == 1
    assert max(heights) <= 44, "their names fit"
    page.tap("[data-view=mask]")
    assert pixel(page) == [45, 35, 90]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"dark": "rgb(16, 18, 22)", "light": "rgb(243, 244, 247)"}[scheme]
    assert page.faults == []


def test_a_token_in_the_link_is_needed_once(
    serve: Serve, cameras: list[Camera], chromium: Any
) -> None:
    hub = serve(token="correct horse battery")
    context = chromium.new_context(viewport=DESKTOP)
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.goto(hub.url)
        page.fill("input[name=token]", "correct horse battery")
        page.click("button")
        page.wait_for_selector("#link[data-state=connected]")
        assert "token" not in page.url
        page.goto(hub.url)
        page.wait_for_selector("#link[data-state=connected]")
    finally:
        context.close()


def test_without_webgl_the_page_draws_by_hand(
    serve: Serve, cameras: list[Camera], chromium: Any
) -> None:
    hub = serve(palette="camvid")
    context = chromium.new_context(viewport=DESKTOP)
    context.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        " return kind.startsWith('webgl') ? null : get.call(this, kind, ...rest); };"
    )
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.goto(hub.url)
        watched(hub)
        cameras[0].show(shade=100, class_id=3)
        shows(page, 0)
        assert page.evaluate("document.body.dataset.painter") == "2D"
        assert near(pixel(page), [114, 82, 114])
        page.click("[data-view=mask]")
        assert pixel(page) == [128, 64, 128]
        page.click("#none")
        assert pixel(page) == [15, 15, 15]
    finally:
        context.close()


def test_the_age_on_the_page_is_that_of_the_frames(
    hub: Hub, cameras: list[Camera], open_it: Open
) -> None:
    page = open_it(hub)
    watched(hub)
    stop = threading.Event()

    def play() -> None:
        while not stop.wait(0.1):
            cameras[0].show()

    player = threading.Thread(target=play)
    player.start()
    try:
        age = page.locator("#figures dt:has-text('Age here') + dd")
        ends_s = time.monotonic() + PATIENCE_S
        while not (text := age.inner_text() if age.count() else "").split(" ")[0].isdigit():
            assert time.monotonic() < ends_s
            page.wait_for_timeout(100)
    finally:
        stop.set()
        player.join()
    # Of one clock: neither from the future nor from another epoch.
    assert 0 <= int(text.split(" ")[0]) < PATIENCE_S * 1000
