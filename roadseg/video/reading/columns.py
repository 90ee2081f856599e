"""The columns of a timeline, and what may stand in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Value: TypeAlias = int | float | str | None
Values: TypeAlias = tuple[float | None, ...]
"""Several in one field."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: stable from version to version.
        kind: of its values; each may be empty. `floats` are several in each row.
    """

    name: str
    kind: Literal["int", "float", "text", "floats"]


_COLUMNS = (
    Column("frame", "int"),
    Column("time_s", "float"),
    Column("age_ms", "float"),
    Column("model", "text"),
    Column("road_share", "float"),
    Column("free_px", "float"),
    Column("free_m", "float"),
    Column("free_profile_px", "floats"),
    Column("free_profile_m", "floats"),
    Column("corridor_occupied", "float"),
    Column("corridor_nearest_px", "int"),
    Column("corridor_nearest_m", "float"),
    Column("corridor_nearest_class", "text"),
    Column("events", "text"),
    Column("doubt", "float"),
    Column("doubtful", "int"),
    Column("hidden", "text"),
)

LISTS = tuple(column.name for column in _COLUMNS if column.kind == "floats")
"""Names of the columns that have several numbers in each row."""


def columns(names: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a timeline; docs/road.md says what they hold.

    >>> [column.name for column in columns(["car", "traffic light"])][-3:]
    ['hidden', 'share_car', 'share_traffic_light']
    """
    return (*_COLUMNS, *(Column(f"share_{'_'.join(name.split())}", "float") for name in names))
