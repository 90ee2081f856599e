"""A network that is read in a thread, before anybody asks for it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.backends.openvino.reading import ReadAhead
from roadseg.core.errors import BackendError, ModelError
from roadseg.loading.choice import choose
from roadseg.loading.segmenter import Segmenter


def create(path: Path, ahead: ReadAhead | None) -> OpenVinoBackend:
    return OpenVinoBackend(path, (64, 96), name="lite", precision="fp32", ahead=ahead)


def test_it_is_the_same_network(xml_file: Path) -> None:
    batch = np.random.default_rng(3).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    labels = create(xml_file, ReadAhead(xml_file)).infer(batch)
    np.testing.assert_array_equal(labels, create(xml_file, None).infer(batch))


def test_it_is_for_one_taker_and_one_file(xml_file: Path) -> None:
    ahead = ReadAhead(xml_file)
    assert ahead.take(xml_file.with_name("other.xml")) is None
    assert ahead.take(xml_file) is not None
    assert ahead.take(xml_file) is None, "the first one has changed its size by now"
    create(xml_file, ahead).close()


def test_what_is_wrong_is_said_to_the_taker(tmp_path: Path) -> None:
    path = tmp_path / "damaged.xml"
    path.write_text("<net")
    ahead = ReadAhead(path)
    ahead.wait()
    with pytest.raises(ModelError, match=r"damaged\.xml is damaged or no model for OpenVINO"):
        create(path, ahead)


def test_without_openvino(monkeypatch: pytest.MonkeyPatch, xml_file: Path) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    ahead = ReadAhead(xml_file)
    with pytest.raises(BackendError, match="^OpenVINO cannot be loaded "):
        create(xml_file, ahead)


def test_only_openvino_reads_ahead(pt_file: Path, xml_file: Path) -> None:
    assert choose(str(pt_file), "torch").read_ahead() is None
    assert choose("segnet-lite", "fake").read_ahead() is None
    ahead = choose(str(xml_file), "openvino").read_ahead()
    assert ahead is not None
    assert ahead.take(xml_file) is not None


def test_a_segmenter_takes_what_it_has_read(
    xml_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame_bgr = np.random.default_rng(3).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    with Segmenter(str(xml_file), "openvino") as segmenter:
        expected = segmenter(frame_bgr).ids
    with Segmenter(str(xml_file), "openvino") as segmenter:
        segmenter.read_ahead()
        monkeypatch.setattr(
            "roadseg.backends.openvino.backend.read_network", lambda *_: pytest.fail("read again")
        )
        np.testing.assert_array_equal(segmenter(frame_bgr).ids, expected)


def test_closing_waits_for_it(xml_file: Path) -> None:
    before = threading.active_count()
    with Segmenter(str(xml_file), "openvino") as segmenter:
        segmenter.read_ahead()
    assert threading.active_count() == before
