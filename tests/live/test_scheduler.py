"""One network for many sources: who is served next, batches, and errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.core.backend import BackendInfo
from roadseg.core.errors import BackendError
from roadseg.core.geometry import Geometry, LabelMap, postprocess, preprocess
from roadseg.core.types import Frame, Image, Labels
from roadseg.live.mailbox import Bell, Mailbox
from roadseg.live.scheduler import Batch, Scheduler
from tests.support.live import PATIENCE_S, FakeClock, eventually, make_frame


class Network:
    """A segmenter that a test steps through.

    Attributes:
        seen: grey levels of its inputs, in the order of submission.
        entered: a turn has begun, and waits in `collect` for `go`.
    """

    def __init__(self, depth: int = 1, stepped: bool = False) -> None:
        self.depth = depth
        self.seen: list[int] = []
        self.most_in_flight = 0
        self.discarded = False
        self.fails_at: int | None = None
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.backend = FakeBackend((32, 32))
        self.network_hw: tuple[int, int] | None = (32, 32)
        self.backend_info: BackendInfo | None = self.backend.info
        self._stepped = stepped
        self._in_flight: list[Image] = []

    def preprocess(self, frame_bgr: Image) -> tuple[Image, Geometry]:
        return preprocess(frame_bgr, (32, 32))

    def submit(self, network_bgr: Image) -> None:
        assert len(self._in_flight) < self.depth
        self.seen.append(int(network_bgr[0, 0, 0]))
        if self.fails_at == len(self.seen):
            raise BackendError("it broke")
        self._in_flight.append(network_bgr)
        self.most_in_flight = max(self.most_in_flight, len(self._in_flight))

    def collect(self) -> Labels:
        self.entered.release()
        if self._stepped:
            assert self.go.acquire(timeout=PATIENCE_S)
        return self.backend.infer(self._in_flight.pop(0)[None])[0]

    def postprocess(self, network_ids: Labels, geometry: Geometry) -> LabelMap:
        return postprocess(network_ids, geometry)

    def discard(self) -> None:
        self.discarded = True


class FakeLane:
    def __init__(self, bell: Bell, clock: FakeClock, *, every: bool = False) -> None:
        self.mailbox = Mailbox(bell, max_staleness_s=0.3, every=every, clock=clock)
        self.ready = True
        self.shown: list[tuple[Frame, LabelMap]] = []

    def show(self, frame: Frame, label_map: LabelMap, scores: object = None) -> None:
        self.shown.append((frame, label_map))


Start = Callable[..., tuple[Scheduler, list[FakeLane]]]


@pytest.fixture
def start(clock: FakeClock, no_thread_left: None) -> Iterator[Start]:
    running: list[tuple[Scheduler, list[FakeLane], Network]] = []

    def make(
        network: Network,
        lanes: int = 2,
        *,
        every: tuple[int, ...] = (),
        batch: Batch | None = None,
        rate: float | None = None,
    ) -> tuple[Scheduler, list[FakeLane]]:
        bell = Bell()
        made = [FakeLane(bell, clock, every=i in every) for i in range(lanes)]
        scheduler = Scheduler(
            network, made, bell, batch=batch, on_error=errors.append, rate=rate, clock=clock
        )
        scheduler.errors = errors  # type: ignore[attr-defined]
        running.append((scheduler, made, network))
        return scheduler, made

    errors: list[BaseException] = []
    yield make
    for scheduler, lanes, network in running:
        for lane in lanes:
            lane.mailbox.cancel()
        network.go.release(1000)
        assert scheduler.join(PATIENCE_S)


def put(lane: FakeLane, clock: FakeClock, shade: int) -> None:
    lane.mailbox.put(make_frame(0, clock(), shade))


def test_frames_get_their_own_labels_and_go_to_their_own_lane(
    start: Start, clock: FakeClock
) -> None:
    scheduler, (one, two) = start(Network())
    put(one, clock, 0)
    put(two, clock, 255)
    scheduler.start()
    eventually(lambda: bool(one.shown and two.shown))
    assert (one.shown[0][1].ids == 0).all()
    assert (two.shown[0][1].ids == 10).all()
    assert one.shown[0][1].ids.shape == (48, 64)


def test_the_source_that_has_waited_longest_is_next(start: Start, clock: FakeClock) -> None:
    network = Network()
    scheduler, lanes = start(network, 3)
    for i in (2, 0, 1):
        put(lanes[i], clock, 10 + i)
        clock.advance(0.01)
    put(lanes[2], clock, 20)  # newer, in the same place
    scheduler.start()
    eventually(lambda: len(network.seen) == 3)
    assert network.seen == [20, 10, 11]


def test_nobody_starves_however_fast_the_others_are(start: Start, clock: FakeClock) -> None:
    """Lane 0 has a new frame before every turn, and so has lane 1; lane 2 has one file frame after
    the other. Three sources, so each is served every third turn."""
    network = Network(stepped=True)
    scheduler, lanes = start(network, 3, every=(2,))
    for lane, shade in zip(lanes, (1, 2, 3), strict=True):
        put(lane, clock, shade)
    scheduler.start()
    for _ in range(30):
        assert network.entered.acquire(timeout=PATIENCE_S)
        for lane, shade in zip(lanes, (1, 2, 3), strict=True):
            clock.advance(0.001)
            if not lane.mailbox.every or lane.mailbox.waiting_since_s is None:
                put(lane, clock, shade)
        network.go.release()
    assert network.entered.acquire(timeout=PATIENCE_S)
    assert [network.seen[:30].count(shade) for shade in (1, 2, 3)] == [10, 10, 10]
    assert lanes[2].mailbox.tally.dropped["replaced"] == 0


def test_a_pausing_source_makes_nobody_wait(start: Start, clock: FakeClock) -> None:
    network = Network()
    scheduler, (busy, _silent) = start(network)
    scheduler.start()
    for i in range(20):
        put(busy, clock, i)
        eventually(lambda count=i + 1: len(busy.shown) == count)  # type: ignore[misc]
    assert len(network.seen) == 20


def test_late_frames_do_not_reach_the_network(start: Start, clock: FakeClock) -> None:
    network = Network()
    scheduler, (late, fresh) = start(network)
    put(late, clock, 1)
    clock.advance(0.5)
    put(fresh, clock, 2)
    scheduler.start()
    eventually(lambda: bool(fresh.shown))
    assert network.seen == [2]
    assert late.mailbox.tally.dropped["late"] == 1


def test_a_lane_whose_output_is_full_is_passed_over_until_it_rings(
    start: Start, clock: FakeClock
) -> None:
    network = Network()
    scheduler, (full, free) = start(network, every=(0,))
    full.ready = False
    put(full, clock, 1)
    clock.advance(0.1)
    put(free, clock, 2)
    scheduler.start()
    eventually(lambda: bool(free.shown))
    assert not full.shown
    with full.mailbox._bell.lock:
        full.ready = True
        full.mailbox._bell.ring()
    eventually(lambda: bool(full.shown))


def test_frames_of_several_sources_go_in_one_batch(start: Start, clock: FakeClock) -> None:
    network = Network()
    sizes: list[int] = []

    def infer(batch_bgr: Image) -> Labels:
        sizes.append(len(batch_bgr))
        return network.backend.infer(batch_bgr)

    scheduler, lanes = start(network, 5, batch=Batch(4, infer))
    for i, lane in enumerate(lanes):
        put(lane, clock, 50 * i)
        clock.advance(0.001)
    scheduler.start()
    eventually(lambda: all(lane.shown for lane in lanes))
    assert sizes == [4]
    assert network.seen == [200]  # one alone is no batch
    for i, lane in enumerate(lanes):
        assert (lane.shown[0][1].ids == 50 * i * 11 // 256).all()


def test_frames_of_other_sizes_are_no_part_of_a_batch(start: Start, clock: FakeClock) -> None:
    network = Network()
    sizes: list[int] = []

    def infer(batch_bgr: Image) -> Labels:
        sizes.append(len(batch_bgr))
        return network.backend.infer(batch_bgr)

    scheduler, lanes = start(network, 3, batch=Batch(4, infer))
    put(lanes[0], clock, 0)
    lanes[1].mailbox.put(make_frame(0, clock(), 255, (96, 128)))
    put(lanes[2], clock, 255)
    scheduler.start()
    eventually(lambda: all(lane.shown for lane in lanes))
    assert sizes == [2]
    assert lanes[1].shown[0][1].ids.shape == (96, 128)


def test_a_backend_that_works_beside_the_host_gets_the_next_frame_early(
    start: Start, clock: FakeClock
) -> None:
    network = Network(depth=2)
    scheduler, lanes = start(network, 4)
    for lane in lanes:
        put(lane, clock, 9)
    scheduler.start()
    eventually(lambda: all(lane.shown for lane in lanes))
    assert network.most_in_flight == 2


@pytest.mark.parametrize("depth", [1, 2])
def test_an_error_of_the_network_ends_it_and_every_frame_is_accounted_for(
    start: Start, clock: FakeClock, depth: int
) -> None:
    network = Network(depth)
    network.fails_at = 3
    scheduler, lanes = start(network, 4)
    for i, lane in enumerate(lanes):
        put(lane, clock, i)
        clock.advance(0.001)
    scheduler.start()
    assert scheduler.join(PATIENCE_S)
    assert [str(e) for e in scheduler.errors] == ["it broke"]  # type: ignore[attr-defined]
    assert network.discarded
    assert [len(lane.shown) for lane in lanes] == [1, 1, 0, 0]
    assert [lane.mailbox.tally.dropped["stopped"] for lane in lanes] == [0, 0, 1, 1]
    assert all(lane.mailbox.finished for lane in lanes)


def test_it_ends_when_every_mailbox_is_closed_and_empty(start: Start, clock: FakeClock) -> None:
    network = Network(stepped=True)
    scheduler, (one, two) = start(network)
    put(one, clock, 1)
    scheduler.start()
    assert network.entered.acquire(timeout=PATIENCE_S)
    put(one, clock, 2)
    one.mailbox.close()
    network.go.release(2)
    eventually(lambda: len(one.shown) == 2)
    assert not scheduler.ended.is_set()
    two.mailbox.close()
    assert scheduler.join(PATIENCE_S)
    assert scheduler.frames.total == 2
    assert np.isfinite(scheduler.frames.per_s())


class Stairs(Network):
    """A network whose frames take a tenth of a second, with a faster one below it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self.steps = 0

    def collect(self) -> Labels:
        self._clock.advance(0.1)
        return super().collect()

    def fit(self, source_hw: tuple[int, int], rate: object) -> None: ...

    def step_down(self) -> str | None:
        assert not self._in_flight
        self.steps += 1
        return "a faster one"

    def how_chosen(self) -> dict[str, object] | None:
        return None


@pytest.mark.parametrize(("rate", "steps"), [(20.0, 1), (5.0, 0), (None, 0)])
def test_a_network_too_slow_for_its_cameras_makes_way(
    start: Start, clock: FakeClock, rate: float | None, steps: int
) -> None:
    network = Stairs(clock)
    scheduler, lanes = start(network, 2, every=(0, 1), rate=rate)
    scheduler.start()
    for shade in range(36):
        for lane in lanes:
            put(lane, clock, shade)
    eventually(lambda: sum(len(lane.shown) for lane in lanes) == 72)
    assert network.steps == steps
