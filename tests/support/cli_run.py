"""`roadseg run` with the network that needs no weights, and what it wrote."""

from __future__ import annotations

import numpy as np

from roadseg.cli import main

FRAMES = 7


SIZE_HW = (48, 64)


def run(source, *options) -> int:
    return main(["run", "--source", str(source), "--backend", "fake", *map(str, options)])


def frames_of(path) -> list[np.ndarray]:
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
