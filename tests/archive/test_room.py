"""Room on the disk for results."""

from __future__ import annotations

import shutil

import pytest

from roadseg.archive.room import Room
from roadseg.core.errors import SinkError


def test_results_of_clips_like_those_before_fit_or_do_not(tmp_path) -> None:
    room = Room(tmp_path)
    assert room.need(10**18) == 0, "nothing is known"
    room.learn(1000, 500)
    assert room.need(4000) == 2000
    free = shutil.disk_usage(tmp_path).free
    assert room.fits(0)
    assert not room.fits(4 * free)
    error = room.full(1, 10**15)
    assert "the clip that is left needs about 500000.0 GB" in str(error)


def test_a_disk_that_is_gone_is_an_error_of_one_line(tmp_path) -> None:
    room = Room(tmp_path / "unplugged")
    with pytest.raises(SinkError, match=r"cannot write .*no such file") as caught:
        room.fits(0)
    assert caught.value.fix
