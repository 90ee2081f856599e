"""Clips cut out of a stream of encoded pictures while it is being encoded, without encoding again.

    encoder -> PacketTap -> RecentPictures, the last seconds in memory -> ClipFile

The encoder is that of a recording (`Mp4Sink.tap`), or one of their own (`PictureEncoder`).
"""

from __future__ import annotations

from roadseg.media.sinks.clips.clip_file import ClipFile
from roadseg.media.sinks.clips.picture_encoder import PictureEncoder
from roadseg.media.sinks.clips.recent import RecentPictures
from roadseg.media.sinks.clips.tap import EncodedPicture, PacketTap

__all__ = ["ClipFile", "EncodedPicture", "PacketTap", "PictureEncoder", "RecentPictures"]
