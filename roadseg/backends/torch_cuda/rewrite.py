"""From a network of `roadseg.models` to the one that runs fast on CUDA: frames in, labels out.

The rewriting is algebra on the traced graph and needs no GPU:
- batch normalisation is folded into convolutions (by the export's trace);
- the frame's normalisation is folded into the first convolution, or joined with the local response
  normalisation, and its channels are padded to 8;
- a 1x1 convolution right after a convolution is multiplied into it where that saves work;
- convolution, addition and ReLU become one layer;
- pools and unpools get the operations' own index maps, and sizes known beforehand;
- the classifier's channels are padded to a multiple of 8, a 2x2 transposed convolution becomes a
  product with one matrix, and ArgMax follows inside.
"""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from roadseg.backends.torch_cuda.algebra import (
    bias_of,
    doubles,
    padded_input,
    padded_output,
    pointwise_product,
    transposed_as_product,
)
from roadseg.backends.torch_cuda.layers import (
    Activation,
    Convolution,
    FrameInput,
    IndexedPool,
    IndexedUnpool,
    ScoreLabels,
    pad_channels,
)
from roadseg.backends.torch_cuda.ops import FRAME_SCALE, Operations, ResponseNorm
from roadseg.export.trace import Trace, trace_model
from roadseg.models.pooling import IndexUnpool, MaxPoolIndices


def rewrite(model: nn.Module, size_hw: tuple[int, int], operations: Operations) -> fx.GraphModule:
    """The same function as `model` with normalisation before it and ArgMax after it.

    Args:
        model: takes (N, 3, H, W) float BGR in 0..1, gives (N, classes, H, W) scores; not changed.
        size_hw: height and width of the frames; any size that the network takes.
        operations: what the layers other than convolutions run on.

    Returns:
        A module in FP32 on the CPU that takes (N, H, W, 3) uint8 BGR and gives (N, H, W) uint8.

    Raises:
        ModelError: the model's flow depends on values, or it cannot take that size.
    """
    return _Rewriter(trace_model(model, size_hw), operations).run()


class _Rewriter:
    def __init__(self, trace: Trace, operations: Operations) -> None:
        self._trace = trace
        self._shapes = trace.shapes[0]
        self._module = trace.module
        self._graph = trace.module.graph
        self._operations = operations

    def run(self) -> fx.GraphModule:
        with torch.no_grad():
            self._drop_dropout()
            self._fold_pointwise()
            self._start()
            self._end()
            self._pools()
            self._convolutions()
        # Sizes that the graph computed from the input are constants by now.
        self._graph.eliminate_dead_code()
        self._module.delete_all_unused_submodules()
        self._graph.lint()
        self._module.recompile()
        return self._module.eval().requires_grad_(False)

    # The graph.

    def _layer(self, node: Any, kind: type[nn.Module]) -> Any:
        """The node's module if it is of that kind, else None."""
        if not isinstance(node, fx.Node) or node.op != "call_module":
            return None
        module = self._module.get_submodule(str(node.target))
        return module if isinstance(module, kind) else None

    def _put(self, name: str, module: nn.Module, before: fx.Node, *args: Any) -> fx.Node:
        """A new call of a new module before a node."""
        target = f"fast_{name}"
        self._module.add_submodule(target, module)
        with self._graph.inserting_before(before):
            return self._graph.call_module(target, args)

    def _replace(self, node: fx.Node, new: fx.Node) -> None:
        node.replace_all_uses_with(new)
        self._graph.erase_node(node)

    def _nodes(self) -> list[fx.Node]:
        return list(self._graph.nodes)

    # The passes.

    def _drop_dropout(self) -> None:
        for node in self._nodes():
            if self._layer(node, nn.Dropout) is not None:
                self._replace(node, node.args[0])  # type: ignore[arg-type]

    def _fold_pointwise(self) -> None:
        for node in self._nodes():
            after = self._layer(node, nn.Conv2d)
            before_node = node.args[0] if after is not None else None
            before = self._layer(before_node, nn.Conv2d)
            if before is None or len(before_node.users) != 1:  # type: ignore[union-attr]
                continue
            plain = (1, 1) == after.kernel_size == after.stride and after.padding == (0, 0)
            grouped = before.groups != 1 or after.groups != 1
            if not plain or grouped or after.out_channels > before.out_channels:
                continue
            layer = pointwise_product(before, after)
            new = self._put(f"product_{node.name}", layer, node, before_node.args[0])  # type: ignore[union-attr]
            self._shapes[new.name] = self._shapes[node.name]
            self._replace(node, new)
            self._graph.erase_node(before_node)  # type: ignore[arg-type]

    def _start(self) -> None:
        (frames,) = (node for node in self._nodes() if node.op == "placeholder")
        norm, entry = self._response_norm(frames)
        users = [node for node in entry.users if node.name not in self._trace.size_names]
        behind = frames.next
        source = self._put("frame", FrameInput(self._operations, norm), behind, frames)
        first = self._layer(users[0], nn.Conv2d) if len(users) == 1 else None
        colours = source
        if first is None or first.groups != 1:
            # Some other beginning: three channels in 0..1, as the model takes them.
            with self._graph.inserting_before(behind):
                three = (source, (slice(None), slice(None, 3)))
                colours = self._graph.call_function(operator.getitem, three)
                if norm is None:
                    factor = 1.0 / (255.0 * FRAME_SCALE)
                    colours = self._graph.call_function(operator.mul, (colours, factor))
        else:
            scale = 1.0 / (255.0 * FRAME_SCALE) if norm is None else 1.0
            padded = padded_input(first, pad_channels(3), scale)
            follower = users[0]
            new = self._put("first", padded, follower, colours)
            self._shapes[new.name] = self._shapes[follower.name]
            self._replace(follower, new)
        # What asks for sizes asks the tensor in PyTorch's order of axes.
        entry.replace_all_uses_with(colours, lambda user: user is not source)

    def _response_norm(self, frames: fx.Node) -> tuple[ResponseNorm | None, fx.Node]:
        """The normalisation of 0..255 values that the network begins with, and its node."""
        scaled = _only_user(frames)
        if scaled is None or scaled.target is not operator.mul or scaled.args[1] != 255.0:
            return None, frames
        node = _only_user(scaled)
        layer = self._layer(node, nn.LocalResponseNorm)
        # Only where the window covers all three channels around each of them.
        if node is None or layer is None or (layer.size - 1) // 2 < 2:
            return None, frames
        return ResponseNorm(layer.size, layer.alpha, layer.beta, layer.k), node

    def _end(self) -> None:
        (output,) = (node for node in self._nodes() if node.op == "output")
        scores = output.args[0]
        assert isinstance(scores, fx.Node)
        _, classes, height, width = self._shapes["output"]
        head = self._uncropped(scores)
        transposed = self._layer(head, nn.ConvTranspose2d)
        plain = self._layer(head, nn.Conv2d)
        block = 1
        layer: nn.Conv2d | None = None
        if len(head.users) == 1 and transposed is not None and doubles(transposed):
            block = 2
            layer = transposed_as_product(transposed, pad_channels(4 * classes))
        elif len(head.users) == 1 and plain is not None and plain.groups == 1:
            layer = padded_output(plain, pad_channels(classes))
        last: fx.Node = scores
        if layer is not None:
            last = self._put("scores", layer, head, head.args[0])
        labels = ScoreLabels(self._operations, classes, block, (height, width))
        node = self._put("labels", labels, output, last)
        output.args = (node,)

    def _uncropped(self, scores: fx.Node) -> fx.Node:
        """The node before a crop of rows and columns at the end, or the node itself."""
        if scores.target is not operator.getitem or not isinstance(scores.args[1], tuple):
            return scores
        places = scores.args[1]
        keeps_start = all(
            place is Ellipsis
            or (isinstance(place, slice) and place.start is None and place.step is None)
            for place in places
        )
        inner = scores.args[0]
        same = (
            isinstance(inner, fx.Node)
            and self._shapes[inner.name][:2] == self._shapes["output"][:2]
        )
        return inner if keeps_start and same else scores  # type: ignore[return-value]

    def _pools(self) -> None:
        pool = IndexedPool(self._operations)
        for node in self._nodes():
            if self._layer(node, MaxPoolIndices) is not None:
                self._replace(node, self._put("pool", pool, node, *node.args))
            elif self._layer(node, IndexUnpool) is not None:
                x, index = _arguments(node, "x", "indices")
                unpool = IndexedUnpool(self._operations, self._shapes[node.name][2:])
                self._replace(node, self._put(f"{node.name}", unpool, node, x, index))

    def _convolutions(self) -> None:
        for node in self._nodes():
            if node.op != "call_module" or self._layer(node, nn.Conv2d) is None:
                continue  # Other kinds, and summands that an earlier turn took.
            chain = [node]
            follower = _only_user(node)
            other: fx.Node | None = None
            if follower is not None and follower.target in (operator.add, torch.add):
                after = _only_user(follower)
                summands = [a for a in follower.args if a is not node]
                if len(summands) == 1 and isinstance(summands[0], fx.Node) and self._is_relu(after):
                    other = summands[0]
                    chain += [follower, after]  # type: ignore[list-item]
            elif self._is_relu(follower):
                chain.append(follower)  # type: ignore[arg-type]
            self._fuse(chain, other)

    def _fuse(self, chain: list[fx.Node], other: fx.Node | None) -> None:
        """One layer for a convolution, what follows it, and what is added in between."""
        node = chain[0]
        layer: nn.Conv2d = self._layer(node, nn.Conv2d)
        activation: Activation = "none" if len(chain) == 1 else "relu"
        args: list[Any] = [node.args[0]]
        if other is not None:
            activation = "add_relu"
            layer = self._withbias_of(layer, other)
            args.append(other)
        new = self._put(f"conv_{node.name}", Convolution(layer, activation), chain[-1], *args)
        chain[-1].replace_all_uses_with(new)
        for done in reversed(chain):
            self._graph.erase_node(done)

    def _withbias_of(self, layer: nn.Conv2d, other: fx.Node) -> nn.Conv2d:
        """`layer` with the bias of the convolution that is added to it, which loses it."""
        summand = self._layer(other, nn.Conv2d)
        if summand is None or summand.bias is None or _only_user(other) is None:
            return layer
        joined, bare = copy.deepcopy(layer), copy.deepcopy(summand)
        joined.bias = nn.Parameter(bias_of(layer) + summand.bias)
        bare.bias = None
        self._module.add_submodule(f"bare_{other.name}", bare)
        other.target = f"bare_{other.name}"
        return joined

    def _is_relu(self, node: fx.Node | None) -> bool:
        if node is None:
            return False
        if self._layer(node, nn.ReLU) is not None:
            return True
        return node.target in (F.relu, torch.relu, "relu", "relu_")


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _arguments(node: fx.Node, *names: str) -> list[Any]:
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    return [given[name] for name in names]
