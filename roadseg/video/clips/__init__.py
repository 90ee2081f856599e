"""Clips and snapshots of events, written while a video runs.

    reader --Cues--> EventClips.write --> its thread: RecentPictures, ClipFile, snapshot

What a clip holds was encoded already, for the recording or, without one, for the clips alone; so a
run with clips does nothing more for a frame than to hand it on.
"""

from __future__ import annotations

from roadseg.video.clips.cues import ClipEnd, Cues, Moment
from roadseg.video.clips.event_clips import EventClips, open_clips
from roadseg.video.clips.folder import ClipFolder
from roadseg.video.clips.roll import Roll

__all__ = ["ClipEnd", "ClipFolder", "Cues", "EventClips", "Moment", "Roll", "open_clips"]
