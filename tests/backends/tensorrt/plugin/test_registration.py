"""The plugins in TensorRT's registry: named, created, and stored in an engine."""

from __future__ import annotations

import gc

import pytest

from roadseg.backends.tensorrt.plugin import last_plugin_error, register_plugins
from roadseg.core.errors import BackendError
from roadseg.kernels.kernels import source_hash
from roadseg.testing.cuda import SimulatedCuda
from roadseg.testing.host_kernels import host_kernels
from tests.support.tensorrt import plugins as standin
from tests.support.tensorrt.plugging import (
    INPUTS,
    a_tensorrt,
    create,
)

pytestmark = pytest.mark.usefixtures("as_typed")


def test_registering_again_changes_nothing_but_the_gpu(cuda: SimulatedCuda) -> None:
    trt = a_tensorrt(cuda=cuda)
    registry = trt.get_plugin_registry()
    creators = list(registry.all_creators)
    attached = create(trt, "MaxPoolIndex").attach_to_context(object())
    register_plugins(trt)
    later = create(trt, "MaxPoolIndex").attach_to_context(object())
    assert later._kernels is attached._kernels
    other = SimulatedCuda(host_kernels())
    register_plugins(trt, other, image=b"simulated")
    latest = create(trt, "MaxPoolIndex").attach_to_context(object())
    assert (attached._kernels.cuda, latest._kernels.cuda) == (cuda, other)
    assert registry.all_creators == creators
    names = [(c.name, c.plugin_version, c.plugin_namespace) for c in creators]
    assert names == [("MaxPoolIndex", "1", "roadseg"), ("MaxUnpoolIndex", "1", "roadseg")]


def test_a_refused_registration_is_an_error() -> None:
    trt = standin.make("10.3.0")
    trt.get_plugin_registry().refuses = True
    with pytest.raises(BackendError) as caught:
        register_plugins(trt)
    assert str(caught.value) == (
        "TensorRT 10.3.0 refused the plugin roadseg::MaxPoolIndex: see its message above, "
        "and install another release of it"
    )


@pytest.mark.parametrize("name", ["tensorrt_rtx", "tensorrt_rtx_bindings", "tensorrt"])
def test_modules_without_python_plugins_are_refused(name: str) -> None:
    trt = standin.make("1.7.1")
    trt.__name__ = name
    if name == "tensorrt":
        del trt.IPluginV3OneCore
    with pytest.raises(BackendError) as caught:
        register_plugins(trt)
    assert str(caught.value) == (
        f"{name} 1.7.1 has no Python plugins:"
        " use --target tensorrt with TensorRT 10.3 or newer, or the native lowering"
    )
    assert trt.get_plugin_registry().all_creators == []


def test_crops_survive_serialisation_and_collection_of_garbage() -> None:
    trt = a_tensorrt()
    creator = trt.get_plugin_registry().get_creator("MaxUnpoolIndex", "1", "roadseg")
    assert [field.name for field in creator.field_names] == ["crop_h", "crop_w"]
    plugin = create(trt, "MaxUnpoolIndex", (1, 0)).clone()
    collection = plugin.get_fields_to_serialize()
    gc.collect()
    found = {field.name: (field.data.tolist(), field.type) for field in collection}
    int32 = trt.PluginFieldType.INT32
    assert found == {"crop_h": ([1], int32), "crop_w": ([0], int32)}
    again = creator.create_plugin("node", collection, trt.TensorRTPhase.RUNTIME)
    assert again.crop_hw == (1, 0)
    assert [field.name for field in creator.field_names] == ["crop_h", "crop_w"]


def test_other_crops_are_refused() -> None:
    trt = a_tensorrt()
    with pytest.raises(ValueError, match=r"^crop_h and crop_w must be 0 or 1, got \(2, 0\)$"):
        create(trt, "MaxUnpoolIndex", (2, 0))
    assert last_plugin_error() == (
        "MaxUnpoolIndexCreator.create_plugin: crop_h and crop_w must be 0 or 1, got (2, 0)"
    )


def test_every_interface_is_initialised_and_named() -> None:
    trt = a_tensorrt()
    for name in INPUTS:
        for plugin in (made := create(trt, name), made.clone()):
            assert plugin.initialised == {
                "IPluginV3",
                "IPluginV3OneCore",
                "IPluginV3OneBuild",
                "IPluginV3OneRuntime",
            }
            facts = (plugin.plugin_name, plugin.plugin_version, plugin.plugin_namespace)
            assert facts == (name, "1", "roadseg")


def test_timings_are_kept_apart_by_kernels_and_crop() -> None:
    trt = a_tensorrt()
    ids = [
        create(trt, "MaxUnpoolIndex", crop).timing_cache_id
        for crop in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    assert ids == [f"{source_hash()[:16]}-{crop}" for crop in ("00", "01", "10", "11")]
