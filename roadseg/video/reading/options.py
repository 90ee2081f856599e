"""What a run is asked to say about the road."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from roadseg.core.errors import UsageError
from roadseg.core.files import with_ending
from roadseg.core.installing import require
from roadseg.core.labels import ClassSet
from roadseg.core.wording import option
from roadseg.road.privacy import check_style
from roadseg.road.vocabulary import Vocabulary, parse_group
from roadseg.video.clips import Roll

_TIMELINES = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """What the road says during a run; without any of it frames take no step more.

    Attributes:
        readouts: show read-outs and take their means; see `wants_readouts`.
        timeline: `.csv`, `.jsonl` or `.parquet` file with a row for each frame, None for none.
        corridor: corners of the ego corridor, see `roadseg.road.parse_points`; the road straight
            ahead of the camera without any.
        camera_height_m, horizon, fov_deg: see `roadseg.road.FlatRoad.of_picture`; its defaults
            where None. `horizon` is a row of the picture.
        ignore_mask: what is neither coloured nor counted, see `roadseg.road.read_ignore_mask`;
            None for nothing.
        smooth: steady labels with `roadseg.road.Steady`, one frame late.
        blur: classes or groups to hide in the frame before anything leaves the program.
        blur_style: how; one of `roadseg.road.privacy.STYLES`.
        doubt: read from each frame how sure the network is; needs scores.
        doubt_limit: mean entropy above which a picture is not to be trusted, 0 to 1; that of
            `segnet-lite` where None. See `roadseg.road.Trust`.
        doubt_view: read it for each pixel, for the view of that name.
        temperature: that the network's scores are divided by; see `roadseg.evaluation.temperature`.
        rules: events to watch for; see `roadseg.road.events.grammar`.
        events: `.jsonl` file with a line for each event, None for none.
        event_clips: folder for a clip and a snapshot of each event, None for none.
        roll: what clips show before and after their events.
        groups: `NAME=CLASS,CLASS`; see `roadseg.road.Vocabulary`.
    """

    readouts: bool = False
    timeline: Path | None = None
    corridor: str | None = None
    camera_height_m: float | None = None
    horizon: float | None = None
    fov_deg: float | None = None
    ignore_mask: str | Path | None = None
    smooth: bool = False
    blur: tuple[str, ...] = ()
    blur_style: str = "blur"
    doubt: bool = False
    doubt_limit: float | None = None
    doubt_view: bool = False
    temperature: float = 1.0
    rules: tuple[str, ...] = ()
    events: Path | None = None
    event_clips: Path | None = None
    roll: Roll = field(default_factory=Roll)
    groups: tuple[str, ...] = ()

    @property
    def wants_readouts(self) -> bool:
        """Whether each frame is read: when asked for, and when something says how to."""
        how = (self.timeline, self.corridor, self.camera_height_m, self.horizon, self.fov_deg)
        return self.readouts or any(value is not None for value in how)

    @property
    def wants_doubt(self) -> bool:
        """Whether the scores behind the labels are needed."""
        return self.doubt or self.doubt_view or self.doubt_limit is not None

    @property
    def wants_reader(self) -> bool:
        """Whether frames take any step between the network and the picture."""
        steps = self.wants_readouts or self.wants_doubt or self.smooth
        return steps or bool(self.blur or self.rules) or self.ignore_mask is not None

    @property
    def wants_files(self) -> bool:
        """Whether files of its own are written."""
        files = (self.timeline, self.events, self.event_clips)
        return any(path is not None for path in files)

    def check(self) -> None:
        """Refuse what can be seen to be wrong before the model is known.

        Raises:
            UsageError: a limit is out of range, timeline or events are a file of another kind,
                there are no rules for events, a group cannot be read, there is no such
                `blur_style`, or one without `blur`.
            BackendError: it needs a package that is not installed.
        """
        check_style(self.blur_style)
        if self.blur_style != "blur" and not self.blur:
            raise nothing_to_hide(self.blur_style)
        for text in self.groups:
            parse_group(text)
        if self.doubt_limit is not None and not 0 < self.doubt_limit < 1:
            raise UsageError(
                f"{option('--doubt-limit', f'{self.doubt_limit:g}')} is not between 0 and 1",
                fix=f"use for example {option('--doubt-limit', 0.12)}",
            )
        for path in (self.events, self.event_clips):
            if path is None or self.rules:
                continue
            raise UsageError(
                f"there is nothing to write to {path}",
                fix="say what to watch for with "
                + option("--event", "NAME: car in corridor > 5%", parameter="rules"),
            )
        if self.events is not None and self.events.suffix.lower() != ".jsonl":
            raise UsageError(
                f"cannot write events to {self.events}",
                fix=f"use {option('--events', with_ending(self.events, '.jsonl', 'events'))}",
            )
        if self.timeline is None:
            return
        suffix = self.timeline.suffix.lower()
        if suffix not in _TIMELINES:
            raise UsageError(
                f"cannot write a timeline to {self.timeline}",
                fix=f"use {option('--timeline', 'FILE.csv')}, .jsonl or .parquet",
            )
        if suffix == ".parquet":
            require("a timeline in Parquet", ("pyarrow",), "timeline")

    def check_groups(self, classes: ClassSet) -> None:
        """Refuse groups of what the model does not know, also where nothing is read by them.

        Raises:
            UsageError: there is one.
        """
        Vocabulary(classes, self.groups)


def nothing_to_hide(style: str) -> UsageError:
    """The error for a `blur_style` that hides nothing: somebody expects that it does."""
    return UsageError(
        f"{option('--blur-style', style)} says how to hide, not what",
        fix=f"add {option('--blur', 'people,car')}, or leave it out",
    )
