"""What a run cannot use or write is one sentence, told before any music is read where it can be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from apollo.errors import ApolloError, ConfigError, DataError, TrainingError
from apollo.training.recipe import parse
from apollo.training.system import ApolloSystem
from apollo.training.train import check, telling, train

TENSORBOARD = "logger={{_target_: lightning.pytorch.loggers.TensorBoardLogger, save_dir: logs, {}}}"
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.feature_dims=16", "model.feature_dims is not known: did you mean 'feature_dim'"),
        ("model.feature_dim=17", "feature_dim must be a positive multiple"),
        ("optimizer_g._target_=os.system", "os.system, which is not allowed"),
        ("model._target_=apollo.nn.Apolo", "not allowed there: did you mean 'apollo.nn.Apollo'"),
        ("loss_g=null", "lacks the block 'loss_g'"),
        ("model.heads=0", "heads must be at least 1"),
        ("model.layer=1000000", "layer must be at most 100, not 1000000"),
        ("model.dilations=[1,1000000000]", "dilations must be at most 255"),
        ("model.sr=1000000000", "sr must be at most 768000"),
        ("model.expansion=1000000", "expansion must be at most 64"),
        ("discriminator.window=[64,1000000000]", "window must be 1 to 32 numbers from 2 to 65536"),
        ("discriminator.nch=1000000", "nch must be 1 to 64"),
        ("datas.batch_size=two", "datas.batch_size must be a whole number, not 'two'"),
        ("datas.batch_size=0", "datas.batch_size must be a whole number from 1"),
        ("model.win=wide", "model.win must be a number, not 'wide'"),
        ("trainer.max_epochs=many", "trainer.max_epochs must be a whole number or null, not 'many'"),
        ("optimizer_g.betas=0.9", "optimizer_g.betas must be a list"),
        ("datas.codec.options.bitrates=64000", "datas.codec.options.bitrates is not known: did you mean 'bitrate'"),
        ("[]=3", "the override '[]=3' is not key=value"),
        ("exp..name=x", "is not key=value"),
        ("datas.batch_size = 4", "is not key=value"),
        ("checkpoint.filename={epoch}-{step}", """as in "checkpoint.filename='{epoch}-{step}'\""""),
        ("datas.codec.options.bitrate=fast", "bitrate must be 'random' or a whole number"),
        ("datas.original_dir=nowhere", "no folder nowhere"),
        ("trainr.max_epochs=3", "trainr is not known: did you mean 'trainer'"),
        ("trainer.gradient_clip_val=5", "gradient"),
        ("ema.decays=0.9", "ema.decays is not known: did you mean 'decay'"),
        ("ema={decay: much}", "ema.decay must be a number, not 'much'"),
        ("ema=0.999", "ema must be a block of keys and values, not 0.999"),
        (
            "ema=${nowhere}",
            "ema refers to ${nowhere}, and the configuration has no nowhere: give that, or ema, a value",
        ),
        ("exp=foo", "exp must be a block of keys and values, not 'foo'"),
        ("trainer=gpu", "trainer must be a block of keys and values, not 'gpu'"),
        ("logger=tensorboard", "logger must be a block of keys and values, not 'tensorboard'"),
        ("logger=[tensorboard]", "logger must be a block of keys and values, not 'tensorboard'"),
        (
            "logger={_target_: lightning.pytorch.loggers.WandLogger}",
            "did you mean 'lightning.pytorch.loggers.WandbLogger'",
        ),
        ("exp.dri=x", "exp.dri is not known: did you mean 'dir'"),
        ("optimizer_g._target_=apollo.training.blocks.import_module", "not allowed there"),
        ("optimizer_g._target_=torch.optim.LBFGS", "not allowed there"),
        ("model._target_=apollo.nn.MultiFrequencyDiscriminator", "not allowed there"),
        ("datas._target_=apollo.data.offline.PairsReport", "not allowed there"),
        ("checkpoint._target_=lightning.pytorch.callbacks.LambdaCallback", "not allowed there"),
        ("exp.dir=???", "exp.dir has no value: add exp.dir=VALUE"),
        ("nonsense", "not key=value"),
        ("exp.name=${HOME}", "exp.name refers to ${HOME}, and the configuration has no HOME"),
        ("exp.name=${HOME", "'${' begins a reference to another key"),
        ("exp=null", "checkpoint.dirpath refers to ${exp.dir}, and the configuration has no exp.dir"),
    ],
)
def test_a_wrong_key_is_one_sentence(seed_config: tuple[Path, list[str]], override: str, message: str) -> None:
    path, overrides = seed_config
    with pytest.raises(ApolloError) as caught:
        train(path, [*overrides, override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "full_key" not in str(caught.value)
    assert isinstance(caught.value, DataError) or str(caught.value).startswith(f"{path}: ")
    assert not (path.parent / "exps" / "apollo" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("datas.codec.bitrate=64000", "datas.codec.bitrate is not known: known are enable, options"),
        ("datas.codec.options.bitrates=64000", "datas.codec.options.bitrates is not known: did you mean 'bitrate'"),
        ("datas.codec.options.bitrate=fast", "datas.codec.options: bitrate must be 'random' or a whole number"),
        ("datas.stems.orignal=x", "datas.stems.orignal is not known: did you mean 'original'"),
        ("datas.train={dirs: x}", "datas.train.dirs is not known: did you mean 'dir'"),
        ("datas.valid={codec_formt: x}", "datas.valid.codec_formt is not known: did you mean 'codec_format'"),
    ],
)
def test_a_wrong_key_of_the_data_is_told_before_they_are_read(
    seed_config: tuple[Path, list[str]], override: str, message: str
) -> None:
    path, overrides = seed_config
    with pytest.raises(ConfigError) as caught:
        train(path, [*overrides, "datas.valid_dir=nowhere", override])
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("datas.mixing.max_stem=2", "datas.mixing.max_stem is not known: did you mean 'max_stems'"),
        ("datas.mixing.max_stems=two", "datas.mixing.max_stems must be a whole number from 1, not 'two'"),
        ("datas.mixing.dull_probability=2", "datas.mixing.dull_probability must be a number from 0 to 1, not 2"),
        ("datas.mixing.speed=fast", "datas.mixing.speed must be a number from 1 to 4, not 'fast'"),
        ("datas.mono=5", "datas.mono must be a number from 0 to 1, not 5"),
        ("datas.peak=[]", "datas.peak must be the lowest and the highest peak in dBFS, not []"),
        ("datas.mixing.gain=3", "datas.mixing.gain must be the lowest and the highest gain in dB, not 3"),
        ("datas.codec.bitrates=64000", "datas.codec.bitrates is not known: did you mean 'bitrate'"),
    ],
)
def test_a_wrong_key_of_stems_is_told_before_they_are_read(tmp_path: Path, override: str, message: str) -> None:
    path = CONFIGS / "stems.yaml"
    overrides = ["model.layer=1", "trainer.accelerator=cpu", f"exp.dir={tmp_path}", "datas.train_dir=nowhere"]
    with pytest.raises(ConfigError) as caught:
        train(path, [*overrides, override])
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_configuration_that_cannot_be_printed_is_named(
    seed_config: tuple[Path, list[str]], command: Callable[..., tuple[int, str, str]]
) -> None:
    path, overrides = seed_config
    code, printed, told = command("-c", path, *overrides, "exp.dri=x", "--print-config")
    assert (code, printed, told.count("\n")) == (1, "", 1)
    assert told.startswith(f"Error: {path}: ")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("datas.codec.options.bitrate=fast", "bitrate must be 'random' or a whole number"),
        ("datas.codec.options.formats=[mp9]", "formats must be a list of mp3"),
        ("datas.train={dirs: x}", "datas.train.dirs is not known: did you mean 'dir'"),
        ("datas.segments=0", "datas.segments must be a number of seconds"),
        ("model.heads=0", "heads must be at least 1"),
        ("loss_g.weights={magnitud: 1}", "unknown loss 'magnitud': did you mean 'magnitude'"),
        ("optimizer_g.lr=-1", "optimizer_g cannot be built: Invalid learning rate"),
        ("trainer.precision=transformer-engine", "trainer.precision must be 32, 16, bf16 or 64"),
        ("trainer.gradient_clip_val=5", "system.clip is the largest norm of a gradient"),
        ("trainer.strategy=dpp", "trainer.strategy cannot be 'dpp': did you mean 'ddp'"),
        ("trainer.strategy=fsdp", "trainer.strategy cannot be 'fsdp'"),
        ("trainer.strategy=ddp_find_unused_parameters_false", "let one network wait while the other learns: ddp does"),
        ("trainer.accelerator=gpuu", "trainer.accelerator cannot be 'gpuu': did you mean 'gpu'"),
        ("trainer.devices=0", "trainer.devices must be auto, a number from 1, or a list of GPUs, not 0"),
        ("trainer.devices=-2", "trainer.devices must be"),
        ("trainer.devices=[]", "trainer.devices must be"),
        ("trainer.devices=[0,0]", "trainer.devices must be"),
        ("trainer.devices=all", "trainer.devices must be .* not 'all'"),
        ("trainer.num_nodes=0", "trainer.num_nodes must be a whole number from 1, not 0"),
        ("trainer.barebones=true", "trainer.barebones is for measuring speed"),
        ("trainer.callbacks=[]", "trainer.callbacks is not for a file: checkpoint, early_stopping and ema are blocks"),
        ("trainer.plugins=[]", "trainer.plugins is not for a file"),
        ("trainer.logger=tensorboard", "the block logger names loggers"),
        ("trainer.profiler=fast", "trainer cannot be built: .*profiler"),
        ("trainer.limit_train_batches=-1", "limit_train_batches"),
        ("trainer.val_check_interval=5", "trainer.val_check_interval=5 is more than the datas.num_steps=2 batches"),
        ("early_stopping.monitor=val_los", "early_stopping.monitor cannot be 'val_los': did you mean 'val_loss'"),
        ("checkpoint.monitor=val_visqol", "checkpoint.monitor cannot be 'val_visqol'"),
        ("early_stopping.monitor=valid/magnitud", "cannot be 'valid/magnitud': did you mean 'valid/magnitude'"),
        ("checkpoint.monitor=train/complex", "checkpoint.monitor cannot be 'train/complex': known are"),
        ("checkpoint.filename='{valid/level_bias_k}'", "cannot hold 'valid/level_bias_k'"),
        ("trainer.limit_val_batches=0", "early_stopping.monitor=val_loss needs validation"),
        ("early_stopping.patience=-1", "early_stopping.patience must be a whole number from 0, not -1"),
        (
            "logger={_target_: lightning.pytorch.loggers.CSVLogger, save_dir: logs, flush_logs_every_n_steps: 0}",
            "flush",
        ),
        (TENSORBOARD.format("max_que: 3"), "logger.max_que is not known: did you mean 'max_queue'"),
        (TENSORBOARD.format("flush_secs: often"), "logger.flush_secs must be a number, not 'often'"),
        ("trainer.log_every_n_steps=-1", "trainer.log_every_n_steps must be a whole number from 0, not -1"),
        ("system.clip=0", "clip must be above 0, not 0"),
        ("loss_d.r1=-1", "r1 must be a number from 0, not -1"),
        ("metrics.eps=-1", "eps must be a number from 0, not -1"),
        ("ema={decay: 2}", "decay must lie between 0 and 1"),
        ("ema={warmup: true}", "ema.decay is missing"),
        ("seed=-1", "seed must be a whole number from 0 to 4294967295, not -1"),
        ("licence=[MIT]", "licence must be text, not"),
        ("exp.name=[a]", "exp.name must be text or a number, not"),
        ("exp.dir=null", "exp.dir must be text, not None"),
        ("datas.sr=48000", "model.sr is 44100 and datas.sr is 48000: give both the same sample rate"),
        ("datas.num_workers=1000000", "datas.num_workers must be a whole number from 0 to 1024"),
        ("datas.batch_size=1000000000", "datas.batch_size must be a whole number from 1 to 65536"),
        ("datas.codec.enable=maybe", "datas.codec.enable must be true or false, not 'maybe'"),
        ("datas.codec.options=random", "datas.codec.options must be a block of keys and values or null, not 'random'"),
        ("datas.train={dir: [music, 3]}", "datas.train.dir must be text or a list, not"),
        ("model.fill={}", "fill must hold channels and dilations"),
        ("loss_g.weights={magnitude: much}", "loss_g.weights.magnitude must be a number, not 'much'"),
        ("loss_g.weights={magnitude: .nan}", "loss_g.weights.magnitude must be a number, not nan"),
        ("loss_g.weights={magnitude: -1}", "weights.magnitude must be a number from 0, not -1"),
        ("loss_g.windows=[]", "windows must be 1 to 32 numbers from 2 to 65536"),
        ("loss_g.windows=[1000000000]", "windows must be 1 to 32 numbers from 2 to 65536"),
        ("loss_g.windows=[64,20000]", "loss_g.windows has 20000 samples, twice a crop of datas.segments=0.2 s or more"),
        ("discriminator.window=[20000]", "discriminator.window has 20000 samples"),
        ("optimizer_g.params=[]", "optimizer_g.params is not known"),
        ("optimizer_g.betas=[0.9,0.9,0.9]", "optimizer_g cannot take a step"),
        ("optimizer_g.lr=.inf", "has a learning rate of inf"),
        ("scheduler_g.optimizer=3", "scheduler_g.optimizer is not known"),
        ("scheduler_g.step_size=0", "scheduler_g cannot take a step"),
        ("scheduler_g={step_size: 1, gamma: -1}", "has a learning rate of -0.001"),
        ("trainer.val_check_interval=0", "trainer.val_check_interval must be above 0"),
        ("trainer.check_val_every_n_epoch=-1", "trainer.check_val_every_n_epoch must be above 0"),
        ("checkpoint.filename='{epoch'", "checkpoint.filename cannot be"),
        ("checkpoint.filename='{val_loss:.4q}'", "checkpoint.filename cannot be"),
        ("checkpoint.filename='{val_los:.4f}'", "cannot hold 'val_los': did you mean 'val_loss'"),
    ],
)
def test_what_a_run_would_refuse_is_refused_where_it_is_printed(
    seed_config: tuple[Path, list[str]], override: str, message: str
) -> None:
    path, overrides = seed_config
    overrides = [*overrides, "datas.original_dir=nowhere", "datas.valid_dir=nowhere", "trainer.accelerator=cuda"]
    check(path, parse(path, overrides))
    with pytest.raises(ConfigError, match=message):
        check(path, parse(path, [*overrides, override]))


def test_all_unknown_keys_are_told_at_once(seed_config: tuple[Path, list[str]]) -> None:
    path, overrides = seed_config
    wrong = ["model.layers=2", "trainr.max_epochs=3", "datas.inference=1", "inference.batch_size=1", "loss_d.gamma=1"]
    with pytest.raises(ConfigError) as caught:
        parse(path, [*overrides, *wrong])
    message = str(caught.value)
    for told in (
        "model.layers is not known: did you mean 'layer'?",
        "trainr is not known: did you mean 'trainer'?",
        "datas.inference is not known",
        "inference is not known: known are",
        "loss_d.gamma is not known: known are eps, r1",
        "--from-msst",
    ):
        assert told in message
    assert "licence'" not in message


def test_all_faults_are_told_at_once(seed_config: tuple[Path, list[str]]) -> None:
    path, overrides = seed_config
    wrong = ["model.win=wide", "trainer.devices=1.5", "optimizer_g._target_=os.system", "exp.nme=x"]
    with pytest.raises(ConfigError) as caught:
        parse(path, [*overrides, *wrong])
    for told in (
        "model.win must be",
        "trainer.devices must be",
        "os.system, which is not allowed",
        "exp.nme is not known",
    ):
        assert told in str(caught.value)
    wrong = ["datas.segments=0", "model.heads=0", "loss_g.weights={magnitud: 1}", "metrics=null"]
    with pytest.raises(ConfigError) as caught:
        check(path, parse(path, [*overrides, *wrong]))
    for told in ("datas.segments must be", "heads must be", "unknown loss 'magnitud'", "lacks the block 'metrics'"):
        assert told in str(caught.value)
    wrong = ["trainer.strategy=dpp", "trainer.devices=0", "trainer.accelerator=gpuu", "early_stopping.monitor=loss"]
    with pytest.raises(ConfigError) as caught:
        check(path, parse(path, [*overrides, *wrong, "optimizer_g.lr=-1"]))
    for told in ("strategy cannot be", "devices must be", "accelerator cannot be", "monitor cannot be", "optimizer_g"):
        assert told in str(caught.value)


def full(path: Path) -> None:
    """A file of this name that cannot be written: the disk behind it is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/dev/full")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full, as Linux has it")
def test_a_file_that_cannot_be_written_is_named(
    seed_config: tuple[Path, list[str]], tmp_path: Path, run_fork: Callable[..., Any]
) -> None:
    path, overrides = seed_config
    overrides += ["trainer.max_epochs=1", "datas.num_steps=1"]
    run = tmp_path / "exps" / "apollo"
    full(run / "logs" / "version_0" / "metrics.csv")
    logger = f"logger={{_target_: lightning.pytorch.loggers.CSVLogger, save_dir: '{run}', name: logs, version: 0}}"
    # A process of its own, with a worker: it must come to its end whatever has failed on the way out.
    result = run_fork("-m", "apollo", "train", "-c", path, *overrides, logger, "datas.num_workers=1")
    assert result.returncode == 1
    assert "metrics.csv cannot be written (No space left on device): check its perm" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    for number, name in enumerate(("config.yaml", "clips/0/spectrograms.png", "best_k_models.json")):
        (tmp_path / "exps" / str(number) / name).mkdir(parents=True)  # a folder, where the file should go
        with pytest.raises(TrainingError, match=rf"{name} cannot be written \(Is a directory\)"):
            train(path, [*overrides, f"exp.name={number}"])


def test_a_folder_that_cannot_be_made_is_one_sentence(seed_config: tuple[Path, list[str]], tmp_path: Path) -> None:
    path, overrides = seed_config
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match=r"file/apollo cannot be written \(Not a directory\)") as caught:
        train(path, [*overrides, f"exp.dir={tmp_path / 'file'}"])
    assert "\n" not in str(caught.value)


def test_what_is_restored_to_no_numbers_ends_the_run_by_naming_the_item(
    seed_config: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, overrides = seed_config
    restore = ApolloSystem.restore_whole
    items: list[torch.Tensor] = []

    def broken(self: ApolloSystem, degraded: torch.Tensor) -> torch.Tensor:
        items.append(restore(self, degraded))
        return items[-1] * (float("nan") if len(items) == 4 else 1.0)  # two items are looked at before training

    monkeypatch.setattr(ApolloSystem, "restore_whole", broken)
    with pytest.raises(TrainingError, match=r"validation item 1, .* not finite, in epoch 0: resume from the last"):
        train(path, overrides)


def test_a_process_that_has_lost_the_others_says_so(
    seed_config: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, overrides = seed_config

    def lose(*arguments: object, **options: object) -> None:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:23205: Connection reset by peer")

    monkeypatch.setattr(ApolloSystem, "training_step", lose)
    with pytest.raises(TrainingError, match="another process of this run has ended"):
        train(path, overrides)


@pytest.mark.parametrize(("name", "told"), [(b"a/events", "a/events cannot be"), (None, "a file in runs/b cannot be")])
def test_a_file_that_a_library_cannot_write_is_named(name: bytes | None, told: str) -> None:
    with (
        pytest.raises(TrainingError, match=rf"^{told} read or written \(No space left\)"),
        telling(Path(), Mock(run="runs/b")),
    ):
        raise OSError(28, "No space left", name)


def test_a_missing_checkpoint_is_told_before_anything_is_written(
    seed_config: tuple[Path, list[str]], tmp_path: Path
) -> None:
    path, overrides = seed_config
    with pytest.raises(ConfigError, match="no checkpoint"):
        train(path, overrides, resume=tmp_path / "none.ckpt")
    assert not (tmp_path / "exps").exists()


def test_cuda_where_there_is_none_names_the_way_out(seed_config: tuple[Path, list[str]]) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    path, overrides = seed_config
    with pytest.raises(ConfigError, match=r"trainer\.accelerator=auto"):
        train(path, [*overrides, "trainer.accelerator=cuda"])


def test_a_missing_or_broken_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration"):
        parse(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse(broken)
    broken.write_text("- 1")
    with pytest.raises(ConfigError, match="keys and values"):
        parse(broken)
