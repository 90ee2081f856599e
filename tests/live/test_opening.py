"""What a configured run asks of the network."""

from __future__ import annotations

import http.client

import pytest

from roadseg.core.errors import UsageError
from roadseg.live.config import LiveConfig, SourceConfig, WebConfig
from roadseg.live.opening import batch_of, open_live, rate_of
from roadseg.loading.segmenter import Segmenter
from tests.support.live import PATIENCE_S

CAMERA, FILE = SourceConfig("a", "0"), SourceConfig("b", "drive.mp4")


@pytest.mark.parametrize(
    ("sources", "rate"),
    [
        ((CAMERA,), 25.0),
        ((FILE,), 0.0),
        ((SourceConfig("b", "drive.mp4", policy="latest"),), 25.0),
        ((SourceConfig("a", "0", policy="every"),), 0.0),
        ((CAMERA, SourceConfig("c", "1"), FILE), 20.0),
        ((SourceConfig("a", "0", max_fps=5.0),), 5.0),
        ((SourceConfig("a", "0", stride=5),), 5.0),
    ],
)
def test_the_network_is_chosen_for_what_has_to_be_kept_up_with(
    sources: tuple[SourceConfig, ...], rate: float
) -> None:
    assert rate_of(LiveConfig(sources)) == rate


def test_frames_go_together_only_where_that_is_faster() -> None:
    with Segmenter(backend="fake") as segmenter:
        assert batch_of(segmenter) is None


def test_a_batch_of_the_segmenter_is_what_its_backend_makes_of_the_frames() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (3, 32, 64, 3), dtype=np.uint8)
    with Segmenter(backend="fake") as segmenter:
        together = segmenter.infer_batch(frames)
        for one, frame in zip(together, frames, strict=True):
            assert np.array_equal(one, segmenter.infer(frame))


@pytest.mark.parametrize("text", ["", "   \n"])
def test_a_file_without_a_token_is_refused(tmp_path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    config = LiveConfig((CAMERA,), backend="fake", web=WebConfig(port=0, token_file=str(path)))
    with pytest.raises(UsageError, match="holds no token"), open_live(config):
        pass
    path.unlink()
    with pytest.raises(UsageError, match="cannot read the token"), open_live(config):
        pass


@pytest.mark.parametrize(("hosts", "status"), [((), 421), (("cams.example.com",), 200)])
def test_a_proxy_reaches_the_page_by_the_name_that_is_given(
    hosts: tuple[str, ...], status: int
) -> None:
    config = LiveConfig((CAMERA,), backend="fake", web=WebConfig(port=0, hosts=hosts))
    with open_live(config) as live:
        assert live.hub is not None
        connection = http.client.HTTPConnection("127.0.0.1", live.hub.port, timeout=PATIENCE_S)
        connection.request("GET", "/", headers={"Host": "cams.example.com"})
        assert connection.getresponse().status == status
        connection.close()
