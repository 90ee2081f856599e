"""No password is ever shown, however it is written; what is no secret stays readable."""

from __future__ import annotations

import pytest

from roadseg.media.redaction import password_advice, redact, redact_text

# Every secret below contains "hush", and so does no host, path or harmless parameter.
SHOWN = {
    "rtsp://admin:hush@10.0.0.7:554/live": "rtsp://***@10.0.0.7:554/live",
    "RTSP://admin:hush@CAM/live": "RTSP://***@CAM/live",
    "rtsp://hush@cam/live": "rtsp://***@cam/live",
    "rtsp://:hush@cam/": "rtsp://***@cam/",
    "rtsp://hush:@cam/": "rtsp://***@cam/",
    # Typed as they are.
    "rtsp://admin:p@hush@10.0.0.7/live": "rtsp://***@10.0.0.7/live",
    "rtsp://admin:p@hush@cam.local/live": "rtsp://***@cam.local/live",
    "rtsp://admin:p#hush@10.0.0.7/live": "rtsp://***@10.0.0.7/live",
    "rtsp://admin:p/hush@10.0.0.7/live": "rtsp://***@10.0.0.7/live",
    "rtsp://admin:12/hush@10.0.0.7/live": "rtsp://***@10.0.0.7/live",
    "rtsp://admin:p?hush@10.0.0.7/live?channel=1": "rtsp://***@10.0.0.7/live?channel=1",
    "rtsp://admin:p:hush@10.0.0.7/live": "rtsp://***@10.0.0.7/live",
    "rtsp://admin:p%hush@10.0.0.7/live": "rtsp://***@10.0.0.7/live",
    "rtsp://admin:p hush@10.0.0.7/live": "rtsp://***@10.0.0.7/live",
    "rtsp://admin:p@ss/w?hush#@cam:554/live": "rtsp://***@cam:554/live",
    "rtsp://admin:hu@sh/hush@": "rtsp://***@",
    # Hosts.
    "rtsp://u:hush@[fe80::1]:554/live": "rtsp://***@[fe80::1]:554/live",
    "rtsp://u:hush@[fe80::1%eth0]/live": "rtsp://***@[fe80::1%eth0]/live",
    "rtsp://u:hush@localhost:99999/live": "rtsp://***@localhost:99999/live",
    "rtsp://u:hush@my_cam/live": "rtsp://***@my_cam/live",
    # No scheme, or a broken one.
    "admin:hush@10.0.0.7:554/live": "***@10.0.0.7:554/live",
    "admin:p@hush@cam/live": "***@cam/live",
    "rtsp:/admin:hush@cam/live": "rtsp:/***@cam/live",
    "rtsp:admin:hush@cam/live": "***@cam/live",
    "//admin:hush@cam/live": "//***@cam/live",
    "cam/live?user=hush&password=hush": "cam/live?user=***&password=***",
    # Queries.
    "http://cam/v?user=hush&password=hush&channel=1": "http://cam/v?user=***&password=***&channel=1",
    "http://cam/v?USER=hush&PWD=hush": "http://cam/v?USER=***&PWD=***",
    "http://cam/v?loginuse=hush&loginpas=hush&res=640x480": (
        "http://cam/v?loginuse=***&loginpas=***&res=640x480"
    ),
    "http://cam/v?pwd=a&hush&channel=2": "http://cam/v?pwd=***&***&channel=2",
    "http://cam/v?pwd=a@hush": "http://cam/v?pwd=***",
    "http://cam/v?pwd=a#hush": "http://cam/v?pwd=***#***",
    "http://cam/v?pwd=a?hush/b": "http://cam/v?pwd=***",
    "https://cam/v?X-Amz-Signature=hush&e=1": "https://cam/v?X-Amz-Signature=***&e=1",
    "https://cam/v?unknown=hush": "https://cam/v?unknown=***",
    "https://cam/v?token=1234": "https://cam/v?token=***",
    "https://cam/v?hush": "https://cam/v?***",
    # Paths.
    "rtsp://10.0.0.7/user=hush_password=hu_hush_channel=1_stream=0.sdp?real_stream": (
        "rtsp://10.0.0.7/user=***_password=***_channel=1_stream=0.sdp?real_stream"
    ),
    "rtsp://10.0.0.7/user=hush&password=hush&channel=1": (
        "rtsp://10.0.0.7/user=***&password=***&channel=1"
    ),
    # GStreamer.
    "rtspsrc location=rtsp://u:hush@cam/live ! decodebin": (
        "rtspsrc location=rtsp://***@cam/live ! decodebin"
    ),
    'rtspsrc location="rtsp://u:p hush@cam/live" ! decodebin': (
        'rtspsrc location="rtsp://***@cam/live" ! decodebin'
    ),
    'rtspsrc location=rtsp://cam user-id=hush user-pw="p hush" ! x': (
        "rtspsrc location=rtsp://cam user-id=*** user-pw=*** ! x"
    ),
}

READABLE = [
    "rtsp://cam:554/cam/realmonitor?channel=1&subtype=0",
    "rtsp://10.0.0.7:554/Streaming/Channels/101?transportmode=unicast",
    "rtsp://10.0.0.7:554/live@2",
    "rtsp://cam.local:554/live@2",
    "http://cam:8080/?action=stream",
    "http://cam/a/b.m3u8",
    "udp://@239.0.0.1:1234",
    "drive.mp4",
    "photos@home/a.mp4",
    "photos/what?.png",
    "drive#1.mp4",
    "a=b.mp4",
    "C:\\photos@home\\a.mp4",
    "0",
]


@pytest.mark.parametrize(("url", "shown"), SHOWN.items())
def test_secrets_are_blotted_out_and_the_rest_stays(url: str, shown: str) -> None:
    assert redact(url) == shown
    assert "hush" not in redact(url)
    assert redact(shown) == shown, "what is shown may be shown again"


@pytest.mark.parametrize("source", READABLE)
def test_what_is_no_secret_stays_readable(source: str) -> None:
    assert redact(source) == source


@pytest.mark.parametrize("url", SHOWN)
def test_text_that_quotes_a_source_is_cleaned(url: str) -> None:
    text = f"OSError: [Errno 5] broken: {url!r}\n  and {url}: once more"
    assert "hush" not in redact_text(text, [url, "--loop"])


def test_urls_in_a_text_are_found() -> None:
    text = "lost 'rtsp://u:p hush@cam/x' and http://u:hush@cam/y; see https://docs/z"
    assert redact_text(text) == "lost 'rtsp://***@cam/x' and http://***@cam/y; see https://docs/z"


@pytest.mark.parametrize("url", SHOWN)
def test_a_line_that_was_cleaned_stays_as_it_is(url: str) -> None:
    line = f"cannot open {redact(url)}: connection refused; check the address"
    assert redact_text(line, [url]) == line


@pytest.mark.parametrize("character", list("@/?#:%"))
def test_special_characters_in_a_password_are_explained(character: str) -> None:
    advice = password_advice(f"rtsp://admin:p{character}ss@10.0.0.7/live")
    assert "percent-encoded" in advice
    assert f"{character} as %{ord(character):02X}" in advice


@pytest.mark.parametrize(
    "url", ["rtsp://admin:plain@cam/live", "rtsp://admin:p%40ss@cam/", "rtsp://cam/a@b", "a.mp4"]
)
def test_sound_passwords_get_no_advice(url: str) -> None:
    assert password_advice(url) == ""
