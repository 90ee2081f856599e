"""The mp4 sink: what a failure, a full disk or an early end leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import av
import pytest

from roadseg.core.errors import SinkError
from roadseg.media.sinks import mp4 as mp4_sink
from roadseg.media.sinks import yuv_pictures
from roadseg.media.sinks.mp4 import Mp4Sink
from roadseg.video.outputs import Outputs
from tests.support.mp4 import INFO, frame_at, grey, leftovers, read_back

pytestmark = pytest.mark.usefixtures("as_typed")


class TestEnds:
    def test_interrupted_run_leaves_what_was_written(self, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        for i in range(3):
            sink.write(grey(50 * i), frame_at(i))
        sink.close(ok=True)
        assert len(read_back(out)) == 3

    def test_failed_run_leaves_nothing(self, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        sink.write(grey(9), frame_at(0))
        sink.close(ok=False)
        assert leftovers(tmp_path) == []

    @pytest.mark.parametrize("ok", [True, False])
    def test_without_frames_an_earlier_file_stays(self, tmp_path: Path, ok: bool) -> None:
        out = tmp_path / "out.mp4"
        out.write_bytes(b"earlier")
        Mp4Sink(out, INFO).close(ok=ok)
        assert out.read_bytes() == b"earlier"
        assert leftovers(tmp_path) == ["out.mp4"]

    def test_writing_after_closing_is_refused(self, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        sink.close(ok=True)
        with pytest.raises(SinkError) as caught:
            sink.write(grey(9), frame_at(0))
        assert str(caught.value) == f"cannot write {out}: it was closed before: open another sink"

    def test_full_disk_at_renaming(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        sink.write(grey(9), frame_at(0))

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(mp4_sink.os, "replace", full)
        with pytest.raises(SinkError) as caught:
            sink.close(ok=True)
        (part,) = leftovers(tmp_path)
        assert str(caught.value) == (
            f"the disk is full while writing {out}: free some space and run it again; "
            f"what was recorded is in {tmp_path / part}"
        )
        assert len(read_back(tmp_path / part)) == 1

    @pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
    @pytest.mark.parametrize(
        ("limit", "frames", "least"),
        # 9 kB each. Not even the header fits; no picture does; the fourth second does not; it does
        # not when closing; all pictures do, and the index does not.
        [(10, 3, 0), (20_000, 30, 0), (800_000, 150, 75), (800_000, 99, 75), (-100, 60, 60)],
    )
    def test_full_disk_keeps_what_fits(
        self, tmp_path: Path, limit: int, frames: int, least: int
    ) -> None:
        """A real write error inside libavformat: the system lets no file grow beyond a limit."""
        script = textwrap.dedent(
            """
            import resource, sys
            import numpy as np
            from fractions import Fraction
            from pathlib import Path
            from roadseg.core.errors import SinkError
            from roadseg.core.types import Frame
            from roadseg.media.sinks.mp4 import Mp4Sink
            from roadseg.media.sources.base import SourceInfo

            info = SourceInfo("t", "file", None, Fraction(25), None, False, None, Fraction(1, 25))
            path, limit, frames = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

            def work(sink):
                rng = np.random.default_rng(0)
                for i in range(frames):
                    image = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
                    sink.write(image, Frame(image, i, i / 25, 0.0))
                sink.close(ok=True)

            if limit < 0:  # less than is needed
                work(Mp4Sink(path, info))
                limit += path.stat().st_size
                path.unlink()
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            sink = Mp4Sink(path, info)
            try:
                work(sink)
            except SinkError as exc:
                sink.close(ok=False)
                print(exc)
                print(*sink.warnings)
            else:
                print("no error")
            """
        )
        out = tmp_path / "out.mp4"
        command = [sys.executable, "-c", script, str(out), str(limit), str(frames)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        error, warning = done.stdout.splitlines()
        assert error == (
            f"{out} grew larger than this system allows a file to be: "
            "raise the limit (ulimit -f) or process fewer frames (max_frames)"
        )
        if not least:
            assert (warning, leftovers(tmp_path)) == ("", [])
            return
        assert leftovers(tmp_path) == ["out.mp4"]
        kept = read_back(out)
        assert len(kept) >= least
        assert [f.time_s for f in kept] == pytest.approx([i / 25 for i in range(len(kept))])
        assert warning == f"{out} ends early: it holds the first {len(kept)} frames"

    @pytest.mark.parametrize(
        "error", [av.error.ExternalError(542398533, "broken"), RuntimeError("bug")]
    )
    def test_an_encoder_that_fails_midway(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        for i in range(40):
            sink.write(grey(i), frame_at(i))

        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(yuv_pictures, "to_planes", fail)
        with pytest.raises((SinkError, RuntimeError), match="broken|bug"):
            sink.write(grey(40), frame_at(40))
        sink.close(ok=False)
        assert len(read_back(out)) == 40
        assert sink.warnings == [f"{out} ends early: it holds the first 40 frames"]
        assert leftovers(tmp_path) == ["out.mp4"]

    def test_no_room_for_moving_the_index(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "out.mp4"
        sink = Mp4Sink(out, INFO)
        for i in range(10):
            sink.write(grey(i), frame_at(i))

        def full(_: Path, copy: Path) -> bool:
            copy.write_bytes(b"begun")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(mp4_sink, "move_index_to_front", full)
        sink.close(ok=True)
        assert len(read_back(out)) == 10
        data = out.read_bytes()
        assert data.index(b"mdat") < data.rindex(b"moov")
        assert sink.warnings == [
            f"{out} has its index at its end (no space left on device): it plays, but a browser "
            "has to load all of it first"
        ]
        assert leftovers(tmp_path) == ["out.mp4"]

    def test_what_was_written_is_sent_to_the_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[int] = []
        monkeypatch.setattr(
            mp4_sink.os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino)
        )
        sink = Mp4Sink(tmp_path / "out.mp4", INFO)
        outputs = Outputs(sink, None)
        sink.write(grey(9), frame_at(0))
        (part,) = tmp_path.glob(".*.part")
        outputs.sync()
        assert synced == [part.stat().st_ino]
        part_inode = synced.pop()
        sink.close(ok=True)
        assert synced == [part_inode, (tmp_path / "out.mp4").stat().st_ino], "before each renaming"
        outputs.sync()
        assert len(synced) == 2

    @pytest.mark.parametrize("name", ["x" * 251 + ".mp4", "ü" * 125 + "y.mp4"])
    def test_longest_names(self, tmp_path: Path, name: str) -> None:
        out = tmp_path / name
        assert len(os.fsencode(name)) == 255
        sink = Mp4Sink(out, INFO)
        assert len(leftovers(tmp_path)) == 2, "a part and a lock"
        sink.write(grey(9), frame_at(0))
        sink.close(ok=True)
        assert leftovers(tmp_path) == [name]
        assert len(read_back(out)) == 1
