"""What the road says: read-outs from label maps. NumPy and OpenCV only.

    from roadseg.road import Corridor, Vocabulary, free_space, shares

    words = Vocabulary(segmenter.classes)
    labels = segmenter(frame_bgr).network_ids       # (h, w) uint8
    shares(labels, words)[3]                        # how much of the picture is road
    free_space(labels, words).pixels                # (w,) rows of free road in each column
    Corridor().read(labels, words).occupied         # what is in the way, 0 to 1

docs/road.md has all of them, with units, costs and how right they are.
"""

from __future__ import annotations

from roadseg.road.areas import Area, IgnoreMask, parse_points
from roadseg.road.bonnet import find_bonnet
from roadseg.road.corridor import Corridor, Occupancy
from roadseg.road.doubt import Doubt, DoubtMaps, Trust, doubt_maps, picture_doubt
from roadseg.road.events import Event, EventWatch, Rule, parse_rule
from roadseg.road.flat_road import FlatRoad
from roadseg.road.free_space import Profile, SteadyProfile, free_space
from roadseg.road.ignore_source import read_ignore_mask
from roadseg.road.privacy import PrivacyMask, hide
from roadseg.road.shares import share_of, shares
from roadseg.road.steady import Steady
from roadseg.road.vocabulary import GROUPS, Vocabulary

__all__ = [
    "GROUPS",
    "Area",
    "Corridor",
    "Doubt",
    "DoubtMaps",
    "Event",
    "EventWatch",
    "FlatRoad",
    "IgnoreMask",
    "Occupancy",
    "PrivacyMask",
    "Profile",
    "Rule",
    "Steady",
    "SteadyProfile",
    "Trust",
    "Vocabulary",
    "doubt_maps",
    "find_bonnet",
    "free_space",
    "hide",
    "parse_points",
    "parse_rule",
    "picture_doubt",
    "read_ignore_mask",
    "share_of",
    "shares",
]
