"""Calls of the CUDA driver through `cuda.bindings.driver`, checked and translated."""

from __future__ import annotations

import re
from typing import Any

from roadseg.core.errors import BackendError
from roadseg.core.installing import install
from roadseg.cuda.failure import (
    MINIMUM_CUDA,
    cuda_error,
    driver_too_old,
    no_driver,
    no_such_gpu,
)


class Driver:
    """The driver's functions, whose failures are `BackendError`s.

    Args:
        module: `cuda.bindings.driver`, or what stands in for it.
    """

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, function: str, *args: Any, doing: str) -> Any:
        """Call `function`.

        Args:
            function: its name: `cuMemAlloc`.
            args: as the binding takes them.
            doing: what this is for, to follow "while".

        Returns:
            None, its one result, or the tuple of its results.

        Raises:
            BackendError: it failed.
        """
        code, *results = self.call(function, *args)
        if code != "CUDA_SUCCESS":
            raise cuda_error(code, doing)
        return results[0] if len(results) == 1 else tuple(results) or None

    def call(self, function: str, *args: Any) -> tuple[Any, ...]:
        """Call `function` where a failure is no surprise: CUDA's name of the outcome, results.

        Raises:
            BackendError: the driver is missing or does not have the function.
        """
        try:
            result, *results = getattr(self.module, function)(*args)
        except RuntimeError as exc:
            # The bindings look for the driver's library and its functions at the first call.
            if re.search(r"[Ff]unction .*not found", str(exc)):
                raise BackendError(
                    f"the NVIDIA driver has no {function}, being older than cuda-bindings",
                    fix=f"{install('tensorrt-cu12')}, or update the driver",
                ) from exc
            raise no_driver() from exc
        return str(result.name), *results


def open_device(driver: Driver, index: int) -> tuple[Any, tuple[int, int]]:
    """Start CUDA and find a GPU.

    Args:
        driver: the functions.
        index: the GPU's number.

    Returns:
        The device, and the CUDA version that its driver runs.

    Raises:
        BackendError: no driver, an old one, no GPU, or none of that number.
    """
    # Asked first: an old driver can fail to start with something less clear.
    version = check_version(driver("cuDriverGetVersion", doing="asking for the driver's version"))
    driver("cuInit", 0, doing="starting CUDA")
    count = driver("cuDeviceGetCount", doing="counting the GPUs")
    if count == 0:
        raise cuda_error("CUDA_ERROR_NO_DEVICE", "counting the GPUs")
    if not 0 <= index < count:
        raise no_such_gpu(index, count)
    return driver("cuDeviceGet", index, doing="choosing a GPU"), version


def check_version(number: int) -> tuple[int, int]:
    """The driver's `13020` as (13, 2).

    Raises:
        BackendError: it is below `MINIMUM_CUDA`.
    """
    version = number // 1000, number % 1000 // 10
    if version < MINIMUM_CUDA:
        raise driver_too_old(version)
    return version
