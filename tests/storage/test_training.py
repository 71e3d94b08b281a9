"""Training streams shards from a store, and a run whose folder is there goes on from there, wherever it was killed."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from apollo.data import ShardDataModule, shards
from apollo.data.crops import Crops
from apollo.data.degradation import RandomCodec
from apollo.data.shards import ShardCrops, Shards, prepare
from apollo.data.stems import StemFolder
from apollo.errors import ApolloError, DataError
from apollo.storage import place

Run = Callable[..., tuple[int, str, str]]

RATE = 44100
SAMPLES = 12_000
CONFIG = """
exp: {dir: "???", name: run}
seed: 3
datas: {_target_: apollo.data.ShardDataModule, train_dir: "???", valid_dir: "???", valid_crops: 2, segments: 0.2,
  num_steps: 2, batch_size: 1}
model: {_target_: apollo.nn.Apollo, feature_dim: 16, layer: 1, output: residual}
optimizer_g: {_target_: torch.optim.AdamW, lr: 0.001}
scheduler_g: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 1}
loss_g: {_target_: apollo.nn.losses.GeneratorLoss, windows: [256], weights: {waveform: 1}}
metrics: {_target_: apollo.nn.losses.NegativeSDR}
system: {_target_: apollo.training.system.ApolloSystem}
checkpoint: {_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: '${exp.dir}/${exp.name}/checkpoints',
  monitor: val_loss, save_last: true}
trainer: {_target_: lightning.pytorch.Trainer, max_epochs: 3, accelerator: cpu, enable_progress_bar: false,
  enable_model_summary: false, log_every_n_steps: 1}
"""


@pytest.fixture(scope="module")
def made(stems: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five crops in three shards."""
    folder = tmp_path_factory.mktemp("shards") / "train"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_BYTES", 2 * 4 * SAMPLES)
        crops = Crops(StemFolder(stems, RATE), RandomCodec(RATE, bitrate=[32000, 64000]), SAMPLES, seed=3)
        prepare(crops, folder, 5, RATE, {"seed": 3})
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path / "config.yaml"


def test_streamed_crops_are_those_of_the_files(store: Any, made: Path) -> None:
    store.fill(made, "shards/")
    store.put("music", "shards/notes.txt", b"of no interest")
    store.put("music", "shards/old/00000.safetensors", b"neither")
    here, there = Shards(made, RATE), Shards(place("s3://music/shards"), RATE)  # type: ignore[arg-type]
    assert here.bitrates == there.bitrates
    for crops in (lambda held: ShardCrops(held, 1000, 1, (-12.0, 0.0)), lambda held: held):
        for number in range(5):
            one, other = crops(here)[number], crops(there)[number]
            assert one.keys() == other.keys()
            assert all(torch.equal(one[key], other[key]) for key in one)  # type: ignore[literal-required]
    assert not [name for name in store.downloads if "/shards/" in name and name.endswith(".safetensors")]


def test_workers_that_stream_are_not_forked(store: Any, made: Path) -> None:
    store.fill(made, "shards/")
    kinds = []
    for train, valid in [(made, made), ("s3://music/shards", made), (made, "s3://music/shards")]:
        module = ShardDataModule(str(train), str(valid), segments=0.2, num_workers=1)
        loaders = module.train_dataloader(), module.val_dataloader()
        kinds.append({getattr(loader.multiprocessing_context, "_name", None) for loader in loaders})
    assert kinds == [{None}, {"spawn"}, {"spawn"}]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not a complete shard"),
        (b"\xff" * 100, "is not a complete shard"),
        (None, "is not a complete shard"),
        ((1).to_bytes(8, "little") + b"{", "is not a complete shard"),
    ],
)
def test_spoilt_shard_in_a_store_is_one_sentence(store: Any, made: Path, content: bytes | None, sentence: str) -> None:
    store.fill(made, "shards/")
    whole = (made / "00001.safetensors").read_bytes()
    store.put("music", "shards/00001.safetensors", whole[:-10] if content is None else content)
    with pytest.raises(ApolloError, match=r"s3://music/shards/00001.safetensors .*" + sentence):
        Shards(place("s3://music/shards"), RATE)  # type: ignore[arg-type]


def test_shard_that_shrinks_under_a_run_is_told(store: Any, made: Path) -> None:
    store.fill(made, "shards/")
    held = Shards(place("s3://music/shards"), RATE)  # type: ignore[arg-type]
    store.put("music", "shards/00000.safetensors", (made / "00000.safetensors").read_bytes()[:-SAMPLES])
    with pytest.raises(DataError, match="has changed since the run began"):
        [held.read(number, 0, SAMPLES) for number in range(len(held))]


def weights(path: Path) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in load_file(path).items()}


@pytest.mark.usefixtures("small_pictures")
def test_run_in_a_bucket_that_is_killed_goes_on_to_the_same_weights(
    store: Any, made: Path, config: Path, tmp_path: Path, run: Run, start_fork: Callable[..., Any]
) -> None:
    store.fill(made, "shards/")
    here = [f"datas.{name}_dir={made}" for name in ("train", "valid")]
    there = [f"datas.{name}_dir=s3://music/shards" for name in ("train", "valid")]
    assert run("train", "-c", config, f"exp.dir={tmp_path}/exps", *here)[0] == 0

    command = ["train", "-c", str(config), "exp.dir=s3://music/exps/", *there]
    store.watched, store.spared = "last.ckpt", 1
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = start_fork("-m", "apollo", *command, stdout=subprocess.DEVNULL, env=environment)
    store.victim = process.pid
    assert process.wait() == -signal.SIGKILL
    before = store.get("music", "exps/run/checkpoints/last.ckpt")
    assert before
    assert "exps/run/config.yaml" in store.keys("music")
    assert "exps/run/best_model.safetensors" not in store.keys("music")

    # It is not written over, and a copy of its checkpoint from elsewhere is no way to do so either.
    code, _, errors = run(*command)
    assert code == 1
    assert "the run s3://music/exps/run already exists: resume it with -m" in errors
    (tmp_path / "copy.ckpt").write_bytes(before)
    assert "already exists" in run(*command, "-m", tmp_path / "copy.ckpt")[2]
    assert store.get("music", "exps/run/checkpoints/last.ckpt") == before

    last = "s3://music/exps/run/checkpoints/last.ckpt"
    code, said, errors = run(*command, "datas.num_workers=1", "-m", last)
    assert code == 0, errors
    assert "The model is s3://music/exps/run/best_model.safetensors" in said
    assert b"s3://music/exps/" in store.get("music", "exps/run/config.yaml")
    best = tmp_path / "best.safetensors"
    best.write_bytes(store.get("music", "exps/run/best_model.safetensors"))
    expected = weights(tmp_path / "exps" / "run" / "best_model.safetensors")
    assert all(np.array_equal(expected[name], array) for name, array in weights(best).items())
    # Of checkpoints that the run has removed, none stays; what it has kept is all there.
    kept = [key for key in store.keys("music") if key.endswith(".ckpt")]
    assert len(kept) == len(list((tmp_path / "exps" / "run" / "checkpoints").iterdir()))
    assert json.loads(store.get("music", "exps/run/best_k_models.json"))

    # From a bucket to a folder of this machine.
    assert run("train", "-c", config, f"exp.dir={tmp_path}/other", *here, "-m", last, "trainer.max_epochs=4")[0] == 0
    assert (tmp_path / "other" / "run" / "checkpoints" / "last.ckpt").is_file()


def test_store_that_is_lost_does_not_take_the_run_along(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from apollo.errors import TrainingError
    from apollo.training import mirror as module
    from apollo.training.mirror import mirrored

    def lost(*arguments: object, **options: object) -> None:
        raise ApolloError("s3://music/exps/run/a cannot be reached")

    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    publish = module.publish
    url = place("s3://music/exps")
    with caplog.at_level(logging.WARNING), mirrored(url, "run", None) as (_, mirror):  # type: ignore[arg-type]
        (mirror.folder / "a").write_bytes(b"1")
        monkeypatch.setattr(module, "publish", lost)
        mirror.try_to_send()
        assert "the run goes on" in caplog.text
        monkeypatch.setattr(module, "publish", publish)
        (mirror.folder / "b").write_bytes(b"2")
        mirror.try_to_send()
        assert store.keys("music") == ["exps/run/a", "exps/run/b"]
        (mirror.folder / "a").unlink()
    assert store.keys("music") == ["exps/run/b"]

    def run_that_fails() -> None:
        with mirrored(url, "failed", None) as (_, mirror):  # type: ignore[arg-type]
            (mirror.folder / "c").write_bytes(b"3")
            raise MemoryError

    with pytest.raises(MemoryError):
        run_that_fails()
    assert "exps/failed/c" in store.keys("music")
    (tmp_path / "model").write_bytes(b"3")

    def run_that_ends_with_the_store() -> None:
        with mirrored(url, "other", None) as (_, mirror):  # type: ignore[arg-type]
            (tmp_path / "model").rename(mirror.folder / "model")
            monkeypatch.setattr(module, "publish", lost)

    with pytest.raises(TrainingError, match=r"is kept in .*apollo-run-"):
        run_that_ends_with_the_store()
    (kept,) = tmp_path.glob("apollo-run-*")
    assert (kept / "model").read_bytes() == b"3"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("datas.train_dir=s3://music/none",), "s3://music/none holds no shards.json"),
        (("exp.dir=s3://nowhere/exps",), "there is no bucket s3://nowhere"),
        (("exp.dir=s3://key:not-to-be-told@music/exps",), "leave that out"),
        (("checkpoint.dirpath=s3://music/elsewhere",), "only what is on this machine will do here"),
        (("-m", "s3://music/none.ckpt"), "there is no s3://music/none.ckpt"),
        (("datas={_target_: apollo.data.StemDataModule, train_dir: s3://music/songs, valid_dir: x}",), "make shards"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    store: Any, made: Path, config: Path, tmp_path: Path, run: Run, words: tuple[str, ...], sentence: str
) -> None:
    base = [f"exp.dir={tmp_path}/exps", *(f"datas.{name}_dir={made}" for name in ("train", "valid"))]
    code, _, errors = run("train", "-c", config, *base, *words)
    assert code == 1
    assert errors.splitlines()[-1].startswith("Error: ")
    assert sentence in errors.splitlines()[-1]
    assert not store.keys("music")
