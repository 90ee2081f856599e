"""Two processes on the CPU, as torchrun starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from roadseg.core.errors import BackendError
from roadseg.models import load_weights
from roadseg.training import distributed
from roadseg.training.distributed import World, world
from tests.support import ROOT

pytestmark = pytest.mark.usefixtures("as_typed")

RECIPE = """
description = "two steps"
epochs = 2
batch_size = 4
crop_hw = [64, 64]
optimizer = "sgd"
learning_rate = 0.01
weight_decay = 0.0
warmup_epochs = 0
poly_power = 0.9
ema_decay = 0.5
class_weighting = "none"
jaccard_weight = 0.0
auxiliary_weight = 0.0
extra_share = 0.0
validate_every = 1
[augmentation]
scale = [1.0, 1.0]
aspect = 0.0
rotate_deg = 0.0
flip = false
rare_share = 0.0
colour = 0.0
blur_share = 0.0
noise_share = 0.0
"""


def test_a_single_process_is_a_world_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with world() as place:
        assert place.mean(3.5) == 3.5
        assert (place.rank, place.size, place.leads) == (0, 1, True)
        model = torch.nn.Linear(1, 1)
        assert place.parallel(model) is model
        assert place.agree(3.5) == 3.5


def test_the_mean_is_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def sum_with_another(shared: torch.Tensor) -> None:
        shared += 5.0

    monkeypatch.setattr(distributed.distributed, "all_reduce", sum_with_another)
    assert World(0, 2, torch.device("cpu")).mean(3.0) == 4.0


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(distributed.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(BackendError) as caught, world():
        pass
    assert str(caught.value) == (
        "torchrun started 2 or more processes for 1 GPUs: torchrun --nproc-per-node 1"
    )


# `roadseg`, and after every epoch a file with a checksum of this process's parameters.
WATCHED = """
import hashlib, os, sys
from pathlib import Path
from roadseg.cli import main
from roadseg.training.trainer import Trainer

run_epoch = Trainer.run_epoch

def watched(self, *arguments):
    run_epoch(self, *arguments)
    digest = hashlib.sha256()
    for parameter in self.learner.model.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    name = f"rank{os.environ['RANK']}-epoch{self.epoch}"
    Path(sys.argv[0]).with_name(name).write_text(digest.hexdigest())

Trainer.run_epoch = watched
sys.exit(main())
"""


def test_two_processes_train_one_network_and_resume(tiny_camvid: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "watched.py").write_text(WATCHED)
    folder = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *(str(tmp_path / "watched.py"), "train", "--data", str(tiny_camvid)),
        *("--output", str(folder), "--recipe", str(tmp_path / "recipe.toml"), "--threads", "1"),
    ]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
    }
    for more, epochs in (((), 2), (("--resume", "--epochs", "3"), 3)):
        done = subprocess.run(
            [*command, *more], cwd=ROOT, env=environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        lines = [
            json.loads(x) for x in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        assert [line["epoch"] for line in lines] == list(range(1, epochs + 1))
        assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["processes"] == 2
    assert done.stdout.count("validation mIoU") == 1
    # 6 frames in batches of 4, shared by two: one step an epoch, as one process would take.
    assert lines[-1]["step"] == 3
    sums = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("rank*")}
    assert len(sums) == 6
    for epoch in (1, 2, 3):
        # Each saw other crops; averaged gradients keep the parameters equal, bit for bit.
        assert sums[f"rank0-epoch{epoch}"] == sums[f"rank1-epoch{epoch}"]
    assert len(set(sums.values())) == 3
    load_weights(folder / "best.safetensors")


# The second process alone comes to a loss that is no number, in its second epoch.
SPOILT = """
from roadseg.training.learner import LossOf

forward, calls = LossOf.forward, []

def spoilt(self, *arguments):
    calls.append(1)
    loss = forward(self, *arguments)
    return loss * float("nan") if os.environ["RANK"] == "1" and len(calls) == 2 else loss

LossOf.forward = spoilt
"""


def test_all_processes_go_back_together(tiny_camvid: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("epochs = 2", "epochs = 4"))
    (tmp_path / "watched.py").write_text(WATCHED.replace("sys.exit(", f"{SPOILT}\nsys.exit("))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *(str(tmp_path / "watched.py"), "train", "--data", str(tiny_camvid)),
            *("--output", str(tmp_path / "run"), "--recipe", str(tmp_path / "recipe.toml")),
            *("--threads", "1"),
        ],
        cwd=ROOT,
        env=os.environ
        | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("of epoch 2: went back to the weights of epoch 1") == 1
    text = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line.get("rate_scale") for line in lines] == [None, 0.5, None, None]
    for epoch in (1, 2, 3, 4):
        first, second = (
            (tmp_path / f"rank{i}-epoch{epoch}").read_text(encoding="utf-8") for i in (0, 1)
        )
        assert first == second
