"""From options to a running video loop: what `roadseg run` and `roadseg bench` share.

>>> options = RunOptions(source="drive.mp4", output=Path("out.mp4"))
>>> with open_loop(options) as loop:
...     stats = loop.run()
>>> stats.fps
37.4
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from roadseg.core.cv2_check import one_opencv_thread
from roadseg.core.size import SizeHW
from roadseg.core.wording import option
from roadseg.loading.choice import AUTO
from roadseg.loading.segmenter import Segmenter
from roadseg.video.loop import VideoLoop
from roadseg.video.meters import Meters
from roadseg.video.opening import VideoOptions, check_look, open_video

if TYPE_CHECKING:
    from roadseg.core.progress import ShowProgress


_log = logging.getLogger(__name__)

_TRUSTED = "segnet-lite"
"""The model that the limits of `roadseg.road.Trust` were found for."""


@dataclass(frozen=True, slots=True)
class RunOptions(VideoOptions):
    """One run over one source: what `VideoOptions` has, and the network.

    Attributes:
        model, backend, size_hw, threads: see `roadseg.Segmenter`.
    """

    model: str = "segnet-lite"
    backend: str = "auto"
    size_hw: SizeHW | None = None
    threads: int | None = None


@contextmanager
def open_loop(
    options: RunOptions, *, meters: Meters | None = None, progress: ShowProgress | None = None
) -> Iterator[VideoLoop]:
    """Open everything that a run needs and close it again.

    Cheap checks come first and the network is compiled last, so a typing error costs no wait.
    Nothing is left under the name of the output unless the loop runs.

    Args:
        options: what to run.
        meters: what measures it.
        progress: see `roadseg.Segmenter`.

    Raises:
        RoadsegError: something named by the options is unknown or cannot be opened.
    """
    reading = options.all_reading
    own = options.model in (AUTO, _TRUSTED)
    if reading.wants_doubt and reading.doubt_limit is None and not own:
        _log.info(
            f"the limits of doubt are those of {_TRUSTED}: {options.model} may need its own, "
            f"{option('--doubt-limit')}; docs/road.md says how to find it"
        )
    check_look(options)  # a mistyped option does not wait for the model
    with (
        one_opencv_thread(),
        Segmenter(
            options.model,
            options.backend,
            size_hw=options.size_hw,
            threads=options.threads,
            scores=reading.wants_doubt,
            progress=progress,
        ) as segmenter,
    ):
        segmenter.read_ahead()  # while the source is opened
        calm = replace(options.reading, temperature=segmenter.choice.temperature)
        with open_video(replace(options, reading=calm), segmenter, meters=meters) as loop:
            yield loop
