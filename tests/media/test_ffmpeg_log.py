"""What FFmpeg logs reaches nobody's stderr by itself."""

from __future__ import annotations

import logging

import av.logging
import pytest

from roadseg.media.sound.reader import _description


class Container:
    """Describes itself, while another thread meets a damaged packet."""

    def dumps_format(self) -> str:
        assert av.logging.get_level() == av.logging.INFO
        logging.getLogger("libav.mpegts").error("Packet corrupt (stream = 1, dts = 34816).")
        return "Stream #0:0: Audio"


def test_lines_of_other_threads_are_not_printed_while_a_file_is_described(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own would take them
    before = av.logging.get_level()
    assert _description(Container()) == "Stream #0:0: Audio"  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""
    assert av.logging.get_level() == before
