"""PTX as text: who wrote it, one kernel out of several, parameters in another order."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A kernel begins in the first column and ends with a brace there; inside, braces are indented or
# share their line. Its parameters are known by name inside, so their order is free.
_ENTRY = re.compile(
    r"^\.visible \.entry (?P<symbol>\w+)\((?P<parameters>[^)]*)\).*?^\}\s*",
    re.DOTALL | re.MULTILINE,
)


def cuda_release(ptx: str) -> tuple[int, int]:
    """The CUDA version of the compiler that wrote it: (13, 0).

    Raises:
        ValueError: it does not say.
    """
    found = re.search(r"^// Cuda compilation tools, release (\d+)\.(\d+)", ptx, re.MULTILINE)
    if found is None:
        raise ValueError("the compiled code does not name its compiler")
    return int(found[1]), int(found[2])


def entry_ptx(ptx: str, symbol: str, order: Sequence[int] | None = None) -> str:
    """A module with one of the kernels of another.

    An engine holds the code of each of its plugins, and the driver compiles all of it when the
    engine is loaded: better that each holds the one kernel that it runs.

    Args:
        ptx: a module whose kernels call no functions of it.
        symbol: the kernel to keep.
        order: for each parameter of the result, its place among those of `ptx`; None keeps them.

    Raises:
        ValueError: there is no such kernel, or it has another number of parameters.
    """
    entries = list(_ENTRY.finditer(ptx))
    kept = next((entry for entry in entries if entry["symbol"] == symbol), None)
    if kept is None:
        raise ValueError(f"the compiled code has no kernel {symbol}")
    header = ptx[: entries[0].start()]
    text = kept[0]
    if order is not None:
        parameters = [parameter.strip() for parameter in kept["parameters"].split(",")]
        if sorted(order) != list(range(len(parameters))):
            raise ValueError(f"{symbol} has {len(parameters)} parameters, not {len(order)}")
        reordered = ",\n\t".join(parameters[i] for i in order)
        text = text.replace(kept["parameters"], f"\n\t{reordered}\n", 1)
    return header + text
