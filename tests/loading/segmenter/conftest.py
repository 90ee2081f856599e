"""A network that has two frames in flight."""

from __future__ import annotations

import pytest

from roadseg.backends.fake import FakePipelinedBackend


@pytest.fixture
def pipelined(monkeypatch):
    monkeypatch.setattr(
        "roadseg.loading.choice.Choice.open",
        lambda choice, hw, **_options: FakePipelinedBackend(hw),
    )
