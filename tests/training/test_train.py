import csv
import logging
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer

import apollo
from apollo.errors import ConfigError, TrainingError
from apollo.training import train as training
from apollo.training import trainer as assemble
from apollo.training.blocks import spec
from apollo.training.recipe import parse
from apollo.training.system import ApolloSystem
from apollo.training.train import build_system, train

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"

WITHOUT_WANDB = "logger=null"  # it takes seconds to start


@pytest.mark.slow
def test_the_published_configuration_trains_and_ends_in_a_model(
    seed_config: tuple[Path, list[str]], tmp_path: Path
) -> None:
    path, overrides = seed_config
    best = train(path, [*overrides, "datas.batch_size=3"])
    run = tmp_path / "exps" / "apollo"
    assert best == run / "best_model.safetensors"
    model = apollo.load_model(best)
    assert model.config["feature_dim"] == 16
    assert model(torch.zeros(1, 2, 4410)).shape == (1, 2, 4410)
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert len(list((run / "checkpoints").glob("epoch=*.ckpt"))) == 2
    assert list(run.glob("tensorboard/*/events*"))
    (metrics,) = run.glob("logs/*/metrics.csv")
    rows = list(csv.DictReader(metrics.open()))
    columns = {name for name in rows[0] if name.startswith(("train/", "val"))}
    assert columns == build_system(parse(path, overrides)).logged
    for name in ("train/adversarial", "train/feature_matching", "train/magnitude", "train/loss_d", "val_loss"):
        values = [float(row[name]) for row in rows if row[name]]
        assert values, name
        assert np.isfinite(values).all(), name


@pytest.mark.slow
def test_weights_and_biases_offline_gets_metrics_sound_and_pictures(
    seed_config: tuple[Path, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_fork: Callable[..., Any],
) -> None:
    pytest.importorskip("wandb")
    path, overrides = seed_config
    overrides.remove(WITHOUT_WANDB)
    key = "0123456789" * 4
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_MODE", "offline")
    result = run_fork("-m", "apollo", "train", "-c", path, *overrides, "logger.offline=false")
    assert result.returncode == 0, result.stderr
    run = tmp_path / "exps" / "apollo"
    (offline,) = run.glob("logs/wandb/offline-run-*")
    for pattern, count in (("images/clip ?/spectrograms*.png", 1), ("audio/clip ?_*.wav", 3)):
        files = list((offline / "files" / "media").glob(pattern))
        assert len(files) > count  # of two validation items
        assert all(file.stat().st_size > 1000 for file in files)
    logged = next(offline.glob("*.wandb")).read_bytes()
    (metrics,) = run.glob("logs/version_*/metrics.csv")
    rows = [row for row in csv.DictReader(metrics.open()) if row["val_loss"]]
    assert len(rows) == 2
    assert all(row["val_loss"].encode() in logged for row in rows)
    for name in (b"train/loss_d", b"val_lsd", b"audio_seconds_per_second"):
        assert name in logged
    written = [file for file in run.rglob("*") if file.is_file()]
    assert not any(key.encode() in file.read_bytes() for file in written)


def test_weights_and_biases_that_is_not_installed_is_done_without(
    seed_config: tuple[Path, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path, overrides = seed_config
    overrides.remove(WITHOUT_WANDB)
    monkeypatch.setattr(assemble, "find_spec", lambda package: None)
    loggers = assemble.build_loggers(parse(path, overrides))
    assert [type(logger).__name__ for logger in loggers] == ["TensorBoardLogger", "CSVLogger"]
    assert "pip install wandb" in caplog.text


# Now and then, the service of Weights & Biases does not end.
ENDLESS_TEARDOWN = """
import runpy, time, wandb
from apollo.training import weights_and_biases
end, weights_and_biases.PATIENCE = wandb.teardown, 3
wandb.teardown = lambda: (end(), time.sleep(3600))
runpy.run_module("apollo", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "reason"),
    [
        ({"WANDB_API_KEY": ""}, "no API key is set"),
        ({"WANDB_API_KEY": "0123456789" * 4, "WANDB_BASE_URL": "http://127.0.0.1:9"}, "127.0.0.1:9"),
    ],
)
def test_without_a_key_or_a_network_weights_and_biases_go_on_offline(
    seed_config: tuple[Path, list[str]],
    tmp_path: Path,
    there: dict[str, str],
    reason: str,
    run_fork: Callable[..., Any],
) -> None:
    pytest.importorskip("wandb")
    path, overrides = seed_config
    overrides.remove(WITHOUT_WANDB)
    home = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc"), "WANDB_MODE": "online"}
    short = ["logger.offline=false", "trainer.max_epochs=1", "logger.settings.init_timeout=3"]
    environment = {**os.environ, **home, **there}
    result = run_fork("-c", ENDLESS_TEARDOWN, "train", "-c", path, *overrides, *short, env=environment)
    assert result.returncode == 0, result.stderr
    (told,) = (line for line in result.stderr.splitlines() if "Weights & Biases cannot be used" in line)
    assert reason in told
    folder = Path(told.split("wandb sync ")[1])
    assert list(folder.glob("*.wandb"))
    assert list((tmp_path / "exps" / "apollo").glob("checkpoints/epoch=*.ckpt"))


def test_loggers_may_be_a_list_and_have_names(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"""
exp: {{dir: {tmp_path}}}
logger:
- {{_target_: lightning.pytorch.loggers.TensorBoardLogger, save_dir: {tmp_path}, name: one}}
- {{_target_: pytorch_lightning.loggers.CSVLogger, save_dir: {tmp_path}, name: two}}
""")
    loggers = assemble.build_loggers(parse(path))
    assert [(type(logger).__name__, logger.name) for logger in loggers] == [
        ("TensorBoardLogger", "one"),
        ("CSVLogger", "two"),
    ]


@pytest.mark.slow
def test_training_brings_the_loss_down(stems: Path, tmp_path: Path) -> None:
    overrides = [
        f"exp.dir={tmp_path}",
        f"datas.train_dir={stems}",
        f"datas.valid_dir={stems}",
        "datas.segments=0.3",
        "datas.num_steps=15",
        "datas.valid_crops=6",
        "datas.num_workers=0",
        "datas.codec.bitrate=32000",
        "model.feature_dim=16",
        "model.layer=1",
        "loss_g.windows=[512,2048]",
        "ema.decay=0.5",
        "trainer.max_epochs=4",
        "trainer.accelerator=cpu",
        "trainer.log_every_n_steps=1",
    ]
    train(CONFIGS / "stems.yaml", overrides)
    (metrics,) = tmp_path.glob("stems/logs/*/metrics.csv")
    losses = [float(row["valid/loss"]) for row in csv.DictReader(metrics.open()) if row["valid/loss"]]
    assert losses[-1] < 0.9 * losses[0]


def test_the_shipped_configurations_build() -> None:
    built = 0
    for path in sorted(CONFIGS.glob("*.yaml")):
        if "model" in parse(path).specs:  # else it is for `apollo data prepare`
            system = build_system(parse(path, ["model.layer=1"]))
            assert system.generator.config["sr"] == 44100
            built += 1
    assert built >= 4


def test_published_names_mean_ours() -> None:
    found = spec({"_target_": "look2hear.models.apollo.Apollo", "win": 40}, "model")
    assert found.made is apollo.Apollo
    assert found.arguments == {"win": 40}


def test_a_schedule_is_as_long_as_the_run() -> None:
    path = CONFIGS / "stems.yaml"
    for overrides, steps in (([], 37), (["trainer.max_epochs=50"], 51), (["scheduler_g.total_steps=99"], 99)):
        system = build_system(parse(path, ["model.layer=1", *overrides]))
        assert system.configure_optimizers()[1][0].total_steps == steps


def test_a_run_that_outlasts_its_schedule_is_told_before_it_begins(stems: Path, tmp_path: Path) -> None:
    short = [
        *(f"datas.{key}={stems}" for key in ("train_dir", "valid_dir")),
        *("datas.valid_crops=1", "datas.segments=0.3", "datas.num_steps=1", "datas.batch_size=1", "model.layer=1"),
        *("trainer.accelerator=cpu", "trainer.precision=32", "trainer.max_epochs=1", f"exp.dir={tmp_path}"),
    ]
    train(CONFIGS / "stems.yaml", short)
    last = tmp_path / "stems" / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    with pytest.raises(ConfigError, match=r"schedule ends after 2 epochs, before trainer\.max_epochs=9"):
        train(CONFIGS / "stems.yaml", [*short, "trainer.max_epochs=9"], resume=last)
    assert last.read_bytes() == before


def test_steps_that_are_not_finite_are_left_out_and_end_the_run_when_there_are_too_many(
    seed_config: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, overrides = seed_config
    learn = ApolloSystem._learn
    broken = {"batches": {1}}

    def poison(self: ApolloSystem, optimizer: object, loss: torch.Tensor, steps: bool) -> None:
        bad = self.trainer.fit_loop.total_batch_idx in broken["batches"]
        learn(self, optimizer, loss * (float("nan") if bad else 1.0), steps)  # type: ignore[arg-type]

    monkeypatch.setattr(ApolloSystem, "_learn", poison)
    train(path, overrides)
    last = tmp_path / "exps" / "apollo" / "checkpoints" / "last.ckpt"
    state = torch.load(last, weights_only=True)
    assert state["skipped"] == 2  # of both networks
    assert all(value.isfinite().all() for value in state["state_dict"].values())
    broken["batches"] = {2, 3, 4, 5}
    with pytest.raises(TrainingError, match="discriminator was not finite 3 steps in a row, in epoch 1"):
        train(path, [*overrides, "exp.name=broken", "system.skip_limit=3", "datas.num_steps=4"])


def test_steps_left_out_in_a_row_are_counted_for_each_network(
    seed_config: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, overrides = seed_config
    learn = ApolloSystem._learn

    def poison(self: ApolloSystem, optimizer: LightningOptimizer, loss: torch.Tensor, steps: bool) -> None:
        theirs = optimizer.param_groups[0]["params"][0] is next(self.generator.parameters())
        learn(self, optimizer, loss * (float("nan") if theirs else 1.0), steps)

    monkeypatch.setattr(ApolloSystem, "_learn", poison)
    with pytest.raises(TrainingError, match="generator was not finite 4 steps in a row, in epoch 1"):
        train(path, [*overrides, "system.skip_limit=4"])


def test_accumulated_batches_step_as_one(stems: Path, tmp_path: Path) -> None:
    block = f"""
exp: {{dir: {tmp_path}, name: run}}
datas: {{_target_: apollo.data.StemDataModule, train_dir: {stems}, valid_dir: {stems}, valid_crops: 1, segments: 0.3,
  num_steps: 4, batch_size: 1}}
model: {{_target_: apollo.nn.Apollo, feature_dim: 16, layer: 1, output: residual}}
optimizer_g: {{_target_: torch.optim.SGD, lr: 0.1}}
scheduler_g: {{_target_: torch.optim.lr_scheduler.StepLR, step_size: 1}}
loss_g: {{_target_: apollo.nn.losses.GeneratorLoss, windows: [512], weights: {{log_magnitude: 1}}}}
metrics: {{_target_: apollo.nn.losses.NegativeSDR}}
system: {{_target_: apollo.training.system.ApolloSystem}}
checkpoint: {{_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: '${{exp.dir}}/${{exp.name}}',
  save_last: true}}
trainer: {{_target_: lightning.pytorch.Trainer, max_epochs: 1, accelerator: cpu}}
"""
    path = tmp_path / "config.yaml"
    path.write_text(block)
    train(path, ["datas.num_steps=2", "datas.batch_size=2", "exp.name=whole"])
    train(path, ["trainer.accumulate_grad_batches=2", "exp.name=parts"])
    # Fewer batches than a step asks for, at the end of an epoch, are averaged too.
    train(path, ["datas.num_steps=1", "datas.batch_size=2", "exp.name=one"])
    train(path, ["datas.num_steps=2", "trainer.accumulate_grad_batches=5", "exp.name=few"])
    for alone, together in (("whole", "parts"), ("one", "few")):
        states = [
            torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"] for name in (alone, together)
        ]
        for name, value in states[0].items():
            # L1 losses have kinks to round across
            assert (states[1][name] - value).norm() <= 1e-3 * value.norm(), (together, name)


def test_the_published_command_is_the_same(
    seed_config: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, overrides = seed_config
    root = Path(__file__).parents[2]
    printed = []
    for script, *words in (
        ("train.py", f"--conf_dir={path}"),
        ("train.py", "-c", str(path)),
        ("apollo/__main__.py", "train", "-c", str(path)),
    ):
        monkeypatch.setattr(sys, "argv", [script, *words, *overrides, "--print-config"])
        with suppress(SystemExit):
            runpy.run_path(str(root / script), run_name="__main__")
        printed.append(capsys.readouterr().out)
    assert "feature_dim: 16" in printed[0]
    assert "${" not in printed[0]
    assert printed[0] == printed[1] == printed[2]


def test_a_quiet_run_shows_no_bar_no_table_and_no_notes_of_lightning(
    command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def fit(path: Path, overrides: list[str], *rest: object, **more: object) -> None:
        told.extend([*overrides, logging.getLogger("lightning.pytorch.trainer").getEffectiveLevel()])

    monkeypatch.setattr(training, "train", fit)
    assert command("--quiet", "-c", "run.yaml", "seed=1") == (0, "", "")
    assert told == ["trainer.enable_progress_bar=false", "trainer.enable_model_summary=false", "seed=1", logging.ERROR]


@pytest.mark.slow
def test_a_log_file_gets_a_line_every_so_many_batches(
    seed_config: tuple[Path, list[str]], tmp_path: Path, start_fork: Callable[..., Any]
) -> None:
    path, overrides = seed_config
    more = ["datas.num_steps=5", "trainer.log_every_n_steps=2", "trainer.max_epochs=1"]
    with (tmp_path / "nohup.out").open("w") as file:
        command = (ROOT / "train.py", "-c", path, *overrides, *more)
        environment = {**os.environ, "COLUMNS": "80"}
        assert start_fork(*command, stdout=file, stderr=subprocess.STDOUT, env=environment).wait() == 0
    text = (tmp_path / "nohup.out").read_text()
    lines = text.splitlines()
    for place in ("batch 2/5", "batch 4/5", "batch 5/5", "validated"):
        (number,) = (n for n, line in enumerate(lines) if line.startswith(f"epoch 0, {place}:"))
        told = lines[number : number + 3]
        assert max(map(len, told)) <= 80
        names = ("val_unprocessed", "val_lsd") if place == "validated" else ("loss_g", "audio_seconds_per_second")
        assert all(any(f" {name} " in line for line in told) for name in names)
    assert "\r" not in text
    assert "it/s" not in text
    for other in ("litlogger", "litmodels", "deprecated", "weights_only"):  # what Lightning and PyTorch would say
        assert other not in text
    assert text.count("`Trainer.fit` stopped") <= 1
