"""The parts of a network that fills in what is lost are trained one after the other, and neither spoils the other."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import apollo
from apollo.cli import app
from apollo.errors import ConfigError
from apollo.nn import Apollo
from apollo.nn.level_loss import level_bias
from apollo.training.recipe import parse
from apollo.training.train import build_system, train

CONFIGS = Path(__file__).parent.parent.parent / "configs"
SMALL = [
    "model.fill={channels: 8, dilations: [1]}",
    "datas.segments=0.3",
    "datas.num_steps=2",
    "datas.batch_size=2",
    "datas.num_workers=0",
    "datas.valid_crops=2",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=false",
    "trainer.log_every_n_steps=1",
]


@pytest.fixture(scope="module")
def shards(stems: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few crops of 0.5 s, made by the default model's own recipe."""
    folder = tmp_path_factory.mktemp("shards")
    words = [f"datas.train_dir={stems}", f"datas.valid_dir={stems}", "datas.segments=0.5", "datas.valid_crops=4"]
    config = str(CONFIGS / "default-model-data.yaml")
    command = ["data", "prepare", "-c", config, str(folder), *words, "--crops", "6", "--workers", "1"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    return folder


@pytest.mark.slow
def test_the_default_models_stages_train_a_part_each_and_keep_the_other(
    shards: Path, logged: Callable[[Path, str], list[float]], tmp_path: Path
) -> None:
    words = [
        *SMALL,
        f"exp.dir={tmp_path}",
        f"datas.train_dir={shards / 'train'}",
        f"datas.valid_dir={shards / 'valid'}",
    ]
    first = train(CONFIGS / "default-model.yaml", words)
    blocks = ["model.feature_dim=16", "model.layer=1", "model.heads=2"]
    second = train(CONFIGS / "default-model-repair.yaml", [*words, *blocks], init=first)
    assert first is not None
    assert second is not None
    start = build_system(parse(CONFIGS / "default-model.yaml", words)).generator.state_dict()
    levels, repair = (apollo.load_model(path).state_dict() for path in (first, second))
    for name in levels:  # an average of equal weights rounds
        torch.testing.assert_close(levels[name], repair[name], rtol=1e-6, atol=1e-8)
    assert repair["band_merge.equal.weight"].any()  # which starts at zero
    assert not all(torch.equal(levels[name], start[name]) for name in levels)
    (metrics,) = (tmp_path / "default-model").glob("logs/*/metrics.csv")
    columns = metrics.read_text().splitlines()[0].split(",")
    assert {"train/similarity", "train/level", "train/harm", "train/worse", "valid/loss", "val_loss"} <= set(columns)
    assert any(column.startswith("valid/level_bias_") for column in columns)
    assert logged(tmp_path / "default-model-repair", "val_loss")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("default-model", "system.train=all", "go together"),
        ("default-model-repair", "system.train=levels", "go together"),
        ("default-model-repair", "model.fill=null", r"give model\.fill"),
        ("default-model", "loss_g.weights={similarty: 1}", "unknown loss"),
        ("default-model-repair", "model.layer=0", "model.layer of at least 1"),
        ("default-model", "system.train=level", "system.train must be one of"),
    ],
)
def test_a_stage_that_does_not_fit_is_refused(name: str, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_system(parse(CONFIGS / f"{name}.yaml", [*SMALL, change]))


def test_level_bias_is_by_how_much_lost_bands_are_too_loud() -> None:
    network = Apollo(win=40, feature_dim=16, layer=1, heads=2, output="residual")
    original = 0.1 * torch.randn(1, 1, 44100, generator=torch.Generator().manual_seed(0))
    spectrum = torch.fft.rfft(original)
    spectrum[..., 9000:] *= 1e-3
    degraded = torch.fft.irfft(spectrum, 44100)
    for gain, bias in ((1.0, 0.0), (2.0, 6.02), (0.5, -6.02)):
        estimate = degraded + gain * (original - degraded)
        assert float(level_bias(network, original, degraded, estimate)) == pytest.approx(bias, abs=0.1)
    assert float(level_bias(network, original, degraded, degraded)) == pytest.approx(-40, abs=1)  # one is half there
    assert level_bias(network, original, original, original).isnan()
