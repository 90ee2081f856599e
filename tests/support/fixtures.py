"""Fixtures that several folders need.

Each imports what it needs when a test asks for it: on some machines a library is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

if TYPE_CHECKING:
    from torch import nn

    from tests.support.tensorrt.rig import Rig

Array = npt.NDArray[Any]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own: nothing may touch the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ROADSEG_CACHE", str(folder))
    return folder


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are put together and not painted, which takes longer than to train a tiny network.

    What is painted is looked at in tests/training/test_curves.py and tests/comparison.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return

    def save(_figure: Figure, to: Any, **_options: Any) -> None:
        if isinstance(to, Path):
            to.touch()
        else:
            to.write(b"a chart")

    monkeypatch.setattr(Figure, "savefig", save)


@pytest.fixture(scope="session")
def tiny() -> nn.Module:
    import torch

    from tests.support.tiny_segnet import TinySegNet, randomise

    torch.manual_seed(0)
    return randomise(TinySegNet())


@pytest.fixture(scope="session")
def frames() -> Callable[..., Array]:
    """Makes (N, h, w, 3) uint8 frames: smooth shapes under noise, the same each time."""
    import torch

    def make(size_hw: tuple[int, int], count: int = 1, seed: int = 0) -> Array:
        rng = np.random.default_rng(seed)
        h, w = size_hw
        coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 5, 6)).astype(np.float32))
        smooth = torch.nn.functional.interpolate(coarse, size=(h, w), mode="bilinear")
        noisy = smooth.permute(0, 2, 3, 1).numpy() + rng.normal(0, 25, (count, h, w, 3))
        return np.asarray(noisy.clip(0, 255), dtype=np.uint8)

    return make


@pytest.fixture(scope="session")
def run_torch() -> Callable[[nn.Module, Array], Array]:
    """Scores (N, classes, h, w) of a network on uint8 frames, by PyTorch."""
    import torch

    def run(model: nn.Module, batch_bgr: Array) -> Array:
        with torch.inference_mode():
            x = torch.from_numpy(batch_bgr.copy()).permute(0, 3, 1, 2).float() / 255
            return np.asarray(model(x).numpy())

    return run


@pytest.fixture(scope="session")
def run_onnx() -> Callable[[Any, Array], Array]:
    """The output of an `onnx.ModelProto`, by ONNX Runtime."""
    import onnxruntime

    def run(model: Any, batch: Array) -> Array:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        (result,) = session.run(None, {session.get_inputs()[0].name: batch})
        return np.asarray(result)

    return run


@pytest.fixture(scope="session")
def run_openvino() -> Callable[[Any, Array], Array]:
    """The output of an `onnx.ModelProto` or `openvino.Model`, by OpenVINO in FP32."""
    import openvino as ov

    core = ov.Core()

    def run(model: Any, batch: Array) -> Array:
        is_openvino = isinstance(model, ov.Model)
        copy = model.clone() if is_openvino else core.read_model(model.SerializeToString())
        copy.reshape(list(batch.shape))
        compiled = core.compile_model(copy, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return np.array(compiled([batch])[0])

    return run


@pytest.fixture(scope="session")
def network() -> nn.Module:
    """segnet-lite with random weights."""
    import torch

    from roadseg.models import build_model

    torch.manual_seed(5)
    return build_model("segnet-lite").eval()


@pytest.fixture(scope="session")
def pt_file(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`network`, as PyTorch's file."""
    from roadseg.models import save_weights

    path = tmp_path_factory.mktemp("weights") / "lite.safetensors"
    save_weights(path, network, "segnet-lite", epoch=1)
    return path


@pytest.fixture(scope="session")
def xml_file(pt_file: Path) -> Path:
    """`network`, as OpenVINO's files."""
    from roadseg.export.ir import finish_ir, from_onnx, save_ir
    from roadseg.export.onnx import build_onnx
    from roadseg.models import load_weights

    # From the stored weights, which are FP16: the same network as the torch backend's.
    model = from_onnx(build_onnx(load_weights(pt_file)[0], "segnet-lite"))
    finish_ir(model)
    path = pt_file.with_suffix(".xml")
    save_ir(model, path, precision="fp32")
    return path


@pytest.fixture(scope="session")
def rig() -> Rig:
    """What TensorRT backends are created from."""
    from tests.support.tensorrt.rig import Rig

    return Rig()
