"""Ctrl-C while the main thread is inside a call that Python cannot interrupt."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

import pytest

from roadseg.backends.tensorrt.builder.interrupt import DeferredInterrupt


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


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to a thread")
def test_other_threads_see_it_while_the_main_thread_is_in_c() -> None:
    """Python's handler waits for the main thread, which TensorRT may keep for minutes."""
    seen: list[bool] = []
    reader, writer = os.pipe()
    buffer = ctypes.create_string_buffer(1)

    def work() -> None:
        with DeferredInterrupt() as interrupt:

            def watch() -> None:
                time.sleep(0.2)  # until the main thread is in there
                signal.pthread_kill(threading.get_ident(), signal.SIGINT)
                for _ in range(2000):
                    seen.append(interrupt.requested)
                    if seen[-1]:
                        break
                    time.sleep(0.001)
                os.write(writer, b"!")

            watcher = threading.Thread(target=watch)
            watcher.start()
            # No Python code runs on this thread until the watcher has looked.
            assert ctypes.CDLL(None).read(reader, buffer, 1) == 1
            watcher.join()

    with pytest.raises(KeyboardInterrupt):
        work()
    os.close(reader)
    os.close(writer)
    assert seen[-1] is True


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


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
def test_sigterm_waits_as_well_and_goes_to_who_handles_it() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: came.append(number))
    try:
        handler = signal.getsignal(signal.SIGTERM)
        reached = []

        def work() -> None:
            with DeferredInterrupt() as interrupt:
                os.kill(os.getpid(), signal.SIGTERM)
                reached.append((interrupt.requested, list(came)))

        with pytest.raises(KeyboardInterrupt):
            work()
        assert reached == [(True, [])]
        assert came == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
def test_signals_that_nobody_handles_are_left_alone() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with DeferredInterrupt():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
