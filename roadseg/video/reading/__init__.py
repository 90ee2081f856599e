"""What the road says while a video runs: read-outs of each frame, their means, the timeline.

`roadseg.road` has the read-outs themselves. Here they meet a run: `Reader` makes them once from the
options and the model's classes, and is given each frame with its labels; nothing of this is made
for a run that does not ask.
"""

from __future__ import annotations

from roadseg.video.reading.left_out import LeftOut
from roadseg.video.reading.options import ReadingOptions
from roadseg.video.reading.read import Read
from roadseg.video.reading.reader import Reader
from roadseg.video.reading.readouts import Reading, Readouts
from roadseg.video.reading.timeline import Row, Timeline

__all__ = ["LeftOut", "Read", "Reader", "Reading", "ReadingOptions", "Readouts", "Row", "Timeline"]
