"""Several processes train as one with so many times the batch."""

import csv
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

CONFIG = """
exp: {dir: EXPS, name: run}
datas: {_target_: apollo.data.StemDataModule, train_dir: STEMS, valid_dir: STEMS, valid_crops: 3, segments: 0.3,
  num_steps: 3, batch_size: 2}
model: {_target_: apollo.nn.Apollo, feature_dim: 16, layer: 1, output: residual}
discriminator: {_target_: apollo.nn.MultiFrequencyDiscriminator, window: [256]}
optimizer_g: {_target_: torch.optim.SGD, lr: 0.01}
optimizer_d: {_target_: torch.optim.SGD, lr: 0.01}
scheduler_g: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 1, gamma: 0.9}
scheduler_d: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 1, gamma: 0.9}
# The published magnitude and feature losses divide by means over a batch, so they differ from batch size to batch size.
loss_g: {_target_: apollo.nn.losses.GeneratorLoss, windows: [256, 1024], weights: {adversarial: 1, log_magnitude: 1}}
loss_d: {_target_: apollo.nn.losses.DiscriminatorLoss}
metrics: {_target_: apollo.nn.losses.NegativeSDR}
system: {_target_: apollo.training.system.ApolloSystem}
checkpoint: {_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: '${exp.dir}/${exp.name}/checkpoints',
  monitor: val_loss, save_last: true}
trainer: {_target_: lightning.pytorch.Trainer, max_epochs: 2, accelerator: cpu, enable_progress_bar: false,
  enable_model_summary: false, log_every_n_steps: 1}
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="two processes on one CPU need gloo, which Windows' CI lacks")
def test_two_processes_or_nodes_learn_what_one_process_does_with_twice_the_batch(stems: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("EXPS", str(tmp_path)).replace("STEMS", str(stems)))

    def start(name: str, *more: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        command = [sys.executable, *launcher, "-m", "apollo", "train", "-c", str(path), f"exp.name={name}", *more]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def result(name: str, *processes: subprocess.Popen[str]) -> tuple[dict[str, torch.Tensor], list[float]]:
        for process in processes:
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output
        checkpoints = list((tmp_path / name / "checkpoints").glob("*.ckpt"))
        assert len(checkpoints) == 2  # the best and the last: one process writes
        (metrics,) = (tmp_path / name).glob("logs/*/metrics.csv")
        losses = [float(row["val_loss"]) for row in csv.DictReader(metrics.open()) if row["val_loss"]]
        state = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        return state["state_dict"], losses

    one, losses_of_one = result("one", start("one", "datas.batch_size=4"))
    two = result("two", start("two", "trainer.devices=2", "trainer.strategy=ddp"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1")
    here = ("--master-addr=127.0.0.1", f"--master-port={port}")
    nodes = [
        start(
            "nodes",
            "trainer.num_nodes=2",
            "trainer.devices=1",
            "trainer.strategy=ddp",
            launcher=(*torchrun, *here, f"--node-rank={rank}"),
        )
        for rank in (0, 1)
    ]
    for weights, losses in (two, result("nodes", *nodes)):
        assert losses == pytest.approx(losses_of_one, rel=1e-5)
        for name, value in one.items():
            # The band merge starts at zero, so that its weights are all of them what was learnt.
            error = (weights[name] - value).norm() / value.norm()
            assert error <= 1e-3, (name, error)
