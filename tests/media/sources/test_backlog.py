"""A live source begins with what it sees now, not with what has piled up."""

from __future__ import annotations

from roadseg.core.errors import SourceError
from roadseg.media.sources.backlog import newest


class Camera:
    """25 pictures a second, numbered by when they were taken; the driver keeps `room` of them."""

    def __init__(self, room: int) -> None:
        self.now_s, self._room, self._next = 0.0, room, 0

    def clock(self) -> float:
        return self.now_s

    def take(self) -> tuple[int, float]:
        number = self._next = max(self._next, int(self.now_s * 25) - self._room)
        self.now_s = max(self.now_s, number / 25) + 1e-4
        self._next += 1
        return number, self.now_s


def test_a_fresh_picture_is_taken_as_it_is() -> None:
    camera = Camera(room=100)
    first = camera.take()
    camera.now_s = 0.15
    assert newest(first, camera.take, 0.04, camera.clock) == first


def test_what_piled_up_is_passed_over() -> None:
    for room in (0, 4, 100):
        camera = Camera(room)
        first = camera.take()
        camera.now_s = 1.0  # a network compiles
        number, captured_s = newest(first, camera.take, 0.04, camera.clock)
        assert number >= 25
        assert captured_s == camera.now_s


def test_a_source_that_never_lets_wait_does_not_go_on_for_ever() -> None:
    numbers = iter(range(1, 1000))
    latest = newest((0, 0.0), lambda: (next(numbers), 1.0), 0.04, lambda: 1.0)
    assert 25 <= latest[0] <= 50


def test_a_source_that_ends_meanwhile_gives_its_last_picture() -> None:
    left = [1, 2, 3]

    def take() -> tuple[int, float]:
        if not left:
            raise SourceError("gone")
        return left.pop(0), 1.0

    assert newest((0, 0.0), take, 0.04, lambda: 1.0) == (3, 1.0)
