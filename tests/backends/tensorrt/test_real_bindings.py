"""The plugins against the bindings that NVIDIA publishes: real classes, no TensorRT behind them."""

from __future__ import annotations

import json
from collections.abc import Callable

IMPORT = "from tests.support.tensorrt import with_real_bindings as w; "


def test_the_stand_in_is_like_the_bindings(run_with_bindings: Callable[..., str]) -> None:
    output = run_with_bindings(IMPORT + "w.signatures()")
    found = json.loads(output.splitlines()[-1])
    assert int(found["version"].split(".")[0]) >= 10
    # Methods of six interfaces, the registry and the builder of expressions; members of six enums.
    assert found["compared"] == 48


def test_the_plugins_with_real_classes(run_with_bindings: Callable[..., str]) -> None:
    """Registered, created, cloned, asked, serialised, created again, attached and enqueued."""
    output = run_with_bindings(IMPORT + "w.plugin()")
    assert json.loads(output.splitlines()[-1]) == "passed"
