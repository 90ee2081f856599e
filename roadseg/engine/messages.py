"""What TensorRT says while it works: kept, and put into one line when something fails.

TensorRT keeps a pointer to the first logger that it is given, for the rest of the process. So there
is one logger for each of its modules, which is never given back, and it writes to whoever
listens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Messages:
    """What was said since `listen` began.

    Attributes:
        errors: the texts of errors, in the order in which they came.
        lines: errors and warnings, each on one line that says which it is.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.lines: list[str] = []


_LOGGERS: dict[str, Any] = {}
_LISTENERS: list[Messages] = []


@contextmanager
def listen(trt: Any) -> Iterator[tuple[Any, Messages]]:
    """TensorRT's logger, to be given to whatever it makes, and what it says inside the block.

    Args:
        trt: TensorRT's Python module.
    """
    messages = Messages()
    _LISTENERS.append(messages)
    try:
        yield _logger(trt), messages
    finally:
        _LISTENERS.remove(messages)


def first_reason(messages: Sequence[str]) -> str:
    """The first error says what happened, those after it what followed from that."""
    for message in messages:
        line = " ".join(message.split())
        # "[file.cpp::line] Error Code 6: API Usage Error (text. In f at file.cpp:123)"
        inner = re.search(r"Error Code \d+: (.*)$", line)
        line = inner[1] if inner else line
        line = re.sub(r"\.? ?In \S+ at \S+:\d+", "", line)
        line = re.sub(r"\(\s*\((.*)\)\)", r"(\1)", line)
        return re.sub(r"\(\s+", "(", line).rstrip(" .")
    return "it gave no reason"


def is_out_of_memory(messages: Sequence[str]) -> bool:
    """Whether one of them is about memory that is not there."""
    # CUDA says it as CUDA_ERROR_OUT_OF_MEMORY and cudaErrorMemoryAllocation.
    pattern = r"out[ _]?of[ _]?memory|MemoryAllocation"
    return any(re.search(pattern, message, re.IGNORECASE) for message in messages)


def _logger(trt: Any) -> Any:
    name = str(trt.__name__)
    if name not in _LOGGERS or not isinstance(_LOGGERS[name], trt.ILogger):
        _LOGGERS[name] = _new_logger(trt)
    return _LOGGERS[name]


def _new_logger(trt: Any) -> Any:
    severity = trt.ILogger.Severity
    errors = (severity.INTERNAL_ERROR, severity.ERROR)

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            # From any thread; appending needs no lock.
            is_error = severity in errors
            if not is_error and severity != trt.ILogger.Severity.WARNING:
                return
            for messages in tuple(_LISTENERS):
                if is_error:
                    messages.errors.append(msg)
                kind = "error" if is_error else "warning"
                messages.lines.append(f"{kind}: {' '.join(msg.split())}")

    return Logger()
