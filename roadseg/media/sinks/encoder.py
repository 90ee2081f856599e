"""The choice of video encoder and its settings."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

from roadseg.core.errors import SinkError
from roadseg.core.planes import BT601, Colours
from roadseg.core.processor import usable_cores

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["add_video_stream", "best_encoder"]

# Encoder and inference share the cores: what one takes the other lacks. ultrafast alone leaves
# blocks in skies and roads; with the deblocking filter and CABAC it does not, at less size than
# superfast on motorways and a quarter more in towns. docs/speed.md has the figures.
# Without B-frames, which ultrafast has not, no picture is held back and times start at 0.
_X264_OPTIONS = {"preset": "ultrafast", "crf": "23", "x264-params": "deblock=0,0:cabac=1"}

# More threads do not help x264 at video sizes, and each holds a picture of its own.
_MAX_THREADS = 8

_LIVE_GOP_S = 4

# MPEG-4 part 2 counts time in 16 bits.
_MPEG4_MAX_TICKS = 65535
_MPEG4_BITS_PER_PIXEL = 0.15

# In the numbers of ISO/IEC 23091-2, which H.264 uses. The matrix says how the colours were
# taken apart, the rest that they are those of an ordinary screen.
_LIMITED_RANGE, _FULL_RANGE = 1, 2
_MATRICES = {"bt601": 6, "bt709": 1}
_BT709 = 1


def add_video_stream(
    container: OutputContainer,
    size_hw: tuple[int, int],
    rate: Fraction,
    time_base: Fraction,
    colours: Colours = BT601,
    *,
    live: bool = False,
    threads: int | None = None,
) -> tuple[VideoStream, str | None]:
    """Add a yuv420p video stream with the best encoder of this PyAV.

    Args:
        container: an mp4 that nothing was written to yet.
        size_hw: even height and width.
        rate: nominal frames per second.
        time_base: seconds per tick of the frames' timestamps.
        colours: how its pictures' colours are taken apart.
        live: nothing is held back, so that a process that is killed loses as little as it can;
            and one may jump to every few seconds. The file becomes a little larger.
        threads: that encode; None: as many as help. Several do not always write the same bytes.

    Returns:
        The stream, and a warning if it is not H.264 by x264.

    Raises:
        SinkError: there is no encoder at all.
    """
    encoder = best_encoder()
    if encoder is None:
        raise SinkError(
            "this PyAV has no H.264 encoder", fix="run pip install --force-reinstall av"
        )
    warning = None
    options: dict[str, str] = {}
    if encoder == "libx264":
        options = _X264_OPTIONS
    elif encoder == "libopenh264":
        warning = "this PyAV has no x264: encoding with OpenH264, which makes larger files"
    else:
        warning = (
            "this PyAV has no H.264 encoder: writing MPEG-4 part 2, which browsers do not play; "
            "run pip install --force-reinstall av"
        )
    height, width = size_hw
    stream = cast("VideoStream", container.add_stream(encoder, rate=rate, options=options))
    context = stream.codec_context
    context.width, context.height = width, height
    context.pix_fmt = "yuv420p"
    context.time_base = time_base
    if encoder == "mpeg4" and time_base.denominator > _MPEG4_MAX_TICKS:
        context.time_base = Fraction(1, 60_000)
    if encoder != "libx264":
        context.bit_rate = int(height * width * float(rate) * _MPEG4_BITS_PER_PIXEL)
    # Each thread holds a picture back.
    context.thread_count = 1 if live else threads or min(usable_cores(), _MAX_THREADS)
    if live:
        context.gop_size = max(round(_LIVE_GOP_S * rate), 1)
    context.color_range = _FULL_RANGE if colours.full_range else _LIMITED_RANGE
    context.colorspace = _MATRICES[colours.matrix]
    context.color_primaries = context.color_trc = _BT709
    return stream, warning


def best_encoder() -> str | None:
    """The best video encoder for mp4 files that this PyAV has: x264, OpenH264, MPEG-4 part 2."""
    return next((name for name in ("libx264", "libopenh264", "mpeg4") if _has(name)), None)


def _has(encoder: str) -> bool:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        Codec(encoder, "w")
    except UnknownCodecError:
        return False
    return True
