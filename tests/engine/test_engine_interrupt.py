"""Ctrl-C while the main thread is inside a call that Python cannot interrupt."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time

import pytest

from roadseg.engine.interrupt import DeferredInterrupt


def test_nothing_happens_without_a_signal() -> None:
    before = signal.getsignal(signal.SIGINT)
    with DeferredInterrupt() as interrupt:
        assert not interrupt.requested
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) is before
    assert not interrupt.requested


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_it_comes_at_the_end_of_the_block() -> None:
    before = signal.getsignal(signal.SIGINT)
    reached = []

    def work() -> None:
        with DeferredInterrupt() as interrupt:
            press()
            reached.append(interrupt.requested)
            # A second one changes nothing.
            press()
            reached.append(interrupt.requested)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == [True, True]
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_it_hides_the_error_that_it_caused() -> None:
    def work() -> None:
        with DeferredInterrupt():
            press()
            raise ValueError("cancelled")

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert isinstance(caught.value.__context__, ValueError)


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="^mine$"), DeferredInterrupt():
        raise ValueError("mine")


def test_other_threads_see_it_while_the_main_thread_is_in_c() -> None:
    times_s: list[float] = []

    def work() -> None:
        with DeferredInterrupt() as interrupt:

            def watch() -> None:
                press()
                while not interrupt.requested:
                    time.sleep(0.001)
                times_s.append(time.monotonic())

            watcher = threading.Thread(target=watch)
            watcher.start()
            # Gives the interpreter free for its whole length and returns to no Python code.
            rounds = 200_000
            while not times_s:
                hashlib.pbkdf2_hmac("sha256", b"", b"", rounds)
                returned_s = time.monotonic()
                rounds *= 2
            watcher.join()
            times_s.append(returned_s)

    with pytest.raises(KeyboardInterrupt):
        work()
    seen_s, returned_s = times_s
    assert seen_s < returned_s


def test_other_threads_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    states: list[object] = []

    def work() -> None:
        with DeferredInterrupt() as interrupt:
            states.append(interrupt.requested)
            states.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert states == [False, before]
