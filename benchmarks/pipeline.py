"""`roadseg run` against the plain loop of the usual demo, in the same run.

    python benchmarks/pipeline.py --source drive.mp4 --json pipeline.json

The plain loop does one thing after another in one Python thread: `cv2.VideoCapture.read`, resize,
infer the FP32 network (OpenVINO, class scores out), `np.argmax`, colour, blend, write. What the
comparison grants it, so that the ratio is not flattered:
- the same weights and input size, the same OpenVINO and its threads, OpenCV's own threads;
- uint8 frames straight into the graph, where most demos normalise in NumPy;
- no legend and no HUD, which roadseg draws;
- with `--writer same`, the default, the same H.264 encoder, so that both make the same kind of
  file; `--writer mp4v` is OpenCV's own MPEG-4 part 2 writer, which is lighter and makes files that
  browsers do not play.
What roadseg may use: its INT8 network with ArgMax inside, and threads that overlap.

Rounds alternate (plain, roadseg, plain, roadseg, ...), so that a machine that is busy or hot is so
for both. Frames per second count from before the first read to after the file is closed; compiling
is in neither. Before timing, the labels of the first frame are compared.

Needs the `export` extra: the FP32 network with scores out is exported from the PyTorch weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.errors import RoadsegError, SourceError
from roadseg.core.geometry import network_size
from roadseg.core.labels import palette_bgr
from roadseg.core.machine import describe_machine
from roadseg.core.size import parse_size
from roadseg.core.types import Frame, Image, Labels
from roadseg.loading.choice import AUTO, DEFAULT_MODEL
from roadseg.loading.segmenter import Segmenter
from roadseg.media.sinks.sink import open_sink
from roadseg.media.sources.base import SourceInfo
from roadseg.media.sources.opening import open_source
from roadseg.run.video import RunOptions, open_loop

__all__ = ["PlainNetwork", "main", "plain_loop"]


class PlainNetwork:
    """The FP32 network as a demo would call it: a frame in, class scores out.

    Args:
        weights: `.safetensors` file or shipped model's name.
        network_hw: height and width of the input.
        threads: for OpenVINO; default: its choice.
    """

    def __init__(
        self, weights: str, network_hw: tuple[int, int], threads: int | None = None
    ) -> None:
        import openvino as ov

        from roadseg.export.onnx import build_onnx
        from roadseg.models import load_weights
        from roadseg.weights import resolve_model

        model, meta = load_weights(resolve_model(weights, "torch").path)
        graph = build_onnx(model, str(meta["model"]), size_hw=network_hw, output="logits")
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        core = ov.Core()
        network = core.read_model(graph.SerializeToString())
        self.network_hw = network_hw
        self._compiled = core.compile_model(network, "CPU", options)

    def scores(self, network_bgr: Image) -> npt.NDArray[np.float32]:
        """(h, w, 3) uint8 BGR to (11, h, w) float32."""
        scores: npt.NDArray[np.float32] = self._compiled([network_bgr[np.newaxis]])[0][0]
        return scores

    def labels(self, frame_bgr: Image) -> Labels:
        """(H, W, 3) uint8 BGR to (h, w) uint8 class ids at the network's size."""
        height, width = self.network_hw
        resized = cv2.resize(frame_bgr, (width, height))
        ids: Labels = np.argmax(self.scores(np.asarray(resized, np.uint8)), axis=0).astype(np.uint8)
        return ids


class _Writer(Protocol):
    def write(self, picture: Image) -> None: ...

    def close(self) -> None: ...


class _SameWriter:
    """roadseg's own sink, called from the loop itself."""

    def __init__(self, path: Path, info: SourceInfo) -> None:
        self._sink = open_sink(path, info)
        self._rate = float(info.rate or 25)
        self._index = 0

    def write(self, picture: Image) -> None:
        frame = Frame(picture, self._index, self._index / self._rate, time.monotonic())
        self._sink.write(picture, frame)
        self._index += 1

    def close(self) -> None:
        self._sink.close(ok=True)


class _Mp4vWriter:
    """`cv2.VideoWriter`, as most demos use it."""

    def __init__(self, path: Path, info: SourceInfo) -> None:
        assert info.size_hw is not None
        height, width = info.size_hw
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(path), fourcc, float(info.rate or 25), (width, height))

    def write(self, picture: Image) -> None:
        self._writer.write(picture)

    def close(self) -> None:
        self._writer.release()


_WRITERS: dict[str, Callable[[Path, SourceInfo], _Writer]] = {
    "same": _SameWriter,
    "mp4v": _Mp4vWriter,
}


def plain_loop(
    source: str, network: PlainNetwork, writer: _Writer, max_frames: int | None
) -> tuple[int, float]:
    """Process a clip one thing after another.

    Returns:
        Frames written, and frames per second.
    """
    palette = palette_bgr()
    frames = 0
    capture = cv2.VideoCapture(source)
    started_s = time.perf_counter()
    while max_frames is None or frames < max_frames:
        good, frame_bgr = capture.read()
        if not good:
            break
        colours = palette[network.labels(np.asarray(frame_bgr, np.uint8))]
        height, width = frame_bgr.shape[:2]
        colours = cv2.resize(colours, (width, height), interpolation=cv2.INTER_NEAREST)
        picture = cv2.addWeighted(frame_bgr, 0.5, colours, 0.5, 0)
        writer.write(np.asarray(picture, np.uint8))
        frames += 1
    writer.close()
    elapsed_s = time.perf_counter() - started_s
    capture.release()
    return frames, frames / elapsed_s


@dataclass(frozen=True, slots=True)
class _Round:
    plain_fps: float
    roadseg_fps: float
    roadseg_hw: tuple[int, int]

    @property
    def ratio(self) -> float:
        return self.roadseg_fps / self.plain_fps


def _run_round(options: RunOptions, network: PlainNetwork, writer: str, folder: Path) -> _Round:
    with open_source(options.source) as source:
        info = source.info
    plain_writer = _WRITERS[writer](folder / "plain.mp4", info)
    frames, plain_fps = plain_loop(options.source, network, plain_writer, options.max_frames)
    with open_loop(options) as video_loop:
        stats = video_loop.run()
    if frames != stats.frames_out:
        raise SourceError(
            f"{options.source}: OpenCV read {frames} frames and roadseg {stats.frames_out}",
            fix="compare on a clip that both read to its end",
        )
    return _Round(plain_fps, stats.fps, stats.size_hw)


def _label_agreement(options: RunOptions, network: PlainNetwork) -> float:
    """Share of the first frame's pixels to which both networks give the same class."""
    with open_source(options.source) as source:
        frame = source.read()
    if frame is None:
        raise SourceError(
            f"no frame could be read from {options.source}", fix="check that a player shows it"
        )
    with Segmenter(
        options.model, options.backend, size_hw=network.network_hw, threads=options.threads
    ) as segmenter:
        ours = segmenter(frame.image_bgr).network_ids
    return float((ours == network.labels(frame.image_bgr)).mean())


def _parse(argv: list[str] | None) -> argparse.Namespace:
    description, _, epilog = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", required=True, help="video file")
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="what roadseg runs; auto: its default, at the input that keeps up with the clip",
    )
    parser.add_argument("--weights", help="PyTorch weights of the plain loop; default: --model")
    parser.add_argument("--backend", default="auto", help="of roadseg")
    parser.add_argument("--size", metavar="HxW", help="network input of both")
    parser.add_argument("--threads", type=int, help="CPU threads of both networks")
    parser.add_argument("--frames", type=int, help="frames per round; default: the whole clip")
    parser.add_argument("--rounds", type=int, default=3, help="of each loop")
    parser.add_argument("--writer", choices=sorted(_WRITERS), default="same")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here as well")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return arguments


def _choice(options: RunOptions) -> tuple[str, tuple[int, int]]:
    """What `auto` takes for the source: the network, and its input."""
    with open_loop(options) as video_loop:
        stats = video_loop.run()
    return stats.model, stats.size_hw


def _measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    with open_source(arguments.source) as source:
        size_hw = source.info.size_hw
    if size_hw is None:
        raise SourceError(f"{arguments.source} does not tell its size", fix="use a video file")
    network_hw = parse_size(arguments.size) if arguments.size else network_size(size_hw)
    chooses = arguments.model == AUTO and not arguments.size
    model = DEFAULT_MODEL if arguments.model == AUTO else arguments.model
    options = RunOptions(
        source=arguments.source,
        output=folder / "roadseg.mp4",
        model=arguments.model,
        backend=arguments.backend,
        size_hw=None if chooses else network_hw,
        threads=arguments.threads,
        max_frames=arguments.frames,
    )
    if chooses:
        # The plain loop runs the same network at the same input.
        model, network_hw = _choice(replace(options, max_frames=1))
    network = PlainNetwork(arguments.weights or model, network_hw, arguments.threads)
    agreement = _label_agreement(replace(options, model=model), network)
    print(
        f"{model}, input {network_hw[0]}x{network_hw[1]}, "
        f"first frame's labels agree on {agreement:.1%}"
    )
    rounds = []
    for number in range(1, arguments.rounds + 1):
        rounds.append(_run_round(options, network, arguments.writer, folder))
        print(
            f"round {number}: plain {rounds[-1].plain_fps:.1f} FPS, "
            f"roadseg {rounds[-1].roadseg_fps:.1f} FPS at {rounds[-1].roadseg_hw[0]}x"
            f"{rounds[-1].roadseg_hw[1]}, ratio {rounds[-1].ratio:.2f}"
        )
    return {
        "source": arguments.source,
        "model": model,
        "network_hw": network_hw,
        "writer": arguments.writer,
        "label_agreement": round(agreement, 4),
        "rounds": [asdict(each) for each in rounds],
        "plain_fps": round(statistics.median(each.plain_fps for each in rounds), 2),
        "roadseg_fps": round(statistics.median(each.roadseg_fps for each in rounds), 2),
        "ratio": round(statistics.median(each.ratio for each in rounds), 3),
        "machine": asdict(describe_machine()),
    }


def main(argv: list[str] | None = None) -> int:
    """Compare; print and write the result."""
    arguments = _parse(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="roadseg-pipeline-") as folder:
            result = _measure(arguments, Path(folder))
    except RoadsegError as exc:
        print(f"error: {exc}")
        return exc.exit_code
    print(
        f"median: plain {result['plain_fps']} FPS, roadseg {result['roadseg_fps']} FPS, "
        f"ratio {result['ratio']} on {describe_machine()}"
    )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
