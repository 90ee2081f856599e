"""Several frames in flight: in order, and calls out of turn refused."""

from __future__ import annotations

import pytest

from roadseg.backends.fake import FakePipelinedBackend
from roadseg.core.errors import BackendError
from roadseg.loading.segmenter import Segmenter
from tests.support.frames import plain


def test_frames_in_flight_come_back_in_order(pipelined):
    with Segmenter(backend="fake") as segmenter:
        assert segmenter.depth == 1, "nothing is known before the first frame"
        frame = plain(0)
        segmenter.submit(frame)
        frame[:] = 255  # it may be overwritten once it has been submitted
        assert segmenter.depth == 2
        segmenter.submit(frame)
        assert (segmenter.collect() == 0).all()
        segmenter.submit(plain(128))
        assert (segmenter.collect() == 10).all()
        assert (segmenter.collect() == 5).all()
        assert (segmenter.infer(plain(255)) == 10).all()


def test_a_backend_that_is_not_pipelined_takes_the_same_calls():
    with Segmenter(backend="fake") as segmenter:
        for level, label in ((0, 0), (128, 5)):
            segmenter.submit(plain(level))
            assert segmenter.depth == 1
            with pytest.raises(RuntimeError, match="^1 frames are in flight: collect them first$"):
                segmenter.submit(plain(level))
            assert (segmenter.collect() == label).all()


def test_calls_out_of_turn_are_refused(pipelined):
    segmenter = Segmenter(backend="fake")
    with pytest.raises(RuntimeError, match="^no frame is in flight: submit one first$"):
        segmenter.collect()
    segmenter.submit(plain(0))
    with pytest.raises(RuntimeError, match="^1 frames are in flight: collect them first$"):
        segmenter.submit(plain(0, (32, 64)))
    segmenter.submit(plain(255))
    with pytest.raises(RuntimeError, match="^2 frames are in flight: collect them first$"):
        segmenter.submit(plain(0))
    with pytest.raises(RuntimeError, match="^2 batches are in flight: collect them first$"):
        segmenter.infer(plain(0))
    segmenter.discard()
    assert (segmenter.infer(plain(128)) == 5).all()


def test_discarding_takes_errors_with_it(pipelined, monkeypatch):
    def fail(self):
        self._in_flight.popleft()
        raise BackendError("lost")

    segmenter = Segmenter(backend="fake")
    segmenter.submit(plain(0))
    segmenter.submit(plain(0))
    monkeypatch.setattr(FakePipelinedBackend, "collect", fail)
    segmenter.discard()
    monkeypatch.undo()
    assert segmenter._in_flight == type(segmenter._in_flight)()


def test_closing_forgets_what_is_in_flight_and_a_closed_segmenter_starts_anew(pipelined):
    segmenter = Segmenter(backend="fake")
    segmenter.submit(plain(0))
    segmenter.close()
    assert segmenter.depth == 1
    segmenter.submit(plain(255))
    assert segmenter.depth == 2
    assert (segmenter.collect() == 10).all()


def test_a_network_that_cannot_be_closed_leaves_no_other_open(pipelined, monkeypatch):
    segmenter = Segmenter(backend="fake")
    for hw in ((32, 32), (32, 64), (64, 64)):
        segmenter.infer(plain(0, hw))
    closed = []

    def close(self):
        closed.append(self.network_hw)
        raise BackendError("lost")

    monkeypatch.setattr(FakePipelinedBackend, "close", close)
    with pytest.raises(BackendError, match="lost"):
        segmenter.close()
    assert len(closed) == 3
    segmenter.close()
    assert len(closed) == 3
