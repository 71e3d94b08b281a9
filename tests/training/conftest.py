import csv
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from apollo.cli import main

# What users of the published code have on disk, with its names.
SEED_YAML = """
exp: {dir: ./exps, name: apollo}
datas: {_target_: look2hear.datas.DataModule, original_dir: train/original, codec_dir: train/codec, codec_format: mp3,
  valid_dir: valid, valid_original: original.wav, valid_codec: codec.mp3,
  codec: {enable: false, options: {bitrate: random, compression: random}},
  sr: 44100, segments: 3, num_steps: 1000, batch_size: 1, num_workers: 0, pin_memory: true}
model: {_target_: look2hear.models.apollo.Apollo, sr: 44100, win: 20, feature_dim: 256, layer: 6}
discriminator: {_target_: look2hear.discriminators.frequencydis.MultiFrequencyDiscriminator, nch: 2,
  window: [32, 64, 128, 256, 512, 1024, 2048]}
optimizer_g: {_target_: torch.optim.AdamW, lr: 0.001, weight_decay: 0.01}
optimizer_d: {_target_: torch.optim.AdamW, lr: 0.0001, weight_decay: 0.01, betas: [0.5, 0.99]}
scheduler_g: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 2, gamma: 0.98}
scheduler_d: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 2, gamma: 0.98}
loss_g: {_target_: look2hear.losses.gan_losses.MultiFrequencyGenLoss, eps: 1e-8}
loss_d: {_target_: look2hear.losses.gan_losses.MultiFrequencyDisLoss, eps: 1e-8}
metrics: {_target_: look2hear.losses.MultiSrcNegSDR, sdr_type: sisdr}
system: {_target_: look2hear.system.audio_litmodule.AudioLightningModule}
early_stopping: {_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val_loss, patience: 20, mode: min,
  verbose: true}
checkpoint: {_target_: pytorch_lightning.callbacks.ModelCheckpoint, dirpath: '${exp.dir}/${exp.name}/checkpoints',
  monitor: val_loss, mode: min, verbose: true, save_top_k: 5, save_last: true, filename: '{epoch}-{val_loss:.4f}'}
logger: {_target_: pytorch_lightning.loggers.WandbLogger, name: '${exp.name}', save_dir: '${exp.dir}/${exp.name}/logs',
  offline: true, project: Audio-Restoration}
trainer: {_target_: pytorch_lightning.Trainer, devices: [0], max_epochs: 1000, sync_batchnorm: true,
  default_root_dir: '${exp.dir}/${exp.name}/', accelerator: cuda, limit_train_batches: 1.0, fast_dev_run: false,
  precision: bf16}
"""
# A run of seconds on a CPU.
SMALL_YAML = """
exp: {dir: "???", name: run}
datas: {_target_: apollo.data.StemDataModule, train_dir: "???", valid_dir: "???", valid_crops: 1, segments: 0.2,
  num_steps: 3, batch_size: 1}
model: {_target_: apollo.nn.Apollo, feature_dim: 16, layer: 1, output: residual}
discriminator: {_target_: apollo.nn.MultiFrequencyDiscriminator, window: [64]}
optimizer_g: {_target_: torch.optim.AdamW, lr: 0.001}
optimizer_d: {_target_: torch.optim.AdamW, lr: 0.0001}
scheduler_g: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 1}
scheduler_d: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 1}
loss_g: {_target_: apollo.nn.losses.GeneratorLoss, windows: [256, 1024]}
loss_d: {_target_: apollo.nn.losses.DiscriminatorLoss}
metrics: {_target_: apollo.nn.losses.NegativeSDR}
system: {_target_: apollo.training.system.ApolloSystem}
checkpoint: {_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: '${exp.dir}/${exp.name}/checkpoints',
  monitor: val_loss, save_last: true}
trainer: {_target_: lightning.pytorch.Trainer, max_epochs: 1, accelerator: cpu, enable_progress_bar: false,
  enable_model_summary: false, log_every_n_steps: 1}
"""
SMALL = [
    "trainer.accelerator=cpu",
    "model.win=100",
    "model.feature_dim=16",
    "model.layer=1",
    "discriminator.window=[64,512]",
    "datas.segments=0.2",
    "datas.num_steps=2",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
]


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The environment is as it was after each test: Lightning leaves in it where the processes of a run have met."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def signals_are_given_back() -> Iterator[None]:
    """Training in a notebook must leave Ctrl+C and SIGTERM as they were, however it ended."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `apollo train` in this process, which has imported Lightning already; gives its exit code and output."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["apollo", "train", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture(scope="session", autouse=True)
def all_pictures_are_small(small_pictures: None) -> None:
    """For all tests of training."""


@pytest.fixture
def seed_config(music: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    path = tmp_path / "seed.yaml"
    path.write_text(SEED_YAML)
    return path, [
        *SMALL,
        "logger=null",  # Weights & Biases takes seconds to start
        f"exp.dir={tmp_path / 'exps'}",
        f"datas.original_dir={music / 'train' / 'original'}",
        f"datas.valid_dir={music / 'valid'}",
        "datas.valid_codec=codec.wav",
        "datas.codec.enable=true",
    ]


@pytest.fixture(scope="session")
def make_config(stems: Path) -> Callable[..., Path]:
    """Writes the configuration of a small run, with changes like those on a command line, into a folder."""

    def make(folder: Path, *changes: str) -> Path:
        here = [f"exp.dir={folder}", f"datas.train_dir={stems}", f"datas.valid_dir={stems}"]
        config = OmegaConf.merge(OmegaConf.create(SMALL_YAML), OmegaConf.from_dotlist([*here, *changes]))
        path = folder / "config.yaml"
        OmegaConf.save(config, path)
        return path

    return make


@pytest.fixture(scope="session")
def logged() -> Callable[[Path, str], list[float]]:
    """Reads the values that a run logged under a name, in their order."""

    def read(run: Path, name: str) -> list[float]:
        (metrics,) = run.glob("logs/*/metrics.csv")
        return [float(row[name]) for row in csv.DictReader(metrics.open()) if row.get(name)]

    return read
