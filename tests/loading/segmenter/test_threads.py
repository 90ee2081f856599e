"""Several threads: one at a time, and never each other's frames."""

from __future__ import annotations

import threading

import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.loading.segmenter import Segmenter
from tests.support.frames import plain

IN_USE = (
    "this Segmenter is in use by another thread: give each thread one of its own, or let them take "
    "turns with a lock"
)


@pytest.fixture
def busy(monkeypatch):
    """A segmenter that another thread is inside of, until the test is over."""
    inside, go = threading.Event(), threading.Event()
    infer = FakeBackend.infer

    def wait(self, batch_bgr):
        inside.set()
        assert go.wait(60)
        return infer(self, batch_bgr)

    monkeypatch.setattr(FakeBackend, "infer", wait)
    segmenter = Segmenter(backend="fake")
    results = []
    other = threading.Thread(target=lambda: results.append(segmenter(plain(255))))
    other.start()
    assert inside.wait(60)
    yield segmenter
    go.set()
    other.join()
    assert (results[0].ids == 10).all(), "the first one is not disturbed"
    monkeypatch.undo()
    assert (segmenter(plain(0)).ids == 0).all()
    segmenter.close()
    assert (segmenter(plain(0)).ids == 0).all(), "a closed one starts anew"


@pytest.mark.parametrize(
    "use",
    [
        lambda segmenter: segmenter(plain(0)),
        lambda segmenter: segmenter.infer(plain(0)),
        lambda segmenter: segmenter.submit(plain(0)),
        lambda segmenter: segmenter.collect(),
        lambda segmenter: segmenter.discard(),
        lambda segmenter: segmenter.segment_batch([plain(0)]),
        lambda segmenter: segmenter.infer_batch(plain(0)[None]),
        lambda segmenter: segmenter.prepare((32, 32)),
        lambda segmenter: segmenter.close(),
    ],
)
def test_a_second_thread_is_refused(busy, use):
    with pytest.raises(RuntimeError) as caught:
        use(busy)
    assert str(caught.value) == IN_USE


def test_threads_that_take_turns_share_one():
    segmenter = Segmenter(backend="fake")
    found = []
    for level, label in ((0, 0), (255, 10), (128, 5)):

        def use(level=level, label=label):
            found.append((segmenter(plain(level, (40, 60))).ids == label).all())
            segmenter.submit(plain(level))

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert (segmenter.collect() == label).all()
    assert found == [True] * 3


def test_what_one_thread_has_resized_no_other_one_overwrites():
    segmenter = Segmenter(backend="fake", size_hw=(32, 32))
    mine, _ = segmenter.preprocess(plain(0, (50, 50)))
    thread = threading.Thread(target=segmenter.preprocess, args=(plain(255, (50, 50)),))
    thread.start()
    thread.join()
    assert (segmenter.infer(mine) == 0).all()


def test_frames_of_two_threads_are_not_in_flight_together(pipelined):
    segmenter = Segmenter(backend="fake")
    thread = threading.Thread(target=segmenter.submit, args=(plain(0),))
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError, match="^frames of another thread are in flight: give each "):
        segmenter.submit(plain(255))
    assert (segmenter.collect() == 0).all()
    segmenter.submit(plain(255))
    assert (segmenter.collect() == 10).all()
