"""NVRTC compiles every kernel for every GPU that matters, without a GPU; the cache; errors."""

from __future__ import annotations

import builtins
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from roadseg.core import installing
from roadseg.core.errors import BackendError
from roadseg.kernels import nvrtc as nvrtc_module
from roadseg.kernels.kernels import Layout, Variant, source, variants
from roadseg.kernels.nvrtc import cache_dir, compile_kernels

# Compiles in no time, where it does not matter what is compiled.
TINY = 'extern "C" __global__ void tiny(int *x) { *x = 1; }\n'

PTX_TARGETS = [(7, 5), (8, 7), (8, 9), (9, 0), (12, 0)]


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("ROADSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernels"


@pytest.fixture(scope="module")
def installed() -> Any:
    """The NVRTC bindings with their library."""
    pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings: Linux x86-64 wheels only")
    try:
        return nvrtc_module._load()
    except BackendError:
        pytest.skip("NVRTC's library is not installed: pip install nvidia-cuda-nvrtc")


@pytest.fixture(scope="module")
def ptx(installed: Any) -> dict[tuple[int, int], str]:
    """All kernels as PTX for every target."""
    return {
        target: compile_kernels(target, output="ptx", cache=False).decode()
        for target in PTX_TARGETS
    }


def entry(text: str, symbol: str) -> str:
    match = re.search(rf"\.entry {symbol}\(.*?\n}}\n", text + "\n", re.DOTALL)
    assert match is not None, f"{symbol} is missing"
    return match.group(0)


def count(text: str, instruction: str) -> int:
    return len(re.findall(instruction, text))


@pytest.mark.parametrize("target", PTX_TARGETS, ids=str)
def test_every_kernel_compiles_to_ptx(
    ptx: dict[tuple[int, int], str], target: tuple[int, int]
) -> None:
    text = ptx[target]
    assert f".target sm_{target[0]}{target[1]}" in text
    assert set(re.findall(r"\.entry (\w+)\(", text)) == {v.symbol for v in variants()}
    assert ".func" not in text, "a kernel calls a function"


@pytest.mark.parametrize("target", PTX_TARGETS, ids=str)
@pytest.mark.parametrize("variant", variants(), ids=lambda variant: variant.symbol)
def test_accesses_are_16_bytes_wide(
    ptx: dict[tuple[int, int], str], target: tuple[int, int], variant: Variant
) -> None:
    body = entry(ptx[target], variant.symbol)
    loads = count(body, r"ld\.global(?:\.nc)?\.(?:v4\.[bu]32|v2\.[bu]64)")
    stores = count(body, r"st\.global\.(?:v4\.[bu]32|v2\.[bu]64)")
    # The large map: a window is four vectors, or two where a linear vector has both columns.
    wide = 2 if variant.layout is Layout.LINEAR else 4
    # The small map: one vector, or half of one; and an index map of one byte for each lane.
    narrow = 0 if variant.layout is Layout.LINEAR else 1
    index = 1 if narrow and variant.dtype == "int8" else 0
    if variant.op == "pool":
        assert (loads, stores) == (wide, narrow + index)
    else:
        assert (loads, stores) == (narrow + index, wide)
    # No access goes to memory of a thread's own: arrays are registers.
    assert count(body, r"(?:ld|st)\.local") == 0


@pytest.mark.parametrize("target", [(7, 5), (8, 7), (9, 0)], ids=str)
def test_machine_code(installed: Any, target: tuple[int, int]) -> None:
    image = compile_kernels(target, cache=False)
    assert image.startswith(b"\x7fELF")
    for variant in variants():
        assert f".text.{variant.symbol}\0".encode() in image


def test_the_second_time_it_comes_from_the_cache(
    installed: Any, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_dir() == cache_folder
    image = compile_kernels((8, 9), output="ptx", text=TINY)
    (file,) = cache_folder.iterdir()
    assert re.fullmatch(r"sm89-nvrtc\d+\.\d+-[0-9a-f]{16}\.ptx", file.name)
    compiled = []
    real = nvrtc_module._compile

    def recording(nvrtc: Any, *facts: Any) -> bytes:
        compiled.append(facts)
        return real(nvrtc, *facts)

    monkeypatch.setattr(nvrtc_module, "_compile", recording)
    assert compile_kernels((8, 9), output="ptx", text=TINY) == image
    assert compiled == []
    # Anything else is another file.
    other = TINY.replace("tiny", "other")
    assert compile_kernels((9, 0), output="ptx", text=TINY) != image
    assert compile_kernels((8, 9), output="cubin", text=TINY) != image
    assert compile_kernels((8, 9), output="ptx", text=other) != image
    assert compiled == [
        ((9, 0), "ptx", TINY),
        ((8, 9), "cubin", TINY),
        ((8, 9), "ptx", other),
    ]
    assert len(list(cache_folder.iterdir())) == 4


def test_without_a_text_it_is_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc_module, "_load", StandIn)
    monkeypatch.setattr(nvrtc_module, "_compile", lambda *facts: facts[-1].encode())
    assert compile_kernels((9, 0)).decode() == source()


@pytest.mark.parametrize("damage", [b"", b"short", None], ids=["empty", "short", "one bit"])
def test_a_damaged_file_in_the_cache_is_replaced(
    installed: Any, cache_folder: Path, damage: bytes | None
) -> None:
    image = compile_kernels((8, 9), output="ptx", text=TINY)
    (file,) = cache_folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    assert compile_kernels((8, 9), output="ptx", text=TINY) == image
    assert file.read_bytes() == whole
    assert list(cache_folder.iterdir()) == [file]


def test_a_cache_that_cannot_be_written_only_costs_time(
    installed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("ROADSEG_CACHE", str(blocked))
    assert compile_kernels((8, 9), output="ptx", text=TINY).startswith(b"//")
    assert blocked.read_text(encoding="utf-8") == "not a folder"


def test_a_full_disk_leaves_nothing_behind(
    installed: Any, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert compile_kernels((8, 9), output="ptx", text=TINY).startswith(b"//")
    assert list(cache_folder.iterdir()) == []


def test_without_the_cache_nothing_is_kept(installed: Any, cache_folder: Path) -> None:
    compile_kernels((8, 9), output="ptx", text=TINY, cache=False)
    assert not cache_folder.exists()


def test_the_compilers_first_error_is_told(installed: Any) -> None:
    broken = '// one\nextern "C" __global__ void f() { undeclared = 1; also = 2; }\n'
    with pytest.raises(BackendError) as caught:
        compile_kernels((8, 9), text=broken)
    assert str(caught.value) == (
        "NVRTC cannot compile the kernels for sm_89 "
        '(roadseg_kernels.cu(2): error: identifier "undeclared" is undefined): '
        "install another release of NVRTC; 'roadseg doctor' shows the one in use"
    )


class StandIn:
    """Bindings of an NVRTC 12.6 that knows three GPUs and fails on demand."""

    nvrtcResult = SimpleNamespace(NVRTC_SUCCESS=SimpleNamespace(name="NVRTC_SUCCESS"))
    failed = SimpleNamespace(name="NVRTC_ERROR_OUT_OF_MEMORY")

    def nvrtcVersion(self) -> tuple[Any, int, int]:
        return self.nvrtcResult.NVRTC_SUCCESS, 12, 6

    def nvrtcGetSupportedArchs(self) -> tuple[Any, list[int]]:
        return self.nvrtcResult.NVRTC_SUCCESS, [75, 87, 90]

    def nvrtcCreateProgram(self, *_: object) -> tuple[Any, None]:
        return self.failed, None


@pytest.mark.parametrize(
    ("target", "fix"),
    [
        ((12, 0), "pip install --upgrade 'roadseg[tensorrt]'"),
        ((8, 8), "pip install --upgrade 'roadseg[tensorrt]'"),
        ((6, 1), "an older NVRTC may know it: pip install 'roadseg[tensorrt-cu12]'"),
    ],
)
def test_a_gpu_that_nvrtc_does_not_know(
    monkeypatch: pytest.MonkeyPatch, target: tuple[int, int], fix: str
) -> None:
    monkeypatch.setattr(nvrtc_module, "_load", StandIn)
    with pytest.raises(BackendError) as caught:
        compile_kernels(target)
    assert str(caught.value) == (
        f"NVRTC 12.6 does not know compute capability {target[0]}.{target[1]} "
        f"(it knows 7.5, 8.7, 9.0): {fix}"
    )


def test_any_other_failure_of_nvrtc_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc_module, "_load", StandIn)
    with pytest.raises(BackendError) as caught:
        compile_kernels((8, 7))
    assert str(caught.value) == (
        "NVRTC failed with NVRTC_ERROR_OUT_OF_MEMORY: pip install --force-reinstall "
        "nvidia-cuda-nvrtc cuda-bindings"
    )


@pytest.mark.parametrize(
    "error", [ImportError("No module named 'cuda'"), RuntimeError("no libnvrtc.so")]
)
def test_nvrtc_missing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    real = builtins.__import__

    def failing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cuda"):
            raise error
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", failing)
    with pytest.raises(BackendError) as caught:
        compile_kernels((8, 9))
    assert str(caught.value) == (
        "NVRTC, which compiles the kernels, is not installed: "
        + installing.install(installing.cuda_extra())
    )
    assert caught.value.__cause__ is error
