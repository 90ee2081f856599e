"""PNG files: pictures for `--output FOLDER` or `FILE.png`, class ids for `--save-masks FOLDER`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.errors import SinkError
from roadseg.core.types import Frame, Labels, Picture, as_bgr
from roadseg.core.wording import option
from roadseg.media.sinks.targets import Claim, claim_file, claim_folder, replace_file, write_failure
from roadseg.media.sources.base import SourceInfo

__all__ = ["PngFileSink", "PngFolderSink", "PngMaskSink", "PngSink"]

# zlib level 1: three times faster than OpenCV's default for about a tenth more bytes.
_PNG_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def _unencoded(name: str, why: str) -> SinkError:
    return SinkError(f"cannot encode {name} ({why})", fix="free some memory, or write a video")


class PngSink:
    """Writes PNG files into a folder.

    A frame of a picture file gives its result that file's name, other frames give it their number
    (`000000.png`, `000001.png`, ...; dropped frames leave gaps). So pictures and masks of one
    frame have the same name.
    """

    def __init__(self, folder: Path, claim: Claim) -> None:
        self.path: Path | None = folder
        self.frames_out = 0
        self.warnings = claim.warnings
        self._folder = folder
        self._claim = claim

    def close(self, *, ok: bool) -> None:  # noqa: ARG002
        """See `Sink.close`. Each PNG is complete as soon as it has its name, so there is nothing
        to finish and, after a failure, nothing to remove."""
        self._claim.release()

    def name_of(self, frame: Frame) -> str:
        """Name of the file that holds the frame's result."""
        return f"{frame.index:06d}.png" if frame.name is None else f"{frame.name}.png"

    def _put(self, pixels: npt.NDArray[np.uint8], frame: Frame) -> None:
        name = self.name_of(frame)
        # The number, since a long name could grow too long for the system.
        temporary = self._folder / f".{frame.index:06d}.png.part"
        try:
            good, data = cv2.imencode(".png", pixels, _PNG_OPTIONS)
        except cv2.error as exc:
            raise _unencoded(name, f"{pixels.shape}: {exc.err}") from exc
        if not good:
            raise _unencoded(name, str(pixels.shape))
        try:
            temporary.write_bytes(data.tobytes())
        except OSError as exc:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise write_failure(self._folder / name, exc) from exc
        replace_file(temporary, self._folder / name)
        self.frames_out += 1


class PngFolderSink(PngSink):
    """See `roadseg.media.sinks.sink.Sink`.

    Raises:
        SinkError: the folder cannot be written to, or is the source's own.
    """

    def __init__(self, folder: Path, source: SourceInfo, *, overwrite: bool = True) -> None:
        super().__init__(folder, claim_folder(folder, source, name="--output", overwrite=overwrite))

    def write(self, picture: Picture, frame: Frame) -> None:
        """See `Sink.write`."""
        self._put(as_bgr(picture), frame)


class PngFileSink(PngSink):
    """One PNG, for a source of one frame; see `roadseg.media.sinks.sink.Sink`.

    Raises:
        SinkError: it cannot be written, or is the source itself.
    """

    def __init__(self, path: Path, source: SourceInfo, *, overwrite: bool = True) -> None:
        claim = claim_file(path, source, overwrite=overwrite)
        # The file is small enough to be written in one go.
        claim.temporary.unlink()
        super().__init__(path.parent, claim)
        self.path = path

    def name_of(self, frame: Frame) -> str:  # noqa: ARG002
        """The one that was asked for."""
        assert self.path is not None
        return self.path.name

    def write(self, picture: Picture, frame: Frame) -> None:
        """See `Sink.write`."""
        if self.frames_out:
            raise SinkError(
                f"cannot write several frames into {self.path}",
                fix=f"give a folder, or {option('--max-frames', 1)}",
            )
        self._put(as_bgr(picture), frame)


class PngMaskSink(PngSink):
    """Class ids as 8-bit single-channel PNGs of the frame's size: pixel value = class id.

    Args:
        folder: where they go; created where it is missing.
        source: must not read images from that folder.
        output: what the picture sink writes; must not be the same folder.
        overwrite: whether PNGs that are there already may be replaced.

    Raises:
        SinkError: the folder cannot be written to, or is the source's or the output's.
    """

    def __init__(
        self,
        folder: Path,
        source: SourceInfo,
        *,
        output: Path | None = None,
        overwrite: bool = True,
    ) -> None:
        claim = claim_folder(folder, source, name="--save-masks", overwrite=overwrite, other=output)
        super().__init__(folder, claim)

    def write(self, ids: Labels, frame: Frame) -> None:
        """Write one mask: (H, W) uint8 class ids.

        Raises:
            ValueError: it is not (H, W) uint8.
            SinkError: it could not be written, for example because the disk is full.
        """
        if ids.ndim != 2 or ids.dtype != np.uint8:
            raise ValueError(f"expected (H, W) uint8 class ids, got {ids.shape} {ids.dtype}")
        self._put(ids, frame)
