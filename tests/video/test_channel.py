"""Hand-over between threads: order, bounds, and waking up when either side stops."""

from __future__ import annotations

import threading

import pytest

from roadseg.video.channel import Channel, Closed

PATIENCE_S = 20.0  # only a failing test waits that long


def in_thread(work):
    """Run `work` in a thread; the returned function waits and gives its result."""
    results = []

    def body() -> None:
        try:
            results.append(work())
        except Closed as exc:
            results.append(exc)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()

    def result():
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the thread never woke up"
        return results[0]

    return result


def test_items_come_out_in_order():
    channel = Channel[int](3)
    for item in (1, 2, 3):
        channel.put(item)
    channel.close()
    assert list(channel) == [1, 2, 3]
    assert (channel.accepted, channel.dropped) == (3, 0)


def test_put_waits_for_room():
    channel = Channel[int](1)
    channel.put(1)
    waiting = in_thread(lambda: channel.put(2))
    assert channel.get() == 1
    waiting()
    assert channel.get() == 2


def test_get_waits_for_an_item():
    channel = Channel[int](1)
    waiting = in_thread(channel.get)
    channel.put(7)
    assert waiting() == 7


def test_get_gives_up_after_its_timeout():
    with pytest.raises(TimeoutError):
        Channel[int](1).get(timeout_s=0.0)


def test_newest_wins_replaces_and_counts():
    channel = Channel[int](1, newest_wins=True)
    for item in range(5):
        channel.put(item)
    channel.close()
    assert list(channel) == [4]
    assert (channel.accepted, channel.dropped) == (5, 4)


def test_close_delivers_what_is_queued_and_refuses_more():
    channel = Channel[int](2)
    channel.put(1)
    channel.close()
    with pytest.raises(Closed):
        channel.put(2)
    assert channel.get() == 1
    with pytest.raises(Closed):
        channel.get()
    assert channel.accepted == 1


@pytest.mark.parametrize("end", ["close", "cancel"])
def test_the_end_wakes_a_waiting_get(end):
    channel = Channel[int](1)
    waiting = in_thread(channel.get)
    getattr(channel, end)()
    assert isinstance(waiting(), Closed)


@pytest.mark.parametrize("end", ["close", "cancel"])
def test_the_end_wakes_a_waiting_put_whose_item_is_not_taken(end):
    channel = Channel[int](1)
    channel.put(1)
    waiting = in_thread(lambda: channel.put(2))
    getattr(channel, end)()
    assert isinstance(waiting(), Closed)
    assert channel.accepted == 1


def test_cancel_throws_queued_items_away():
    channel = Channel[int](2)
    channel.put(1)
    channel.cancel()
    assert list(channel) == []


def test_newest_wins_refuses_after_the_end():
    channel = Channel[int](1, newest_wins=True)
    channel.put(1)
    channel.close()
    with pytest.raises(Closed):
        channel.put(2)
    assert channel.dropped == 0


def test_a_capacity_below_one_is_refused():
    with pytest.raises(ValueError, match="^expected a capacity of at least 1, got 0$"):
        Channel[int](0)
