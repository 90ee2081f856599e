"""A network that learns: its loss, its optimiser, the average of its weights, and one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from roadseg.models.abilities import has_auxiliary_head, has_pretrained_encoder
from roadseg.training.checkpoint import AveragedWeights
from roadseg.training.distributed import World
from roadseg.training.objective import Objective, on_device
from roadseg.training.recipes import Recipe

_SHARE = "share_of_rate"
"""What a group of an optimiser takes of the learning rate."""


class Learner:
    """Everything that a step changes.

    Args:
        model: the network; moved to the device.
        objective: its loss.
        recipe: how it learns.
        num_classes: channels of its scores.
        device: where it learns.

    Attributes:
        model: the network.
        optimizer: of its weights.
        average: of its weights, which is what is validated and kept.
        norms: of the gradients since the last `begin_epoch`, on the device: reading one would make
            a GPU wait.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        recipe: Recipe,
        num_classes: int,
        device: torch.device,
    ) -> None:
        self.device, self.objective = device, objective
        self._recipe, self._num_classes = recipe, num_classes
        self.model = on_device(model, device)
        self.optimizer = build_optimizer(self.model, recipe)
        self.average = AveragedWeights(self.model, recipe.ema_decay)
        if recipe.auxiliary_weight == 0 and has_auxiliary_head(self.model):
            # Processes that train together wait for the gradient of all that could have one.
            self.model.auxiliary.requires_grad_(False)
        # What computes the loss: the only part that processes share and compilers fuse.
        self._loss_of: Callable[[Tensor, Tensor], Tensor] = LossOf(self.model, objective)
        self.norms: list[Tensor] = []

    def connect(self, place: World, *, compiled: bool) -> None:
        """Share gradients among processes and fuse the step, once the weights are in place."""
        module = place.parallel(LossOf(self.model, self.objective))
        # SyncBatchNorm replaces layers: what is trained and averaged is what is inside.
        inner = module.module if place.size > 1 else module
        self.model = inner.model  # type: ignore[union-attr,assignment]
        self._loss_of = torch.compile(module) if compiled else module

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def set_rate(self, rate: float) -> None:
        """The learning rate from now on."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(_SHARE, 1.0)

    def begin_epoch(self, seed: int) -> None:
        """Make ready for steps whose dropout follows from `seed`."""
        torch.manual_seed(seed)
        self.model.train()
        self.norms.clear()

    def step(self, images: Tensor, labels: Tensor, *, evenly: bool) -> Tensor:
        """Learn from one batch.

        Args:
            images, labels: see `Objective`.
            evenly: see `AveragedWeights.update`.

        Returns:
            The loss before the step, a scalar on the device.
        """
        loss = self._loss_of(images, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.norms.append(clip_gradients(self.model, self._recipe.clip_norm))
        self.optimizer.step()
        centre_scores(self.model, self._num_classes)
        self.average.update(self.model, evenly=evenly)
        return loss

    def try_batch(self, count: int) -> None:
        """A step on `count` grey crops, after which the weights are of no use."""
        self.optimizer.zero_grad(set_to_none=True)
        height, width = self._recipe.crop_hw
        images = torch.full((count, 3, height, width), 0.5, device=self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.zeros((count, height, width), dtype=torch.int64, device=self.device)
        self.objective(self.model, images, labels).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def is_finite(self) -> bool:
        """Whether all weights are numbers: the last step of an epoch may spoil them unseen."""
        floats = [v for v in self.model.state_dict().values() if v.is_floating_point()]
        return bool(torch.stack(torch._foreach_norm(floats)).isfinite().all())

    # -- state -----------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, on the same device or another."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": (self.average.updates, self.average.even_updates, self.average.state),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take weights, their average and the optimiser's memory from a checkpoint.

        Raises:
            RuntimeError, KeyError, ValueError: it does not fit.
        """
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.updates, self.average.even_updates, averaged = state["average"]
        self.average.state = {key: value.to(self.device) for key, value in averaged.items()}


class LossOf(nn.Module):
    """Network and loss as one module, which is what can be made parallel and be compiled."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self._objective = objective

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._objective(self.model, images, labels)


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of a network's trained parameters.

    The first group has the full learning rate; what an encoder takes of it is `encoder_rate`.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if recipe.encoder_rate == 1 or not has_pretrained_encoder(model):
        groups = _decayed_apart(trained, recipe, 1.0)
    else:
        of_encoder = {id(p) for p in model.encoder.parameters()}
        rest = [p for p in trained if id(p) not in of_encoder]
        encoder = [p for p in trained if id(p) in of_encoder]
        groups = _decayed_apart(rest, recipe, 1.0)
        groups += _decayed_apart(encoder, recipe, recipe.encoder_rate)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(groups, recipe.learning_rate)


def _decayed_apart(
    parameters: Sequence[nn.Parameter], recipe: Recipe, share: float
) -> list[dict[str, Any]]:
    # Decaying batch-norm scales and biases only slows them down; it regularises convolutions.
    wide = [p for p in parameters if p.ndim > 1]
    narrow = [p for p in parameters if p.ndim <= 1]
    return [
        {"params": wide, "weight_decay": recipe.weight_decay, _SHARE: share},
        {"params": narrow, "weight_decay": 0.0, _SHARE: share},
    ]


def clip_gradients(model: nn.Module, limit: float) -> Tensor:
    """Scale all gradients down to a norm of `limit` together, where it is larger; in place.

    Nothing is read from the device. A `limit` of 0 leaves them as they are; their norm is measured
    all the same: it tells why a run went astray.

    Returns:
        The norm before that, a scalar on the device.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients, foreach=True)
    if limit > 0:
        nn.utils.clip_grads_with_norm_(model.parameters(), limit, norm, foreach=True)
    return norm


@torch.no_grad()
def centre_scores(model: nn.Module, num_classes: int) -> None:
    """Take out of a network's scores what they have in common, in the layer that makes them.

    No loss and no label depends on what is added to all scores of a pixel alike, so nothing keeps
    it small, and Adam, which gives every weight a rate of its own, lets it grow. It takes up the
    digits of half-precision scores: docs/training.md, "Why gradients are clipped on a GPU".
    Networks whose scores several layers make are left as they are.

    Args:
        model: its `classifier`, and segnet-lite's `auxiliary`, are changed in place.
        num_classes: channels of the scores.
    """
    for name in ("classifier", "auxiliary"):
        layer = getattr(model, name, None)
        if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            continue
        if layer.out_channels != num_classes or layer.groups != 1:
            continue
        classes = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        layer.weight.sub_(layer.weight.mean(classes, keepdim=True))
        if layer.bias is not None:
            layer.bias.sub_(layer.bias.mean())


class StepLosses:
    """The losses of an epoch's steps, each read one step late.

    To read a loss is to wait until the GPU has come to it. One step late, the GPU has the next
    step to work on meanwhile, and never waits for the host.

    Attributes:
        values: those read so far, in the order of the steps.
    """

    def __init__(self) -> None:
        self.values: list[float] = []
        self._waiting: tuple[Tensor, torch.cuda.Event | None] | None = None

    def add(self, loss: Tensor) -> None:
        """Read the loss of the step before, and keep this one for later.

        Args:
            loss: of one step, a scalar.
        """
        self.finish()
        # A copy of its own: `.item()` would wait for all that has been asked of the GPU since.
        copy, copied = loss.detach().to("cpu", non_blocking=True), None
        if loss.is_cuda:
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
        self._waiting = (copy, copied)

    def finish(self) -> None:
        """Read what is left to be read."""
        if self._waiting is None:
            return
        copy, copied = self._waiting
        self._waiting = None
        if copied is not None:
            copied.synchronize()
        self.values.append(float(copy))
