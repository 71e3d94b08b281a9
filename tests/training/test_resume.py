"""A run that was killed, stopped or had no room ends as one that was not."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

import apollo
from apollo.errors import ConfigError, StoppedError
from apollo.training.recipe import parse
from apollo.training.saving import StopOnSignal, signals_given_back
from apollo.training.starting import going_on
from apollo.training.train import build_system, train


@pytest.fixture(scope="module")
def config(make_config: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_config(
        tmp_path_factory.mktemp("resume"),
        "seed=3",
        "datas={segments: 0.1, num_steps: 5, batch_size: 2, mixing: {saturation_probability: 0}}",
        "scheduler_g.gamma=0.9",
        "scheduler_d.gamma=0.9",
        "ema.decay=0.9",
        "checkpoint.save_top_k=2",
        "trainer.max_epochs=3",
    )


@pytest.fixture(scope="module")
def uninterrupted(config: Path) -> dict[str, torch.Tensor]:
    train(config, ["exp.name=uninterrupted"])
    return weights(config.parent / "uninterrupted")


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Everything that a run has learnt, averages and state of the optimisers included."""
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["epoch"] == 2
    learnt = dict(state["state_dict"])
    for number, optimizer in enumerate(state["optimizer_states"]):
        for parameter, values in optimizer["state"].items():
            learnt |= {f"optimizer {number}.{parameter}.{key}": value for key, value in values.items()}
    learnt |= {f"current.{name}": value for name, value in state["current_model_state"].items()}
    return learnt


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.fixture(scope="module")
def start(config: Path, start_fork: Callable[..., Any]) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts a run in a process of its own, in a group of its own, after what `prepare` does there."""
    pixel = config.with_name("pixel.png")
    Image.new("RGB", (1, 1)).save(pixel)
    # As for the runs in this process: see `small_pictures`.
    small = f"""
import shutil
import apollo.training.callbacks
apollo.training.callbacks.spectrogram_triptych = lambda *arguments: shutil.copy({str(pixel)!r}, arguments[-1])
"""

    def start(name: str, *more: str, prepare: str = "", **options: Any) -> "subprocess.Popen[str]":
        program = f"{small}\n{prepare}\nfrom apollo.cli import main\nmain()"
        words = ("-c", program, "train", "-c", config, f"exp.name={name}", "datas.num_workers=1", *more)
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process: subprocess.Popen[str] = start_fork(*words, **{**streams, **options}, start_new_session=True)
        return process

    return start


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 600
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to processes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step_at_work_and_the_run_goes_on_as_if_nothing_had_been(
    config: Path,
    uninterrupted: dict[str, torch.Tensor],
    number: int,
    start: Callable[..., "subprocess.Popen[str]"],
) -> None:
    if number == signal.SIGTERM and sys.platform != "linux":
        pytest.skip("workers cannot tell who has sent a SIGTERM")
    run = config.parent / f"signal-{number}"
    prepare = f"""
import os
from apollo.training.callbacks import Clips

write = Clips.on_validation_batch_end

def signalled(self, trainer, *arguments):
    write(self, trainer, *arguments)
    if not trainer.sanity_checking:
        os.killpg(0, {int(number)})  # its worker too, as a terminal and a cluster do

Clips.on_validation_batch_end = signalled
"""
    process = start(run.name, prepare=prepare)
    _, errors = process.communicate()  # until no worker holds the output any longer
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert "resume with -m" in errors.replace("\n", " ")
    last = run / "checkpoints" / "last.ckpt"
    assert last.exists()
    train(config, [f"exp.name={run.name}"], resume=last)
    assert_same(weights(run), uninterrupted)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL to a process")
def test_a_killed_run_leaves_no_worker_and_goes_on_from_its_last_checkpoint(
    config: Path,
    uninterrupted: dict[str, torch.Tensor],
    start: Callable[..., "subprocess.Popen[str]"],
) -> None:
    run = config.parent / "killed"

    prepare = """
import os, signal
from apollo.training.recipe import parse
from apollo.training.saving import StopOnSignal
from apollo.training.starting import going_on

def killed(self, trainer, *arguments):
    if trainer.fit_loop.total_batch_idx == 6:  # in the midst of the second epoch, which is 5 to 9
        os.kill(os.getpid(), signal.SIGKILL)

StopOnSignal.on_train_batch_end = killed
"""
    process = start(run.name, prepare=prepare)
    process.communicate()  # it comes to an end when no worker holds the output any longer
    assert process.returncode == -signal.SIGKILL
    last = run / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 0
    train(config, [f"exp.name={run.name}"], resume=last)
    assert_same(weights(run), uninterrupted)
    assert not list(run.rglob(".*.part"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which processes a run has")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_worker_ends_the_run_in_one_sentence(
    config: Path, number: signal.Signals, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    run = config.parent / f"worker-{number}"
    process = start(run.name, "trainer.max_epochs=100000", stdout=subprocess.DEVNULL)
    wait_for(run / "checkpoints" / "last.ckpt")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    assert children
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(int(child), number)
    _, said = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in said
    # PyTorch's own handler of a SIGSEGV ends its lines with a NUL.
    errors = [line.lstrip("\0") for line in said.splitlines() if "Error: " in line]
    assert len(errors) == 1
    assert errors[0].startswith("Error: a process that loads data was killed")
    assert f"checkpoint in {run}" in errors[0]
    assert not list(run.rglob(".*.part"))


def stopped(config: Path, batch: int, monkeypatch: pytest.MonkeyPatch, *more: str) -> Path:
    """The folder of a run to which a signal came at a batch, counted from 1."""
    seen = StopOnSignal.on_train_batch_end

    def stop(self: StopOnSignal, trainer: Trainer, *arguments: Any) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == batch:
            self.received = signal.SIGTERM
        seen(self, trainer, *arguments)

    run = config.parent / "-".join(("stopped", str(batch), *more))
    with monkeypatch.context() as patch:
        patch.setattr(StopOnSignal, "on_train_batch_end", stop)
        with pytest.raises(StoppedError, match=f"stopped after {batch} batches"):
            train(config, [f"exp.name={run.name}", *more])
    return run


@pytest.mark.slow
@pytest.mark.parametrize("batch", [3, 5])  # in the midst of an epoch and at its end
def test_a_run_stopped_after_any_batch_goes_on_to_the_bit(
    config: Path, uninterrupted: dict[str, torch.Tensor], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped(config, batch, monkeypatch)
    train(config, [f"exp.name={run.name}"], resume=run / "checkpoints" / "last.ckpt")
    assert_same(weights(run), uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "more", "batches"),
    [
        (1, "datas.num_steps=1", [2]),  # every batch is the last of its epoch
        (5, "trainer.accumulate_grad_batches=7", [5]),  # gradients wait for their step until the end of an epoch
        (3, "trainer.limit_train_batches=3", [5, 6]),
    ],
)
def test_epochs_of_any_length_are_whole_and_stop_and_go_on_to_the_bit(
    config: Path, length: int, more: str, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = config.parent / f"whole-{more}"
    train(config, [f"exp.name={whole.name}", more])
    (metrics,) = whole.glob("logs/*/metrics.csv")
    rows = list(csv.DictReader(metrics.open()))
    assert [int(row["step"]) + 1 for row in rows if row["val_loss"]] == [length, 2 * length, 3 * length]
    for batch in batches:
        run = stopped(config, batch, monkeypatch, more)
        train(config, [f"exp.name={run.name}", more], resume=run / "checkpoints" / "last.ckpt")
        assert_same(weights(run), weights(whole))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files by a Unix call")
def test_a_full_disk_leaves_the_checkpoint_before_whole_and_says_so(config: Path, run_fork: Callable[..., Any]) -> None:
    run = config.parent / "full"
    train(config, ["exp.name=full", "trainer.max_epochs=1"])
    last = run / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    # No file may grow beyond 20 kB from now on: the checkpoint of the next epoch cannot be written.
    program = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
sys.argv = ["apollo", "train", "-c", {str(config)!r}, "-m", {str(last)!r}, "exp.name=full", "datas.num_workers=0"]
import apollo.training.callbacks
apollo.training.callbacks.Clips.on_validation_batch_end = lambda *arguments: None
from apollo.cli import main
main()
"""
    result = run_fork("-c", program)
    assert result.returncode == 1, result.stderr
    error = result.stderr[result.stderr.rindex("Error:") :]
    assert "cannot be written" in error
    assert "those written before are complete" in error
    assert "Traceback" not in result.stderr
    assert last.read_bytes() == before
    assert not list(run.rglob(".*.part"))


def test_a_second_ctrl_c_is_answered_as_before_the_run() -> None:
    answered: list[int] = []
    with signals_given_back():
        signal.signal(signal.SIGINT, lambda number, frame: answered.append(number))
        stop = StopOnSignal(Path("last.ckpt"))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as Lightning does what it likes with it
        stop.on_train_start(Mock(), Mock())
        signal.raise_signal(signal.SIGINT)
        assert (stop.received, answered) == (signal.SIGINT, [])
        signal.raise_signal(signal.SIGINT)
    assert answered == [signal.SIGINT]


@pytest.mark.slow
def test_the_last_checkpoint_is_the_last_even_if_others_were_better(config: Path) -> None:
    # What the unprocessed input scores never improves: the first epoch stays the best.
    train(config, ["exp.name=worse", "checkpoint.monitor=val_unprocessed", "checkpoint.save_top_k=1", "ema=null"])
    folder = config.parent / "worse" / "checkpoints"
    states = {path.name: torch.load(path, weights_only=True)["epoch"] for path in folder.glob("*.ckpt")}
    assert states.pop("last.ckpt") == 2
    assert list(states.values()) == [0]


@pytest.mark.slow
@pytest.mark.parametrize("none", ["checkpoint.save_top_k=0", "checkpoint.every_n_epochs=4"])
def test_a_run_that_keeps_none_of_the_best_ends_in_its_newest_state(
    config: Path, none: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [
        f"exp.dir={tmp_path}",
        "exp.name=newest",
        none,
        "checkpoint.save_last=false",
        "ema=null",
        "datas.num_workers=0",
    ]
    last = tmp_path / "newest" / "checkpoints" / "last.ckpt"
    for epochs, resume in ((1, None), (2, last)):
        best = train(config, [*words, f"trainer.max_epochs={epochs}"], resume=resume)
        assert "best_model.safetensors is of the newest state" in caplog.text
        assert best is not None
        newest = torch.load(last, weights_only=True)["state_dict"]
        for name, value in apollo.load_model(best).state_dict().items():
            assert torch.equal(value, newest[f"generator.{name}"]), name
    assert torch.load(last, weights_only=True)["global_step"] == 2 * 2 * 5  # networks, epochs, batches
    caplog.clear()
    assert train(config, [f"exp.dir={tmp_path}", "exp.name=dry", "trainer.fast_dev_run=true"]) is None
    assert "no model was written" in caplog.text


@pytest.mark.slow
def test_a_finished_run_tells_its_best_and_starts_another(config: Path, uninterrupted: dict[str, torch.Tensor]) -> None:
    run = config.parent / "uninterrupted"
    scores = json.loads((run / "best_k_models.json").read_text())
    assert len(scores) == 2
    assert all(Path(path).exists() for path in scores)
    best = apollo.load_model(run / "best_model.safetensors")
    kept = apollo.load_model(min(scores, key=lambda path: scores[path]))
    for name, value in best.state_dict().items():
        assert torch.equal(value, kept.state_dict()[name])
    assert (run / "config.yaml").read_text().count("${") == 0
    # Nothing is learnt at a rate of 0: what comes out is what went in, discriminator and all.
    still = ["exp.name=tuned", "ema=null", "trainer.max_epochs=1"]
    still += ["optimizer_g.lr=0", "optimizer_d.lr=0", "scheduler_g.gamma=1"]
    start = run / "checkpoints" / "last.ckpt"
    train(config, still, init=start)
    tuned = torch.load(config.parent / "tuned" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in torch.load(start, weights_only=True)["state_dict"].items():
        if not name.endswith(("weight_u", "weight_v")):
            assert torch.equal(value, tuned[name]), name
    with pytest.raises(ConfigError, match="feature_dim is 16 there and 32 here"):
        train(config, ["model.feature_dim=32"], init=run / "best_model.safetensors")


def test_a_signal_while_a_run_resumes_does_not_blame_its_checkpoint() -> None:
    def stop() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise RuntimeError("Please call `iter(combined_loader)` first.")  # noqa: B904 (as Lightning does)

    with pytest.raises(RuntimeError, match="combined_loader"), going_on(Path("last.ckpt"), Mock(begun=False)):
        stop()


def test_a_process_that_cannot_reach_another_does_not_blame_its_checkpoint(config: Path) -> None:
    system = build_system(parse(config, []))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(torch.distributed.DistNetworkError), going_on(Path("last.ckpt"), system):
        torch.distributed.TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=1))
