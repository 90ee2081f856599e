"""What every read-out of a run needs to know: names, the camera, the corridor, what is left out."""

from __future__ import annotations

from dataclasses import dataclass

from roadseg.core.errors import UsageError
from roadseg.core.labels import ClassSet
from roadseg.core.size import SizeHW
from roadseg.road import (
    Corridor,
    FlatRoad,
    IgnoreMask,
    Vocabulary,
    parse_points,
    read_ignore_mask,
)
from roadseg.video.reading.options import ReadingOptions

_ANY_HW = (480, 640)


@dataclass(frozen=True)
class Scene:
    """Names, camera, corridor and what is left out.

    Attributes:
        words: what class ids mean.
        names: those of classes and of the user's groups, in that order.
        camera: for metres.
        corridor: what lies ahead.
        ignore: what does not count.
        is_sized: the pictures' size is known; until then the camera is that of pictures of 4:3.
    """

    words: Vocabulary
    names: tuple[str, ...]
    camera: FlatRoad
    corridor: Corridor
    ignore: IgnoreMask | None = None
    is_sized: bool = True

    @classmethod
    def of(cls, options: ReadingOptions, classes: ClassSet, picture_hw: SizeHW | None) -> Scene:
        """The scene of pictures of this size; None where it is not known yet.

        Raises:
            UsageError: groups, camera, corridor or ignore mask are wrong.
        """
        is_sized = picture_hw is not None
        picture_hw = picture_hw or _ANY_HW
        words = Vocabulary(classes, options.groups)
        own = [text.partition("=")[0].strip() for text in options.groups]
        camera = FlatRoad.of_picture(
            picture_hw,
            1.3 if options.camera_height_m is None else options.camera_height_m,
            options.horizon,
            60.0 if options.fov_deg is None else options.fov_deg,
        )
        if options.corridor is None:
            corridor = Corridor.ahead(camera)
        else:
            try:
                points = parse_points(options.corridor, picture_hw)
            except UsageError as exc:
                raise UsageError(f"the corridor's {exc.what}", fix=exc.fix) from exc
            corridor = Corridor(points)
        ignore = None
        if options.ignore_mask is not None:
            ignore = read_ignore_mask(options.ignore_mask, picture_hw)
        names = tuple(dict.fromkeys([*classes.names, *own]))
        return cls(words, names, camera, corridor, ignore, is_sized)
