"""The configurations that people have end in training, or in one list of all that is passed over.

Those in `tests/golden/configurations` have the keys of the paper's code, of the two forks that its users train with
(`seed`, `fork`), of MSST's hand-over, and of a fork with keys of its own (`rival`).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from apollo.errors import ConfigError
from apollo.training.blocks import PLAIN, TARGETS, taken
from apollo.training.converting import IGNORED, PUBLISHED, RENAMED, converted
from apollo.training.foreign_values import OTHERS
from apollo.training.recipe import parse
from apollo.training.train import check, train

CONFIGURATIONS = Path(__file__).parents[1] / "golden" / "configurations"
SMALL = [
    "model.feature_dim=16",
    "model.layer=1",
    "discriminator.window=[64]",
    "datas.segments=0.5",
    "datas.batch_size=1",
]
RUN = ["trainer.accelerator=cpu", "trainer.precision=32", "trainer.max_epochs=1", "trainer.enable_progress_bar=false"]


@pytest.fixture
def folders(music: Path, stems: Path, tmp_path: Path) -> dict[str, list[str]]:
    """Where each configuration finds its data."""
    for song in sorted((music / "valid").iterdir()):
        (tmp_path / "eval" / song.name).mkdir(parents=True)
        shutil.copy(song / "original.wav", tmp_path / "eval" / song.name / "ori_wav.wav")
        shutil.copy(song / "codec.wav", tmp_path / "eval" / song.name / "codec_wav.wav")
    clean = [f"datas.original_dir={music / 'train' / 'original'}", f"datas.valid_dir={music / 'valid'}"]
    pairs = f"{{dir: ['{music / 'valid'}'], original_format: wav, codec_format: wav}}"
    return {
        "paper": [f"datas.train_dir={stems}", f"datas.eval_dir={tmp_path / 'eval'}", "datas.num_samples=1"],
        "seed": [*clean, "datas.valid_codec=codec.wav", "datas.num_steps=1"],
        "fork": [f"datas.train={pairs}", f"datas.valid={pairs}", "datas.num_steps=1"],
        "msst": [*clean, "datas.num_steps=1"],
        "rival": [*clean, "datas.num_steps=1"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "seed", "fork", "msst", "rival"])
def test_every_predecessors_configuration_trains(name: str, folders: dict[str, list[str]], tmp_path: Path) -> None:
    overrides = [*SMALL, *RUN, *folders[name], "datas.num_workers=0", "logger=null", f"exp.dir={tmp_path / 'exps'}"]
    best = train(CONFIGURATIONS / f"{name}.yaml", overrides, foreign=name in ("msst", "rival"))
    assert best is not None
    assert (best.parent / "checkpoints").is_dir()


def conversion(path: Path, caplog: pytest.LogCaptureFixture) -> tuple[dict[str, Any], str]:
    """What a configuration becomes, and all that is told."""
    caplog.clear()
    recipe = parse(path, foreign=True)
    check(path, recipe)
    return yaml.safe_load(recipe.yaml), "\n".join(record.message for record in caplog.records)


def test_what_msst_says_is_kept_under_our_names(caplog: pytest.LogCaptureFixture) -> None:
    config, told = conversion(CONFIGURATIONS / "msst.yaml", caplog)
    assert config["model"] == {"_target_": "apollo.nn.Apollo", "sr": 44100, "win": 20, "feature_dim": 256, "layer": 6}
    assert config["datas"]["segments"] == 3
    assert (config["datas"]["batch_size"], config["datas"]["num_steps"]) == (2, 1000)
    assert (config["trainer"]["max_epochs"], config["trainer"]["precision"]) == (1000, 16)
    assert config["system"]["clip"] == float("inf")
    plateau = {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "patience": 2, "factor": 0.95}
    assert config["scheduler_g"] == config["scheduler_d"] == plateau
    for key in ("instruments", "target_instrument", "q", "coarse_loss_clip", "optimizer=prodigy", "lr"):
        assert f"training.{key}" in told
    for key in ("audio.num_channels", "audio.min_mean_abs", "augmentations", "inference"):
        assert key in told
    assert "not known" not in told


@pytest.mark.parametrize(
    "block",
    [
        "optimizer: {_target_: prodigyopt.Prodigy, lr: 1, d_coef: 2}",
        "optimizer_g: {_target_: prodigyopt.Prodigy, lr: 1}",
        "optimizer: {name: prodigy, lr: 1}",
        "optimizer: {type: prodigy, lr: 1}",
        "training: {optimizer: prodigy, lr: 1}",
        "scheduler_g: {_target_: lion.Warmup, step_size: 7}",
    ],
)
def test_numbers_for_a_class_that_is_not_here_are_told_and_not_given_to_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, block: str
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"train_dir: a\neval_dir: b\n{block}\n")
    config, told = conversion(path, caplog)
    published = yaml.safe_load(PUBLISHED)
    for name in ("optimizer_g", "scheduler_g"):
        assert config[name] == published[name]
    assert "does not exist here" in told
    for key in re.findall(r"(\w+): [\w.]+[,}]", block):
        assert key in told


def test_what_a_file_does_not_state_is_as_published(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    published = OmegaConf.load(Path(__file__).parents[2] / "configs" / "apollo.yaml")
    both = OmegaConf.merge(published, OmegaConf.create(PUBLISHED))
    assert OmegaConf.to_container(both, resolve=False) == OmegaConf.to_container(published, resolve=False)
    path = tmp_path / "msst.yaml"
    for amp, precision in (("", "bf16"), ("use_amp: true", 16), ("use_amp: false", 32), ("use_amp: null", "bf16")):
        path.write_text(f"{{audio: {{chunk_size: 132300}}, training: {{batch_size: 1, {amp}}}}}")
        assert conversion(path, caplog)[0]["trainer"]["precision"] == precision


def test_what_a_rival_says_is_kept_under_our_names(caplog: pytest.LogCaptureFixture) -> None:
    config, told = conversion(CONFIGURATIONS / "rival.yaml", caplog)
    assert not told
    datas = config["datas"]
    assert (datas["original_dir"], datas["valid_dir"], datas["num_steps"]) == ("/music/train", "/music/valid", 10000)
    assert datas["codec"]["options"] == {
        "formats": {"mp3": 0.5, "aac": 0.2, "vorbis": 0.2, "wma": 0.1},
        "bitrate": [24000, 32000, 48000, 64000, 96000, 128000],
        "undamaged": 0.05,
    }
    weights = {"magnitude": 1, "adversarial": 0.5, "feature_matching": 2, "waveform": 10}
    assert config["loss_g"]["weights"] == weights
    assert config["loss_d"]["r1"] == {"weight": 1, "every": 16}
    assert config["ema"] == {"decay": 0.999}
    assert config["model"]["output"] == "residual"
    assert (config["system"]["adversarial_warmup"], config["system"]["adversarial_ramp"]) == (5000, 2000)
    assert config["optimizer_g"]["lr"] == 0.0005


def test_the_same_keys_mean_the_same_wherever_they_stand(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "flat.yaml"
    path.write_text(
        "{train_dir: a, eval_dir: b, num_samples: 100, batch_size: 8, codec_formats: mp3, bitrates: {mp3: [64, 96], "
        "aac: [96]}, freq_weight: 2, feature_dim: 128, lr: 0.002, max_epochs: 7, output_mode: mask, nonsens: 1, "
        "layers: 3, ema_warmup: 100, training: {r1_gamma: 3, inner: {disc_start_step: 5, wavform_weight: 1}}}"
    )
    config, told = conversion(path, caplog)
    assert (config["datas"]["num_steps"], config["datas"]["batch_size"]) == (12, 8)
    assert config["datas"]["codec"]["options"] == {"formats": {"mp3": 1}, "bitrate": [64000, 96000]}
    assert (config["model"]["feature_dim"], config["trainer"]["max_epochs"]) == (128, 7)
    assert (config["optimizer_g"]["lr"], config["loss_d"]["r1"]) == (0.002, 3)
    assert config["loss_g"]["weights"] == {"magnitude": 2}
    assert config["system"]["adversarial_warmup"] == 5
    for line in (
        "nonsens: not known",
        "layers: not known: did you mean 'layer'?",
        "training.inner.wavform_weight: not known: did you mean 'waveform_weight'?",
        "output_mode=mask: networks here",
        "ema_warmup: there is no average",
        "bitrates: bitrates by codec become one list",
    ):
        assert line in told


@pytest.mark.parametrize("name", ["paper", "seed", "fork"])
def test_what_needs_no_conversion_stays_as_it_is(name: str) -> None:
    path = CONFIGURATIONS / f"{name}.yaml"
    assert parse(path, foreign=True).yaml == parse(path).yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("audio: {chunk_size: long}", r"audio\.chunk_size must be a number above 0, not 'long'"),
        ("training: {batch_size: two}", r"datas\.batch_size must be a whole number, not 'two'"),
        ("bitrates: [fast]", r"bitrates must be a number above 0, not 'fast'"),
        ("codec_formats: 5", r"codec_formats must be a list of codecs, not 5"),
    ],
)
def test_a_value_that_is_none_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        parse(path, foreign=True)
    assert str(caught.value).startswith(f"{path}: ")


def test_whatever_a_key_holds_ends_in_one_sentence() -> None:
    usual = {name: taken(name, None) for name in (*TARGETS, *PLAIN)}
    values = (None, "x", -1, 0, float("inf"), True, [], [[1]], [1, "x"], {}, {"a": [1], "mp3": "x"}, {1: [[1]]})
    for name in (*RENAMED, *OTHERS, *IGNORED, "datas", "model", "loss_d", "system", "training"):
        for value in values:
            for held in ({name: value}, {"training": {name: value}, "chunk_size": 44100, "r1_gamma": 1}):
                with suppress(ConfigError):
                    converted(held, lambda block, path: usual.get(block))


def test_the_command_converts_prints_and_tells_once(command: Callable[..., tuple[int, str, str]]) -> None:
    path = CONFIGURATIONS / "msst.yaml"
    code, printed, told = command("--from-msst", path, "datas.num_steps=5", "--print-config")
    assert code == 0, told
    assert yaml.safe_load(printed)["datas"]["num_steps"] == 5
    assert told.startswith(f"Warning: {path} was converted; ignored are\n  ")
    assert told.count("training.q") == 1
    with pytest.raises(ConfigError, match="this is a configuration of MSST: give it with --from-msst"):
        parse(path)
    for given in ([], ["-c", path, "--from-msst", path]):
        code, _, told = command(*given)
        assert code == 2
        assert "give one of -c CONFIG and --from-msst FILE" in told
