"""H.264 in mp4: plays in browsers and players, keeps the source's times and sound."""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from roadseg.core.errors import SinkError
from roadseg.core.files import is_special, put_in_place, sync
from roadseg.core.types import Frame, Picture
from roadseg.core.wording import option
from roadseg.media.container import file_url, reason
from roadseg.media.sinks.companions import Companions
from roadseg.media.sinks.encoder import add_video_stream
from roadseg.media.sinks.leftovers import new_copy
from roadseg.media.sinks.mp4_boxes import keep_whole_fragments, move_index_to_front
from roadseg.media.sinks.targets import claim_file, closed_before, write_failure
from roadseg.media.sinks.yuv_pictures import YuvPictures
from roadseg.media.sound.reader import sound_errors
from roadseg.media.sound.track import AudioTrack
from roadseg.media.sources.base import SourceInfo
from roadseg.media.tags import kept_tags

if TYPE_CHECKING:
    from av import Packet
    from av.container import OutputContainer
    from av.video.stream import VideoStream

    from roadseg.media.sinks.clips.tap import PacketTap


# The file grows in fragments, so that it plays wherever writing ends; the muxer makes an ordinary
# file of it when it is closed. A fragment is a second long and goes to the system at once. It
# need not begin with a key picture: that matters to streams, while files are read from their start.
_MUXER_OPTIONS = {
    "frag_duration": "1000000",
    "flush_packets": "1",
    # Where sound pauses or ends, pictures would wait for it for 10 s.
    "max_interleave_delta": "100000",
}
# The first fragment waits for the first sound, so that it can say how the two lie to each other. It
# waits for subtitles and data as well.
_ALL_SOON = {"movflags": "+hybrid_fragmented+delay_moov+use_metadata_tags"}
# What begins later than this, or never, is not waited for: a kill would leave nothing.
_SOON_S = Fraction(1, 2)
_SOME_LATER = {
    "movflags": "+hybrid_fragmented+empty_moov+frag_discont+use_metadata_tags",
    "use_editlist": "1",
}


class Mp4Sink:
    """See `roadseg.media.sinks.sink.Sink`.

    The video has the size of the first picture (`size_hw` if given), made even by repeating the
    last row or column, and its colour matrix and range if that is in planes; pictures of another
    size are fitted into it on black. Frames keep their own times, so a variable frame rate stays
    one. Sound is copied where mp4 allows its codec, encoded as AAC otherwise. It ends with the
    last picture, or, where the source came to its own end, with the source; the last picture
    stands until then.

    Everything goes to a hidden file beside the target, which takes the final name at the end; then
    its index moves to the front, so that browsers play while they load. The hidden file plays up to
    the last one or two seconds at any time: a full disk or an encoder that fails leaves it under
    the final name, a killed process under the hidden one.

    `live` is for recordings without an end: a kill loses hardly more than the last second, and the
    index stays where it is, since moving it would write all of the file a second time.

    With one of `threads` the same pictures are the same bytes each time; see `add_video_stream`.

    Attributes:
        tap: is given every packet, for clips; None for nobody. To be set before the first picture.

    Raises:
        SinkError: the target cannot be written, is the source itself, or another run's.
    """

    def __init__(
        self,
        path: Path,
        source: SourceInfo,
        size_hw: tuple[int, int] | None = None,
        *,
        overwrite: bool = True,
        live: bool = False,
        threads: int | None = None,
    ) -> None:
        self.path: Path | None = path
        self._live = live
        self._threads = threads
        self.frames_out = 0
        self._target = path
        self._source = source
        self._pictures = YuvPictures(source, size_hw)
        # How long the last picture stands, and whether the source ended with it.
        self._last_stands_s: float | None = None
        self._is_whole = False
        self._held: Packet | None = None
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._audio: AudioTrack | None = None
        self._companions: Companions | None = None
        self._closed = False
        self.tap: PacketTap | None = None
        self._claim = claim_file(path, source, overwrite=overwrite)
        self._temporary = self._claim.temporary
        self.warnings = self._claim.warnings

    def _start(self, picture: Picture) -> VideoStream:
        import av

        coded_hw = self._pictures.begin(picture)
        url, options = file_url(self._temporary), dict(_MUXER_OPTIONS)
        self._container = av.open(url, "w", format="mp4", options=options)
        stream, warning = add_video_stream(
            self._container,
            coded_hw,
            self._pictures.rate,
            self._pictures.time_base,
            self._pictures.colours,
            live=self._live,
            threads=self._threads,
        )
        if warning:
            self.warnings.append(warning)
        self._container.metadata.update(kept_tags(self._source.tags))
        self._add_sound(self._container)
        self._add_companions(self._container)
        soon = self._audio is None or self._audio.begins_by(_SOON_S)
        soon = soon and (self._companions is None or self._companions.begin_by(_SOON_S))
        self._container.options.update(_ALL_SOON if soon else _SOME_LATER)
        # Where the disk refuses the header, there is no stream to end: a second attempt to write
        # a header ends the process.
        self._container.start_encoding()
        return stream

    def _add_sound(self, container: OutputContainer) -> None:
        """The sound of the source, or a warning that says why there is none."""
        why = self._source.no_sound
        source = self._source
        if source.has_audio and source.reopen is not None:
            try:
                self._audio = AudioTrack(source.reopen, container, source.start_s, source.cuts_s)
            except sound_errors() as exc:
                why = reason(exc)
        if why:
            self.warnings.append(f"{self._target} has no sound: {why}")

    def _add_companions(self, container: OutputContainer) -> None:
        """Subtitles and data of the source, as far as mp4 can hold them."""
        source = self._source
        if not source.has_data or source.reopen is None:
            return
        try:
            self._companions = Companions(source.reopen, container, source.start_s, source.cuts_s)
            left_out = self._companions.left_out
        except sound_errors() as exc:
            left_out = [f"subtitles and data: {reason(exc)}"]
        if left_out:
            self.warnings.append(
                f"{self._target} leaves out what mp4 cannot hold: {', '.join(left_out)}"
            )

    def write(self, picture: Picture, frame: Frame) -> None:
        """See `Sink.write`."""
        import av

        if self._closed:
            raise closed_before(self._target)
        try:
            if self._stream is None:
                self._stream = self._start(picture)
            self._encode(self._stream, picture, frame)
        except (av.error.FFmpegError, OSError, ValueError, MemoryError) as exc:
            self._fail(exc)
        except Exception:
            self._keep_what_plays()
            raise
        self.frames_out += 1

    def _encode(self, stream: VideoStream, picture: Picture, frame: Frame) -> None:
        assert self._container is not None
        yuv = self._pictures.make(picture, frame)
        assert yuv.pts is not None
        time_s = yuv.pts * self._pictures.time_base
        self._last_stands_s, self._is_whole = frame.duration_s, frame.is_last
        if self._audio is not None:
            self._audio.picture(frame.source_s, time_s)
        if self._companions is not None:
            self._companions.picture(frame.source_s, time_s)
        if self.tap is not None:
            self.tap.before(yuv)
        for packet in stream.encode(yuv):
            self._mux_behind(packet)

    def _mux_behind(self, packet: Packet) -> None:
        """Write the packet before `packet`: how long the last one stands is known at the end."""
        assert self._container is not None
        if self.tap is not None:
            self.tap.take(packet)
        held, self._held = self._held, packet
        if held is not None:
            self._container.mux(held)

    def _mux_last(self, stream: VideoStream, stands_until_s: Fraction | None = None) -> None:
        """Write what is held back; the last picture stands until a time, or as planned."""
        assert self._container is not None
        for packet in stream.encode(None):
            self._mux_behind(packet)
        last, self._held = self._held, None
        if last is None:
            return
        if stands_until_s is not None and last.pts is not None and last.time_base:
            last.duration = max(round(stands_until_s / last.time_base) - last.pts, 1)
        self._container.mux(last)

    def sync(self) -> None:
        """Wait until the disk has what was written; any thread may call this."""
        # It is a precaution: a disk that fails is reported by what writes to it.
        with contextlib.suppress(OSError):
            sync(self._temporary)

    def _fail(self, exc: BaseException) -> NoReturn:
        """Keep what can be played, if anything, and raise what `exc` means."""
        import av

        self._keep_what_plays()
        refused = isinstance(exc, (ValueError, av.error.ExternalError))
        if refused and self.frames_out == 0 and self._pictures.coded_hw is not None:
            height, width = self._pictures.coded_hw
            raise SinkError(
                f"the H.264 encoder refuses {width}x{height} frames ({reason(exc)})",
                fix=f"write images instead, {option('--output', self._target.with_suffix(''))}",
            ) from exc
        raise write_failure(self._target, exc) from exc

    def _keep_what_plays(self) -> None:
        """Give up, but leave under the final name what was written so far."""
        self._let_go()
        pictures = 0
        with contextlib.suppress(OSError):
            pictures = keep_whole_fragments(self._temporary)
        if pictures:
            self._put_in_place()
            count = "one frame" if pictures == 1 else f"{pictures} frames"
            self.warnings.append(f"{self._target} ends early: it holds the first {count}")
        self._forget()

    def _discard(self) -> None:
        self._let_go()
        self._forget()

    def _let_go(self) -> None:
        """Close what is open, without minding what fails."""
        import av

        self._closed = True
        if self._audio is not None:
            self._audio.close()
        if self._companions is not None:
            self._companions.close()
        failures = (av.error.FFmpegError, OSError, ValueError)
        if self._container is not None:
            # The encoder may still hold pictures, and we do hold one.
            with contextlib.suppress(*failures):
                # Without an encoder that was opened, PyAV 19 ends the process here.
                if self._stream is not None and self._stream.codec_context.is_open:
                    self._mux_last(self._stream)
            with contextlib.suppress(*failures):
                self._container.close()

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)
        self._claim.release()

    def _put_in_place(self) -> None:
        """Give the file its name.

        Raises:
            SinkError: it cannot be renamed; it stays where it is.
        """
        try:
            sync(self._temporary)
            put_in_place(self._temporary, self._target.resolve())
        except OSError as exc:
            self._claim.release()
            failure = write_failure(self._target, exc)
            kept = f"what was recorded is in {self._temporary}"
            fix = f"{failure.fix}; {kept}" if failure.fix else kept
            raise SinkError(failure.what, fix=fix) from exc

    def _move_index(self, place: Path) -> None:
        """Make browsers play while they load; a disk without room for a copy leaves it as it is."""
        copy = new_copy(place)
        try:
            if move_index_to_front(place, copy):
                os.replace(copy, place)
                return
            why = "it is too large to be moved"
        except OSError as exc:
            why = reason(exc)
        finally:
            with contextlib.suppress(OSError):
                copy.unlink(missing_ok=True)
        self.warnings.append(
            f"{self._target} has its index at its end ({why}): it plays, but a browser has to "
            "load all of it first"
        )

    def close(self, *, ok: bool) -> None:
        """See `Sink.close`. Without a single frame there is nothing to complete, and a file of
        an earlier run stays as it was."""
        import av

        if self._closed:
            return
        last_pts, time_base = self._pictures.last_pts, self._pictures.time_base
        if not ok or self._stream is None or self._container is None or last_pts is None:
            self._discard()
            return
        try:
            end_s = (last_pts + self._pictures.step) * time_base
            if self._last_stands_s:
                end_s = last_pts * time_base + Fraction(self._last_stands_s)
            if self._audio is not None:
                sound_end_s = self._audio.finish(end_s, whole=self._is_whole)
                end_s = max(end_s, sound_end_s) if self._is_whole else end_s
                self.warnings += self._audio.warnings
            if self._companions is not None:
                self._companions.finish(end_s)
            self._mux_last(self._stream, end_s)
            self._container.close()
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            self._fail(exc)
        self._closed = True
        place = self._target.resolve()
        can_be_changed = not is_special(place)
        if not self._live and not can_be_changed:
            self._move_index(self._temporary)
        self._put_in_place()
        if not self._live and can_be_changed:
            self._move_index(place)
        self._claim.release()
