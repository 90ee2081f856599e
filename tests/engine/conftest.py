"""Engines are looked for in a cache of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _not_the_users_cache(own_cache: Path) -> None:
    """See `own_cache`."""
