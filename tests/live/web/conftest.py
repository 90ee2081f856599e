"""Two cameras that are live, and a hub that serves them on a free port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra web")
pytest.importorskip("uvicorn", reason="needs the extra web")
pytest.importorskip("prometheus_client", reason="needs the extra web")
pytest.importorskip("websockets", reason="needs the extra web")

from roadseg.live.events import CameraState
from roadseg.live.web.hub import Hub
from tests.support.web import Camera, Serve


@pytest.fixture
def cameras() -> list[Camera]:
    made = [Camera("front"), Camera("rear")]
    for camera in made:
        camera.change(CameraState.LIVE)
    return made


@pytest.fixture
def serve(cameras: list[Camera]) -> Iterator[Serve]:
    hubs: list[Hub] = []

    def start(**options: Any) -> Hub:
        hub = Hub([camera.station for camera in cameras], port=options.pop("port", 0), **options)
        hub.start()
        hubs.append(hub)
        return hub

    yield start
    for hub in hubs:
        hub.stop()


@pytest.fixture
def hub(serve: Serve) -> Hub:
    return serve()
