"""What a recording says of itself, kept in what is made of it: when, where, by what."""

from __future__ import annotations

from collections.abc import Mapping

from roadseg.media.container import text

# What a container says of itself rather than of the recording; the new one has its own.
_OF_THE_CONTAINER = frozenset(["major_brand", "minor_version", "compatible_brands", "encoder"])


def kept_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a source that its result gets: date, place, title and the like.

    >>> kept_tags({"creation_time": "2024-05-06T07:08:09Z", "major_brand": "isom"})
    {'creation_time': '2024-05-06T07:08:09Z'}
    """
    return {
        text(key): text(value)
        for key, value in tags.items()
        if key.lower() not in _OF_THE_CONTAINER and value.strip()
    }
