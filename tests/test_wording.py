"""Messages name parameters to Python programs and options to the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadseg.cli import main
from roadseg.core.errors import RoadsegError
from roadseg.core.wording import naming_options, option
from roadseg.loading.segmenter import Segmenter
from roadseg.media.sources.opening import open_source


@pytest.mark.parametrize(
    ("arguments", "typed", "written"),
    [
        (("--size", (352, 480)), "--size 352x480", "size_hw=(352, 480)"),
        (("--backend", "torch"), "--backend torch", 'backend="torch"'),
        (("--backend", "torch", "fake"), "--backend torch|fake", 'backend="torch"|"fake"'),
        (("--threads", 1), "--threads 1", "threads=1"),
        (("--max-frames",), "--max-frames", "max_frames"),
        (("--source", Path("a.mp4")), "--source a.mp4", 'spec="a.mp4"'),
    ],
)
def test_both_ways_to_give_an_argument(arguments, typed, written):
    assert option(*arguments) == written
    with naming_options():
        assert option(*arguments) == typed
        with naming_options():
            pass
        assert option(*arguments) == typed
    assert option(*arguments) == written


@pytest.mark.parametrize(
    "use",
    [
        lambda: Segmenter("nope"),
        lambda: Segmenter("nope.safetensors", "torch"),
        lambda: Segmenter("nope.safetensors", "openvino"),
        lambda: Segmenter(backend="nope"),
        lambda: Segmenter(backend="fake", size_hw=(33, 33)),
        lambda: Segmenter(backend="fake", threads=0),
        lambda: open_source("nope"),
        lambda: open_source("nope://x"),
        lambda: open_source("0123"),
        lambda: open_source("0", fps=10),
        lambda: open_source("0", stream=2),
        lambda: open_source("x", max_frames=0),
        lambda: open_source("x", fps=-1),
        lambda: open_source("x", rtsp_transport="x"),
    ],
)
def test_errors_of_the_api_name_no_option(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RoadsegError) as caught:
        use()
    # A command to type has options, and stands in quotes.
    assert " --" not in str(caught.value).split("'roadseg ")[0]
    assert not str(caught.value).startswith("--")


def test_the_command_line_names_its_options(capsys):
    assert main(["run", "x", "--model", "nope"]) == 2
    assert "use --model segnet-lite|" in capsys.readouterr().err
    with pytest.raises(RoadsegError, match='use model="segnet-lite"'):
        Segmenter("nope")
