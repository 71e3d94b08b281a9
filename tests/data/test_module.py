"""Every layout that people have feeds training, by the keys that they already write."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from apollo.audio import degrade
from apollo.data import DataModule, StemDataModule, StemStoreDataModule
from apollo.data.store_building import build_store
from apollo.errors import ConfigError, DataError
from apollo.training.callbacks import Clips
from apollo.training.train import train

RATE = 44100

REST = """
exp: {dir: EXPS, name: apollo}
model: {_target_: look2hear.models.apollo.Apollo, sr: 44100, win: 20, feature_dim: 16, layer: 1}
optimizer_g: {_target_: torch.optim.AdamW, lr: 0.001}
scheduler_g: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 2}
loss_g: {_target_: apollo.nn.losses.GeneratorLoss, weights: {magnitude: 1}}
metrics: {_target_: look2hear.losses.MultiSrcNegSDR, sdr_type: sisdr}
system: {_target_: look2hear.system.audio_litmodule.AudioLightningModule}
checkpoint: {_target_: pytorch_lightning.callbacks.ModelCheckpoint, dirpath: EXPS/ckpt, monitor: val_loss}
trainer: {_target_: pytorch_lightning.Trainer, max_epochs: 1, accelerator: cpu, enable_progress_bar: false}
"""


@pytest.fixture(scope="session")
def pairs(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same music in every layout of pairs."""
    root = tmp_path_factory.mktemp("pairs")
    for name in ("a.wav", "nested ünïcode/b.flac"):
        source = music / "train" / "original" / name
        waveform, rate = soundfile.read(source, always_2d=True, dtype="float32")
        damaged = degrade(np.ascontiguousarray(waveform.T), rate, bitrate=48000).T
        stem = Path(name).with_suffix("")
        for folder, side, ending in (
            (root / "two" / "original" / stem.parent, waveform, "wav"),
            (root / "two" / "codec" / stem.parent, damaged, "mp3"),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{stem.name}.{ending}", side, rate)
        song = root / "one" / stem.name
        song.mkdir(parents=True)
        shutil.copy(root / "two" / "original" / stem.parent / f"{stem.name}.wav", song / "original.wav")
        shutil.copy(root / "two" / "codec" / stem.parent / f"{stem.name}.mp3", song / "codec.mp3")
        paper = root / "eval" / stem.name
        paper.mkdir(parents=True)
        soundfile.write(paper / "ori_wav.wav", waveform, rate)
        soundfile.write(paper / "codec_wav.wav", damaged, rate)
    return root


@pytest.fixture(scope="session")
def store(stems: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of stems that are long enough to make one."""
    root = tmp_path_factory.mktemp("store")
    songs = root / "songs"
    for song in sorted(stems.iterdir()):
        (songs / song.name).mkdir(parents=True)
        for stem in sorted(song.iterdir()):
            waveform, rate = soundfile.read(stem, always_2d=True)
            soundfile.write(songs / song.name / stem.name, np.tile(waveform, (3, 1)), rate)
    build_store("folders", songs, root / "hdf5", workers=1)
    return root / "hdf5"


def layouts(music: Path, pairs: Path, stems: Path, store: Path) -> dict[str, dict[str, Any]]:
    seed = {
        "_target_": "look2hear.datas.DataModule",
        "original_dir": str(music / "train" / "original"),
        "codec_dir": "train/codec",
        "codec_format": "mp3",
        "valid_dir": str(music / "valid"),
        "valid_original": "original.wav",
        "valid_codec": "codec.wav",
        "codec": {"enable": True, "options": {"bitrate": "random", "compression": "random"}},
    }
    fork = {"_target_": "look2hear.datas.DataModule", "stems": {"original": "original", "codec": "codec"}}
    formats = {"original_format": "wav", "codec_format": "mp3"}
    paper = {
        "_target_": "look2hear.datas.MusdbMoisesdbDataModule",
        "eval_dir": str(pairs / "eval"),
        "codec_type": "mp3",
        "codec_options": dict.fromkeys(("bitrate", "compression", "complexity", "vbr"), "random"),
        "num_stems": 8,
        "snr_range": [-10, 10],
        "num_samples": 4,
    }
    return {
        "seed, automatic codec": seed,
        "seed, pairs": seed
        | {"original_dir": str(pairs / "two" / "original"), "codec_dir": str(pairs / "two" / "codec")}
        | {"valid_dir": str(pairs / "one"), "valid_codec": "codec.mp3", "codec": {"enable": False}},
        "fork, type 1": fork
        | {"dataset_type": 1, "train": {"dir": [str(pairs / "one")], **formats}}
        | {"valid": {"dir": [str(pairs / "one")], **formats}},
        "fork, type 2": fork
        | {"dataset_type": 2, "train": {"dir": [str(pairs / "two"), str(pairs / "two")], **formats}}
        | {"valid": {"dir": str(pairs / "two"), **formats}},
        "paper, store": paper | {"train_dir": str(store)},
        "paper, folders": paper | {"train_dir": str(stems)},
        "plain folder": {
            "_target_": "apollo.data.DataModule",
            "original_dir": str(music / "train"),
            "codec": {"enable": True},
        },
        "stems": {"_target_": "apollo.data.StemDataModule", "train_dir": str(stems), "valid_dir": str(stems)}
        | {"valid_crops": 2},
    }


LAYOUTS = (
    "seed, automatic codec",
    "seed, pairs",
    "fork, type 1",
    "fork, type 2",
    "paper, store",
    "paper, folders",
    "plain folder",
    "stems",
)


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_trains(
    layout: str, music: Path, pairs: Path, stems: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Clips, "on_validation_batch_end", lambda *arguments: None)  # its pictures would take longest
    block = layouts(music, pairs, stems, store)[layout] | {"sr": RATE, "segments": 0.5, "batch_size": 2}
    if "num_samples" not in block:
        block["num_steps"] = 2
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"datas": block}) + REST.replace("EXPS", str(tmp_path)))
    best = train(path)
    assert best is not None
    assert best.exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_have_one_shape_and_do_not_depend_on_workers(pairs: Path, workers: int, tmp_path: Path) -> None:
    data = DataModule(
        original_dir=str(pairs / "two" / "original"),
        codec_dir=str(pairs / "two" / "codec"),
        valid_dir=str(pairs / "one"),
        valid_codec="codec.mp3",
        segments=0.75,
        num_steps=3,
        batch_size=4,
        num_workers=workers,
    )
    batches = list(data.train_dataloader())
    assert [tuple(batch["original"].shape) for batch in batches] == [(4, 2, 33075)] * 3
    alone = [data.training[number]["degraded"] for number in range(12)]
    assert torch.equal(torch.cat([batch["degraded"] for batch in batches]), torch.stack(alone))


def test_held_out_music_is_not_trained_on(music: Path) -> None:
    data = DataModule(original_dir=str(music / "train"), codec={"enable": True})
    trained = {track.path for track in data.training.source.tracks}
    held_out = {track.path for track in data.validation.dataset.source.tracks}
    assert trained
    assert held_out
    assert not trained & held_out


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({}, "lacks valid_dir"),
        ({"codec": {"enable": True}}, "lacks original_dir"),
        ({"original_dir": "MUSIC", "valid_dir": "VALID"}, r"lacks codec_dir.*codec\.enable=true"),
        ({"dataset_type": 3, "train": {"dir": ["x"]}, "valid_dir": "VALID"}, "dataset_type must be 1"),
        ({"dataset_type": 1, "train": {}, "valid_dir": "VALID"}, "datas.train lacks dir"),
        ({"dataset_type": 1, "train": {"dirs": "x"}, "valid_dir": "VALID"}, "datas.train.dirs is not known"),
        ({"original_dir": "MUSIC", "codec": {"enable": True, "options": {"bitrate": "much"}}}, "bitrate must be"),
    ],
)
def test_blocks_that_describe_no_data_are_told(block: dict[str, Any], message: str, music: Path) -> None:
    places = {"MUSIC": str(music / "train"), "VALID": str(music / "valid")}
    with pytest.raises((ConfigError, DataError, ValueError), match=message):
        DataModule(
            **{key: places.get(value, value) if isinstance(value, str) else value for key, value in block.items()}
        )


def test_options_that_the_published_code_does_not_use_are_ignored_and_told(
    pairs: Path, stems: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = dict.fromkeys(("bitrate", "compression", "complexity", "vbr"), "random")
    data = StemStoreDataModule(train_dir=str(stems), eval_dir=str(pairs / "eval"), codec_options=options)
    assert data.damage.vbr is None
    assert [record.message for record in caplog.records] == [
        "datas.codec_options.complexity and datas.codec_options.vbr: ignored, as the published code does"
    ]
    caplog.clear()
    StemStoreDataModule.check(
        train_dir="none", eval_dir="none", codec_options={"vbr": {"probability": 1, "quality": [0, 9]}}
    )
    assert not caplog.records


def test_one_file_cannot_be_held_out_from_itself(music: Path) -> None:
    with pytest.raises(ConfigError, match="none to validate on"):
        DataModule(original_dir=str(music / "train" / "original" / "nested ünïcode"), codec={"enable": True})


@pytest.mark.parametrize("made", [StemDataModule, StemStoreDataModule])
def test_stems_that_are_not_there_are_told(made: type, pairs: Path, tmp_path: Path) -> None:
    folder = {"eval_dir": str(pairs / "eval")} if made is StemStoreDataModule else {"valid_dir": str(tmp_path)}
    with pytest.raises(DataError, match="nowhere"):
        made(train_dir=str(tmp_path / "nowhere"), **folder)
