"""When Python looks for garbage: not while a program starts.

Imports make a hundred thousand objects, which stay. Python's collector would go through them again
and again: 50 ms of the start of `roadseg run`, and 30 ms now and then in the middle of a video.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def making_what_stays() -> Iterator[None]:
    """Inside the block nothing is collected, and what is there at its end is not looked at again.

    For programs alone, around their imports: nothing that is garbage by then is ever freed, until
    `gc.unfreeze`.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()


@contextmanager
def whole_program() -> Iterator[None]:
    """Around a program that uses `making_what_stays`: whoever called it has the collector back."""
    try:
        yield
    finally:
        gc.unfreeze()
