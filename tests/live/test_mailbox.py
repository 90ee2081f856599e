"""The hand-over of frames: the newest wins, staleness, and where every frame went."""

from __future__ import annotations

import threading

import pytest

from roadseg.core.types import Frame
from roadseg.live.mailbox import Bell, Mailbox
from roadseg.live.slot import Slot
from tests.support.live import FakeClock, eventually, make_frame


def test_the_newest_frame_wins_and_the_replaced_one_is_counted(clock: FakeClock) -> None:
    mailbox = Mailbox(clock=clock)
    first, second = make_frame(0, clock()), make_frame(1, clock())
    assert mailbox.put(first)
    assert mailbox.put(second)
    assert mailbox.take() is second
    assert mailbox.take() is None
    assert mailbox.tally.read == 2
    assert mailbox.tally.dropped["replaced"] == 1


@pytest.mark.parametrize(("age_s", "late"), [(0.29, False), (0.31, True)])
def test_staleness_is_checked_when_a_frame_leaves(
    clock: FakeClock, age_s: float, late: bool
) -> None:
    mailbox = Mailbox(max_staleness_s=0.3, clock=clock)
    mailbox.put(make_frame(0, clock()))
    clock.advance(age_s)
    assert (mailbox.take() is None) is late
    assert mailbox.tally.dropped["late"] == late


def test_a_late_frame_does_not_use_up_the_turn_of_its_source(clock: FakeClock) -> None:
    mailbox = Mailbox(max_staleness_s=0.3, clock=clock)
    since_s = clock()
    mailbox.put(make_frame(0, clock()))
    clock.advance(1)
    assert mailbox.take() is None
    mailbox.put(make_frame(1, clock()))
    assert mailbox.waiting_since_s == since_s
    assert mailbox.take() is not None
    mailbox.put(make_frame(2, clock()))
    assert mailbox.waiting_since_s == clock()


def test_a_newer_frame_keeps_the_place_in_the_queue(clock: FakeClock) -> None:
    mailbox = Mailbox(clock=clock)
    since_s = clock()
    for i in range(3):
        mailbox.put(make_frame(i, clock()))
        clock.advance(0.04)
    assert mailbox.waiting_since_s == since_s


def test_frames_of_files_wait_and_are_never_late(clock: FakeClock, no_thread_left: None) -> None:
    mailbox = Mailbox(max_staleness_s=0.3, every=True, clock=clock)
    frames = [make_frame(i, clock()) for i in range(5)]
    thread = threading.Thread(target=lambda: [mailbox.put(f) for f in frames] and mailbox.close())
    thread.start()
    clock.advance(100)
    taken: list[Frame] = []
    while (frame := mailbox.get()) is not None:
        taken.append(frame)
    assert taken == frames
    assert mailbox.tally.pending == 5  # shown by nobody, and dropped by nobody


def test_what_is_inside_can_be_taken_after_closing_and_not_after_cancelling() -> None:
    closed, cancelled = Mailbox(), Mailbox()
    for mailbox in (closed, cancelled):
        mailbox.put(make_frame())
    closed.close()
    cancelled.cancel()
    assert not closed.finished
    assert cancelled.finished
    assert closed.get() is not None
    assert cancelled.get() is None
    assert cancelled.tally.dropped["stopped"] == 1
    assert not closed.put(make_frame())
    assert closed.tally.dropped["stopped"] == 1


@pytest.mark.parametrize("end", [Mailbox.close, Mailbox.cancel])
def test_a_file_that_waits_for_room_goes_on_when_the_mailbox_ends(
    end: object, no_thread_left: None
) -> None:
    mailbox = Mailbox(every=True)
    mailbox.put(make_frame(0))
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.put(make_frame(1))))
    thread.start()
    eventually(lambda: mailbox.tally.read == 2)
    end(mailbox)  # type: ignore[operator]
    thread.join()
    assert taken == [False]


def test_frames_of_a_paused_camera_are_dropped_as_paused() -> None:
    mailbox = Mailbox()
    mailbox.put(make_frame(0))
    mailbox.pause()
    mailbox.put(make_frame(1))
    assert mailbox.waiting_since_s is None
    mailbox.resume()
    assert mailbox.take() is None
    mailbox.put(make_frame(2))
    assert mailbox.take() is not None
    assert mailbox.tally.dropped["paused"] == 2


def test_a_paused_file_loses_nothing(no_thread_left: None) -> None:
    mailbox = Mailbox(every=True)
    mailbox.put(make_frame(0))
    mailbox.pause()
    thread = threading.Thread(target=mailbox.put, args=(make_frame(1),))
    thread.start()
    eventually(lambda: mailbox.tally.read == 2)
    assert mailbox.waiting_since_s is None
    mailbox.resume()
    assert [f.index for f in (mailbox.get(), mailbox.get()) if f is not None] == [0, 1]
    thread.join()
    assert sum(mailbox.tally.dropped.values()) == 0


def test_two_mailboxes_ring_one_bell(no_thread_left: None) -> None:
    bell = Bell()
    boxes = [Mailbox(bell), Mailbox(bell)]
    rung = threading.Event()

    def wait() -> None:
        with bell.lock:
            bell.rung.wait_for(lambda: any(b.waiting_since_s is not None for b in boxes))
            rung.set()

    thread = threading.Thread(target=wait)
    thread.start()
    boxes[1].put(make_frame())
    assert rung.wait(60)
    thread.join()


def test_skipped_and_damaged_frames_count_as_read() -> None:
    mailbox = Mailbox()
    mailbox.skip()
    mailbox.lose(3)
    assert mailbox.tally.read == 4
    assert mailbox.tally.dropped["skipped"] == 1
    assert mailbox.tally.dropped["damaged"] == 3
    assert mailbox.tally.pending == 0


def test_a_slot_keeps_the_newest_and_wakes_whoever_watches() -> None:
    woken: list[int] = []
    slot: Slot[int] = Slot(lambda: woken.append(1))
    slot.put(1)
    slot.put(2)
    assert (slot.take(), slot.take(), slot.replaced, len(woken)) == (2, None, 1, 2)
    slot.put(3)
    slot.close()
    slot.put(4)
    assert (slot.get(), slot.get(), len(woken)) == (3, None, 3)
