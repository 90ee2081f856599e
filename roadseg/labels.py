"""Classes: ids, names and colours; CamVid's 11, SUN RGB-D's 37, or your own.

The public name of `roadseg.core.labels`.
"""

from roadseg.core.labels import (
    CAMVID,
    CLASS_NAMES,
    MAX_CLASSES,
    NUM_CLASSES,
    PALETTES,
    SUNRGBD,
    VOID_ID,
    ClassSet,
    class_id,
    known_class_set,
    palette_bgr,
)

__all__ = [
    "CAMVID",
    "CLASS_NAMES",
    "MAX_CLASSES",
    "NUM_CLASSES",
    "PALETTES",
    "SUNRGBD",
    "VOID_ID",
    "ClassSet",
    "class_id",
    "known_class_set",
    "palette_bgr",
]
