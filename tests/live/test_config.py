"""The configuration file: what it says, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.live.config import LiveConfig, SourceConfig
from roadseg.live.toml import config_text, load_config, parse_config

WHOLE = """
model = "segnet-lite"
alpha = 0.4

[web]
port = 9000

[record]
folder = "recordings"
keep_gb = 20

[[source]]
name = "front"
url = "rtsp://user:hunter2@10.0.0.7/live"
max_staleness = 0.2
rtsp_transport = "udp"

[source.health]
frozen_s = 3

[[source]]
name = "yard"
url = "1"
policy = "latest"
max_fps = 5

[[event]]
name = "walker"
rule = "pedestrian in corridor > 0.02"
pre_s = 0
"""


def test_a_whole_configuration() -> None:
    config = parse_config(WHOLE, "live.toml")
    front, yard = config.source
    assert (front.max_staleness, front.rtsp_transport, front.health.frozen_s) == (0.2, "udp", 3.0)
    assert (yard.policy, yard.max_fps, yard.stall_timeout) == ("latest", 5.0, 2.0)
    assert config.web is not None
    assert config.web.port == 9000
    assert config.record is not None
    assert config.record.keep_gb == 20.0
    assert config.event[0].pre_s == 0
    assert (config.model, config.alpha, config.view) == ("segnet-lite", 0.4, None)


def test_what_is_printed_reads_back_the_same() -> None:
    config = parse_config(WHOLE, "live.toml")
    assert parse_config(config_text(config, passwords=True), "printed") == config


def test_quotes_and_line_breaks_in_names_survive_printing() -> None:
    source = SourceConfig('a "b"\n\\c é', "x.mp4")
    text = config_text(LiveConfig((source,)))
    with pytest.raises(UsageError, match="a name is also one of files"):
        parse_config(text, "printed")
    kept = LiveConfig((SourceConfig("é", 'say "x"\\\n.mp4'),))
    assert parse_config(config_text(kept, passwords=True), "printed") == kept


def test_no_password_is_printed() -> None:
    text = config_text(parse_config(WHOLE, "live.toml"))
    assert "hunter2" not in text
    assert 'url = "rtsp://***@10.0.0.7/live"' in text


SOURCE = '[[source]]\nname = "a"\nurl = "0"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            SOURCE + "max_stalenes = 1",
            "[[source]] 1 (a): unknown key max_stalenes: write max_staleness",
        ),
        (
            SOURCE + "stall-timeout = 1",
            "[[source]] 1 (a): unknown key stall-timeout: write stall_timeout",
        ),
        (SOURCE + "[wob]\nport = 1", "unknown key wob: write web"),
        (
            SOURCE + "[source.health]\nfrozn_s = 1",
            "[[source]] 1 (a), [health]: unknown key frozn_s: write frozen_s",
        ),
        (
            SOURCE + "[web]\nzzz = 1",
            "[web]: unknown key zzz: there are address, port, token_file, hosts",
        ),
        (
            SOURCE + '[web]\nhosts = ["https://cams.example.com/"]',
            '[web]: hosts: "https://cams.example.com/" is no name: write it as "cams.example.com"',
        ),
        (
            SOURCE + '[web]\nhosts = "cams.example.com"',
            'hosts = "cams.example.com": give a list of texts, hosts = ["..."]',
        ),
        (SOURCE + 'policy = "lates"', '[[source]] 1 (a): policy = "lates": give "latest"'),
        (
            SOURCE + 'policy = "x"',
            '[[source]] 1 (a): policy = "x": give "auto" or "latest" or "every"',
        ),
        (SOURCE + "max_staleness = 0", "[[source]] 1 (a): max_staleness = 0: give more than 0"),
        (SOURCE + "max_fps = nan", "[[source]] 1 (a): max_fps = nan: give a number"),
        (SOURCE + "loop = 1", "[[source]] 1 (a): loop = 1: give true or false"),
        (SOURCE + "stride = true", "[[source]] 1 (a): stride = true: give a whole number"),
        (SOURCE + "[web]\nport = 70000", "[web]: port = 70000: give 0 to 65535"),
        (
            SOURCE + "[source.health]\nfocus = 2",
            "[[source]] 1 (a), [health]: focus = 2: give 0 to 1",
        ),
        ("", "source is missing: add [[source]] with name and url"),
        ('[[source]]\nname = "a"', '[[source]] 1 (a): url is missing: add url = "..."'),
        (
            '[source]\nname = "a"',
            "source is not a list of tables: write it with two brackets, [[source]]",
        ),
        (SOURCE + 'health = "no"', '[[source]] 1 (a): health = "no": write a table, [health]'),
        (
            SOURCE + SOURCE.replace("a", "a").replace('"a"', '"A"'),
            "[[source]] 2 (A): [[source]] 1 has the same name: give another",
        ),
        (
            SOURCE
            + 'output = "out.mp4"\n[[source]]\nname = "b"\nurl = "1"\noutput = "./x/../out.mp4"',
            '[[source]] 2 (b): output = "./x/../out.mp4" is also written by '
            "[[source]] 1 (a) as its output: give another",
        ),
        (
            SOURCE + 'output = "o"\nsave_masks = "o"',
            '[[source]] 1 (a): save_masks = "o" is also written by [[source]] 1 (a) as its '
            "output: give another",
        ),
        (
            SOURCE + "retry_first = 60",
            "[[source]] 1 (a): retry_first = 60 is more than retry_most: lower it",
        ),
    ],
)
def test_each_mistake_is_one_line_with_the_way_out(text: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(text, "live.toml")
    assert str(caught.value) == f"live.toml: {line}"


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(SOURCE + "stride = 0\nlop = true\n[web]\nport = -1", "live.toml")
    assert len(str(caught.value).splitlines()) == 3


def test_a_password_in_a_wrong_value_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        parse_config('[[source]]\nname = "a"\nurl = ["rtsp://u:hunter2@cam/1"]', "live.toml")
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_missing_or_no_toml(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no configuration at"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = ")
    with pytest.raises(UsageError, match="is not TOML"):
        load_config(tmp_path / "bad.toml")
    (tmp_path / "good.toml").write_text(SOURCE)
    assert load_config(tmp_path / "good.toml").source[0].name == "a"


@pytest.mark.parametrize(
    ("url", "is_file"),
    [
        ("rtsp://x/1", False),
        ("http://x/stream", False),
        ("0", False),
        ("csi://0", False),
        ("videotestsrc ! videoconvert", False),
        ("/dev/video7", False),
        ("/dev/v4l/by-id/x", False),
        ("drive.mp4", True),
        ("/home/me/dev/drive.mp4", True),
        ("file:///home/me/drive.mp4", True),
        ("http://x/drive.mp4?token=1", True),
        ("nothing://x", True),
    ],
)
def test_only_files_are_given_up_when_they_are_gone(url: str, is_file: bool) -> None:
    assert SourceConfig("a", url).is_file is is_file


def test_a_folder_with_the_name_of_a_webcam_is_a_folder(tmp_path, monkeypatch) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "2024").mkdir()
    (tmp_path / "0.png").rename(tmp_path / "2024" / "0.png")
    monkeypatch.chdir(tmp_path)
    assert SourceConfig("a", "2024").is_file
    assert not SourceConfig("a", "2025").is_file


def test_a_link_to_a_device_is_a_camera(tmp_path) -> None:
    (tmp_path / "front").symlink_to("/dev/v4l/by-id/front")
    assert not SourceConfig("a", str(tmp_path / "front")).is_file
