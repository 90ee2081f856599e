"""MaxPoolIndex and MaxUnpoolIndex as TensorRT plugins written in Python (IPluginV3).

    register_plugins(trt)

before a network with these ops is parsed, and before an engine that holds them is loaded. This
needs TensorRT 10.3 or newer; TensorRT-RTX has no Python plugins.

Plugins derive from classes of the `tensorrt` module, which is not imported here: what they do is
written once in `index_ops`, and `register_plugins` joins it with the bases.
"""

from __future__ import annotations

import types
from typing import Any, ClassVar

import numpy as np

from roadseg.backends.device_kernels import LoadedKernels
from roadseg.backends.tensorrt.index_ops import (
    NAMESPACE,
    STATE,
    VERSION,
    IndexOp,
    MaxPoolIndex,
    MaxUnpoolIndex,
    plugin_bases,
    remembered,
)
from roadseg.core.errors import BackendError
from roadseg.core.wording import option
from roadseg.cuda.api import Cuda

__all__ = ["NAMESPACE", "VERSION", "last_plugin_error", "register_plugins"]


def last_plugin_error() -> str | None:
    """What went wrong first inside a plugin since the last call, as one line; None: nothing.

    TensorRT turns an exception in a plugin into its own message or a mere False, so whoever gets
    one of these asks here for the reason.
    """
    error, STATE.error = STATE.error, None
    return error


class _Creator:
    """Makes plugins of one kind from a network's or an engine's fields."""

    trt: ClassVar[Any]
    plugin: ClassVar[type[IndexOp]]
    name: str
    plugin_version: str
    plugin_namespace: str

    def __init__(self) -> None:
        trt = self.trt
        trt.IPluginCreatorV3One.__init__(self)
        self.name = self.plugin.__name__
        self.plugin_version = VERSION
        self.plugin_namespace = NAMESPACE
        # As in the plugin: the collection holds addresses of what is kept beside it.
        self._default = np.zeros(1, np.int32)
        names = ("crop_h", "crop_w") if self.plugin.op == "unpool" else ()
        self._fields = [
            trt.PluginField(name, self._default, trt.PluginFieldType.INT32) for name in names
        ]
        self.field_names = trt.PluginFieldCollection(self._fields)

    @remembered
    def create_plugin(self, name: str, field_collection: Any, phase: Any) -> IndexOp:
        """A plugin with the crop in `field_collection`; 0 where it says nothing.

        Raises:
            ValueError: a crop other than 0 or 1.
        """
        del name, phase
        given = {
            field.name: int(np.asarray(field.data).reshape(-1)[0]) for field in field_collection
        }
        crop_hw = (given.get("crop_h", 0), given.get("crop_w", 0))
        if not set(crop_hw) <= {0, 1}:
            raise ValueError(f"crop_h and crop_w must be 0 or 1, got {crop_hw}")
        return self.plugin(crop_hw)


def register_plugins(trt: Any, cuda: Cuda | None = None, *, image: bytes | None = None) -> None:
    """Teach TensorRT the two ops; a second call changes nothing but the GPU, if it names one.

    Args:
        trt: the imported `tensorrt` module.
        cuda: the GPU on which plugins run that are attached from now on, and which must outlive
            them. None: the one given before, else the first, loaded when first needed.
        image: the kernels compiled for that GPU; None compiles them, or finds them in the cache.

    Raises:
        BackendError: this TensorRT has no such plugins, or refuses them.
    """
    if str(trt.__name__).startswith("tensorrt_rtx") or not hasattr(trt, "IPluginV3OneCore"):
        # Registering with TensorRT-RTX succeeds, and parsing then aborts the process.
        raise BackendError(
            f"{trt.__name__} {trt.__version__} has no Python plugins",
            fix=f"use {option('--target', 'tensorrt')} with TensorRT 10.3 or newer, or the native "
            "lowering",
        )
    if cuda is not None or image is not None:
        STATE.kernels = LoadedKernels(cuda, image)
    registry = trt.get_plugin_registry()
    for behaviour in (MaxPoolIndex, MaxUnpoolIndex):
        name = behaviour.__name__
        if _is_registered(registry, name):
            continue
        creator = _creator_class(trt, behaviour, name)()
        if not registry.register_creator(creator, NAMESPACE):
            raise BackendError(
                f"TensorRT {trt.__version__} refused the plugin {NAMESPACE}::{name}",
                fix="see its message above, and install another release of it",
            )
        STATE.creators[name] = creator


def _is_registered(registry: Any, name: str) -> bool:
    """Whether a creator of ours is there; asking for one that is not would log an error."""
    return any(
        (creator.name, creator.plugin_version, creator.plugin_namespace)
        == (name, VERSION, NAMESPACE)
        for creator in registry.all_creators
    )


def _creator_class(trt: Any, behaviour: type[IndexOp], name: str) -> Any:
    """The creator of one plugin, both joined with TensorRT's classes.

    The behaviour comes first, so that its methods hide those of the interfaces.
    """
    plugin = types.new_class(
        name, (behaviour, *plugin_bases(trt)), exec_body=lambda body: body.update(trt=trt)
    )
    return types.new_class(
        f"{name}Creator",
        (_Creator, trt.IPluginCreatorV3One),
        exec_body=lambda body: body.update(trt=trt, plugin=plugin),
    )
