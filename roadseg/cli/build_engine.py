"""`roadseg build-engine`: a network as a TensorRT engine, proved against PyTorch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roadseg.cli.lines import lines_on_stdout
from roadseg.cli.options import WeightsOption
from roadseg.cli.progress_bar import progress_bar
from roadseg.core.size import parse_size

if TYPE_CHECKING:
    from roadseg.core.progress import Progress
    from roadseg.engine.spec import EngineSpec, Precision
    from roadseg.engine.store import EngineFile


_log = logging.getLogger(__name__)


def build_engine(
    model: WeightsOption = "segnet-lite",
    fp16: Annotated[bool, typer.Option("--fp16", help="Half precision; the default.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Eight bits, with what 'roadseg calibrate' measured.")
    ] = False,
    fp32: Annotated[bool, typer.Option("--fp32", help="Single precision.")] = False,
    size: Annotated[
        str, typer.Option(metavar="HxW", help="Size of the network's input.")
    ] = "352x480",
    batch: Annotated[
        str,
        typer.Option(
            metavar="N|N-N",
            help="Frames at a time: one number, or fewest and most (1-8), or the usual number "
            "between them (1-4-8).",
        ),
    ] = "1",
    target: Annotated[
        str,
        typer.Option(
            help="What builds the engine: auto, tensorrt (for the GPU of this machine) or "
            "tensorrt-rtx (needs no GPU to build)."
        ),
    ] = "auto",
    sm: Annotated[
        str | None,
        typer.Option(
            metavar="N,N",
            show_default="all from 80 on",
            help="Compute capabilities to build for with tensorrt-rtx, 89 for 8.9.",
        ),
    ] = None,
    workspace: Annotated[
        int | None,
        typer.Option(
            metavar="MIB", show_default="all there is", help="Scratch memory a layer may use."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(show_default="engines", help="FILE.engine, or a folder for the usual name."),
    ] = None,
    lowering: Annotated[
        str | None,
        typer.Option(
            show_default="plugin for tensorrt",
            help="How unpooling is done: plugin (our kernels) or native (standard operations).",
        ),
    ] = None,
    portable: Annotated[
        bool,
        typer.Option(
            "--portable",
            help="Compile the kernels into the engine, which then runs without Python.",
        ),
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default="that of these weights",
            help="Scales that 'roadseg calibrate' wrote, for --int8.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|VIDEO",
            show_default="the sample clip",
            help="Frames to compare labels on.",
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(show_default="0.5", help="Points of mIoU that --int8 may cost."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Build it even if --int8 costs more.")
    ] = False,
) -> None:
    """Build an engine for an NVIDIA GPU, and prove that it labels frames as PyTorch does.

    A first build takes from seconds to many minutes, on a Jetson most of all; it is done once.
    'roadseg run' finds the engine by itself.
    """
    from roadseg.backends.tensorrt.builder.build_engine import build_engine as build
    from roadseg.core.errors import UsageError
    from roadseg.engine.runtime import load_runtime
    from roadseg.engine.spec import EngineSpec, parse_batch, parse_sm, usual_lowering

    precision = _precision(fp16, int8, fp32)
    only_int8 = {"--calibration": calibration, "--max-drop": max_drop, "--force": force or None}
    option = next((name for name, value in only_int8.items() if value is not None), None)
    if precision != "int8" and option is not None:
        raise UsageError(f"{option} is not for --{precision}", fix="use it with --int8")
    size_hw, frames = parse_size(size), parse_batch(batch)
    targets = parse_sm(sm) if sm is not None else ()
    runtime = load_runtime(target)
    spec = EngineSpec(
        model=model,
        precision=precision,
        size_hw=size_hw,
        batch=frames,
        target=runtime.target,
        lowering=lowering or usual_lowering(runtime.target, portable=portable),  # type: ignore[arg-type]
        portable=portable,
        sm=targets,
        workspace_mb=workspace,
        calibration=calibration,
        max_drop_points=0.5 if max_drop is None else max_drop,
        force=force,
    )
    announced = False

    def show_all(progress: Progress) -> None:
        nonlocal announced
        if not announced:  # what cannot be built is not announced
            announced = True
            _log.info(f"building {_what(spec)} with {runtime.name}")
        show(progress)

    try:
        with lines_on_stdout(), progress_bar() as show:
            engine = build(spec, output=output, data=data, runtime=runtime, progress=show_all)
    except KeyboardInterrupt:
        typer.echo("interrupted: no engine was written", err=True)
        raise
    _summarise(engine)


def _precision(fp16: bool, int8: bool, fp32: bool) -> Precision:
    from roadseg.core.errors import UsageError

    flags: dict[Precision, bool] = {"fp16": fp16, "int8": int8, "fp32": fp32}
    given = [name for name, flag in flags.items() if flag]
    if len(given) > 1:
        raise UsageError(" and ".join(f"--{name}" for name in given), fix="give one of them")
    return given[0] if given else "fp16"


def _what(spec: EngineSpec) -> str:
    height, width = spec.size_hw
    how = "portable plugin" if spec.portable else spec.lowering
    return (
        f"{spec.model_name}, {spec.precision}, {height}x{width}, batch {spec.batch_text}, {how} "
        "lowering"
    )


def _summarise(engine: EngineFile) -> None:
    manifest = engine.manifest
    where = manifest.gpu.name if manifest.gpu else _capabilities(manifest.sm)
    typer.echo(
        f"{engine.path}: {manifest.plan_bytes / 1e6:.1f} MB for {where}, built in "
        f"{manifest.build_s:.1f} s"
    )
    calibration, parity = manifest.calibration, manifest.parity
    if calibration is not None:
        if calibration.drop_points is not None:
            cost = f"INT8 costs {calibration.drop_points:.2f} points of mIoU"
            cost += f" on {calibration.measured_on}"
        elif calibration.agreement is not None and calibration.label_miou is not None:
            cost = f"INT8 keeps {100 * calibration.agreement:.2f}% of the labels of FP32 on "
            cost += f"{calibration.measured_on}, mean IoU with them {calibration.label_miou:.3f}"
        else:
            cost = "what INT8 costs is unknown"
        count = len(calibration.float_layers)
        typer.echo(f"{cost}; {count or 'no'} layers stay FP16")
    if parity is None:
        typer.echo(f"labels not verified: {manifest.not_verified}")
    else:
        typer.echo(
            f"{100 * parity.agreement:.2f}% of the labels are those of {parity.reference} on "
            f"{parity.frames} frames of {parity.measured_on}"
        )


def _capabilities(sm: tuple[int, ...]) -> str:
    return "compute capability " + ", ".join(f"{number // 10}.{number % 10}" for number in sm)
