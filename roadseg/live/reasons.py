"""Why a source was lost: one reason of a small closed set, from the error that ended it.

The reason comes from the kind of the error and of its cause (FFmpeg's or the system's), never from
its text. PyAV's errors are known here by the names of their classes: only `media/` imports PyAV.
"""

from __future__ import annotations

import errno
import os

from roadseg.core.errors import SourceError
from roadseg.live.events import LossReason
from roadseg.media.sources import places

_BY_CLASS = {
    "HTTPUnauthorizedError": LossReason.LOGIN,
    "HTTPForbiddenError": LossReason.LOGIN,
    "HTTPNotFoundError": LossReason.NOT_FOUND,
    "HTTPClientError": LossReason.REFUSED,
    "HTTPServerError": LossReason.PROTOCOL,
    "InvalidDataError": LossReason.CODEC,
    "DecoderNotFoundError": LossReason.CODEC,
    "ProtocolNotFoundError": LossReason.PROTOCOL,
    "ExitError": LossReason.TIMEOUT,
    "EOFError": LossReason.ENDED,
    "TimeoutError": LossReason.TIMEOUT,
    "FileNotFoundError": LossReason.NOT_FOUND,
    "PermissionError": LossReason.REFUSED,
    "ConnectionRefusedError": LossReason.REFUSED,
    "ConnectionError": LossReason.ENDED,
}

_BY_ERRNO = {
    errno.EPROTONOSUPPORT: LossReason.PROTOCOL,
    errno.EHOSTUNREACH: LossReason.NOT_FOUND,
    errno.ENETUNREACH: LossReason.NOT_FOUND,
    errno.EHOSTDOWN: LossReason.NOT_FOUND,
    errno.ENODEV: LossReason.NOT_FOUND,
    errno.EBUSY: LossReason.REFUSED,
}


def reason_of(error: BaseException, spec: str, *, opened: bool, silent: bool) -> LossReason:
    """The reason for the loss of a source.

    Args:
        error: what `open_source` or `Source.read` raised.
        spec: what was opened.
        opened: it had been opened: `read` raised.
        silent: no picture had come for about as long as the source may take.
    """
    cause = error.__cause__
    if not isinstance(error, SourceError):
        return LossReason.PROTOCOL
    if cause is None:
        return _without_cause(spec, opened=opened, silent=silent)
    number = getattr(cause, "errno", None)
    if number == errno.EIO:
        # FFmpeg's word for a name that no server knows, and for a connection that was closed.
        return LossReason.ENDED if opened else LossReason.NOT_FOUND
    for kind in type(cause).__mro__:
        if kind.__name__ in _BY_CLASS:
            return _BY_CLASS[kind.__name__]
    return _BY_ERRNO.get(number or 0, LossReason.ENDED if opened else LossReason.PROTOCOL)


def _without_cause(spec: str, *, opened: bool, silent: bool) -> LossReason:
    """What roadseg itself has found, rather than FFmpeg or the system."""
    if opened:
        # Data came all the time, and no picture in it: it cannot be decoded.
        return LossReason.CODEC if silent else LossReason.ENDED
    try:
        place = places.find(spec)
    except SourceError:
        return LossReason.NOT_FOUND
    if isinstance(place, places.Camera):
        there = os.path.exists(f"/dev/video{place.index}")
        return LossReason.REFUSED if there else LossReason.NOT_FOUND
    return LossReason.CODEC
