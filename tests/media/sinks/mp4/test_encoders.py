"""The mp4 sink with other encoders than H.264, or none."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from roadseg.core.errors import SinkError
from roadseg.media.sinks import encoder
from roadseg.media.sinks.mp4 import Mp4Sink
from tests.support.mp4 import INFO, frame_at, grey, leftovers, read_back

pytestmark = pytest.mark.usefixtures("as_typed")


class TestEncoders:
    def available(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        monkeypatch.setattr(encoder, "_has", lambda name: name in names)

    def test_without_any_h264_a_playable_file_and_a_warning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.available(monkeypatch, "mpeg4")
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, replace(INFO, time_base=Fraction(1, 90000)))
        for i in range(5):
            sink.write(grey(40 * i), frame_at(i))
        sink.close(ok=True)
        assert sink.warnings == [
            "this PyAV has no H.264 encoder: writing MPEG-4 part 2, which browsers do not play; "
            "run pip install --force-reinstall av"
        ]
        frames = read_back(out)
        assert [f.time_s for f in frames] == pytest.approx([i / 25 for i in range(5)], abs=1e-4)

    def test_none_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.available(monkeypatch)
        sink = Mp4Sink(tmp_path / "out.mp4", INFO)
        with pytest.raises(SinkError) as caught:
            sink.write(grey(9), frame_at(0))
        sink.close(ok=False)
        assert str(caught.value) == (
            "this PyAV has no H.264 encoder: run pip install --force-reinstall av"
        )
        assert leftovers(tmp_path) == []

    def test_size_that_the_encoder_refuses(self, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        with pytest.raises(SinkError) as caught:
            sink.write(grey(9, (2, 40_000)), frame_at(0))
        assert str(caught.value).startswith("the H.264 encoder refuses 40000x2 frames (")
        assert str(caught.value).endswith(f"): write images instead, --output {tmp_path / 'out'}")
        assert leftovers(tmp_path) == []
