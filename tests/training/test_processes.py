"""Several processes train as one with so many times the batch."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from apollo.training.train import train


def torchrun(port: int, rank: int) -> str:
    """A program that has the agent of torchrun start `apollo` for one of two nodes, as a fork: it has imported all."""
    return f"""
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from apollo.cli import main

def run():
    try:
        main()
    except SystemExit as left:
        assert not left.code  # the agent waits for a result

config = LaunchConfig(
    min_nodes=2, max_nodes=2, nproc_per_node=1, start_method="fork", rdzv_backend="static", run_id="none",
    rdzv_endpoint="127.0.0.1:{port}", rdzv_configs={{"rank": {rank}}},
)
elastic_launch(config, run)()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="two processes on one CPU need gloo, which Windows' CI lacks")
def test_two_processes_or_nodes_learn_what_one_process_does_with_twice_the_batch(
    make_config: Callable[..., Path],
    logged: Callable[[Path, str], list[float]],
    tmp_path: Path,
    start_fork: Callable[..., Any],
) -> None:
    path = make_config(
        tmp_path,
        "datas={valid_crops: 3, segments: 0.3, batch_size: 2}",
        "discriminator.window=[256]",
        "optimizer_g={_target_: torch.optim.SGD, lr: 0.01}",
        "optimizer_d={_target_: torch.optim.SGD, lr: 0.01}",
        # The published magnitude and feature losses divide by means over a batch: they depend on its size.
        "loss_g.weights={adversarial: 1, log_magnitude: 1}",
    )

    def start(name: str, *more: str, code: str | None = None) -> subprocess.Popen[str]:
        program = ("-m", "apollo") if code is None else ("-c", code)
        words = (*program, "train", "-c", path, f"exp.name={name}", *more)
        process: subprocess.Popen[str] = start_fork(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return process

    def result(name: str, *processes: subprocess.Popen[str]) -> tuple[dict[str, torch.Tensor], list[float]]:
        for process in processes:
            output, _ = process.communicate()
            assert process.returncode == 0, output
        checkpoints = list((tmp_path / name / "checkpoints").glob("*.ckpt"))
        assert len(checkpoints) == 2  # the best and the last: one process writes
        state = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        return state["state_dict"], logged(tmp_path / name, "val_loss")

    train(path, ["exp.name=one", "datas.batch_size=4"])
    one, losses_of_one = result("one")
    two = result("two", start("two", "trainer.devices=2", "trainer.strategy=ddp"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = [
        start("nodes", "trainer.num_nodes=2", "trainer.devices=1", "trainer.strategy=ddp", code=torchrun(port, rank))
        for rank in (0, 1)
    ]
    for weights, losses in (two, result("nodes", *nodes)):
        assert losses == pytest.approx(losses_of_one, rel=1e-5)
        for name, value in one.items():
            # The band merge starts at zero, so that its weights are all of them what was learnt.
            error = (weights[name] - value).norm() / value.norm()
            assert error <= 1e-3, (name, error)
