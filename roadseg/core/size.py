"""Sizes of pictures and of a network's input: height first, in pixels."""

from __future__ import annotations

import re
from typing import TypeAlias

from roadseg.core.errors import UsageError
from roadseg.core.wording import option

SizeHW: TypeAlias = tuple[int, int]
"""(height, width) in pixels."""

NETWORK_SIDES = (32, 4096)
"""The shortest and the longest side of a network's input that files are made for."""


def parse_size(text: str, of: str = "the network's input", example: SizeHW = (352, 480)) -> SizeHW:
    """`"352x480"` to (352, 480), height first.

    Args:
        text: what was typed.
        of: whose size it is, for the error.
        example: a size that could be meant, for the error.

    Raises:
        UsageError: it is not HxW.
    """
    match = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text.strip())
    if match is None:
        raise UsageError(
            f"size {text!r} is not HxW (height x width of {of})",
            fix=f"use for example {option('--size', example)}",
        )
    return int(match[1]), int(match[2])


def takes_only(model: str, own_hw: SizeHW) -> UsageError:
    """The error for another size than the one that a file is made for.

    Args:
        model: the file, as messages name it.
        own_hw: the size of its input.
    """
    return UsageError(
        f"{model} takes {own_hw[0]}x{own_hw[1]} frames only",
        fix=f"use {option('--size', own_hw)}",
    )


def check_network_size(size_hw: SizeHW) -> None:
    """Refuse an input that files are not made for.

    Raises:
        UsageError: a side is too short or too long.
    """
    low, high = NETWORK_SIDES
    if len(size_hw) != 2 or not all(low <= side <= high for side in size_hw):
        shown = "x".join(map(str, size_hw))
        raise UsageError(
            f"network input {shown}: its sides must be {low} to {high}",
            fix=f"use for example {option('--size', (352, 480))}",
        )
