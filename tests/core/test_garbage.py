"""When Python's collector rests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from roadseg.core.garbage import making_what_stays, whole_program


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_it_rests_inside_and_passes_over_what_was_made() -> None:
    with whole_program():
        with making_what_stays():
            assert not gc.isenabled()
            made = [[] for _ in range(10)]
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
        assert not any(each is made for each in gc.get_objects())
    assert gc.get_freeze_count() == 0
    assert any(each is made for each in gc.get_objects())


def test_one_inside_another() -> None:
    with making_what_stays():
        with making_what_stays():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_whoever_turned_it_off_keeps_it_off() -> None:
    gc.disable()
    with making_what_stays():
        pass
    assert not gc.isenabled()
