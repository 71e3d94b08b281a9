"""Several processes train as one with so many times the batch."""

import csv
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
def test_two_processes_learn_what_one_does_with_twice_the_batch(stems: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("EXPS", str(tmp_path)).replace("STEMS", str(stems)))

    def run(name: str, *more: str) -> tuple[dict[str, torch.Tensor], list[float]]:
        command = [sys.executable, "-m", "apollo", "train", "-c", str(path), f"exp.name={name}", *more]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
        checkpoints = list((tmp_path / name / "checkpoints").glob("*.ckpt"))
        assert len(checkpoints) == 2  # the best and the last: one process writes
        (metrics,) = (tmp_path / name).glob("logs/*/metrics.csv")
        losses = [float(row["val_loss"]) for row in csv.DictReader(metrics.open()) if row["val_loss"]]
        state = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        return state["state_dict"], losses

    one, losses_of_one = run("one", "datas.batch_size=4")
    two, losses_of_two = run("two", "trainer.devices=2", "trainer.strategy=ddp")
    assert losses_of_two == pytest.approx(losses_of_one, rel=1e-5)
    for name, value in one.items():
        # The band merge starts at zero, so that its weights are all of them what was learnt.
        assert (two[name] - value).norm() <= 1e-3 * value.norm(), (name, (two[name] - value).norm() / value.norm())
