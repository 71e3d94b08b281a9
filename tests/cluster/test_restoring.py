"""Files are restored once each, as one process restores them, whatever becomes of workers, nodes and the command."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ray = pytest.importorskip("ray", reason="RAY TESTS DID NOT RUN: pip install 'apollo-restoration[cluster]'")
from ray.cluster_utils import Cluster  # noqa: E402

from apollo.audio import degrade, read, write  # noqa: E402
from apollo.checkpoints import load_model, save_model  # noqa: E402
from apollo.cli import main  # noqa: E402
from apollo.cli.restore import RayAlone  # noqa: E402
from apollo.cluster import Job, Workers, connected, restore_with_workers  # noqa: E402
from apollo.errors import ApolloError  # noqa: E402
from apollo.nn import Apollo  # noqa: E402
from apollo.restoration import Output, Restorer, plan, restore_files  # noqa: E402

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no worker can import a test
SMALL = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    torch.manual_seed(0)
    save_model(Apollo(win=100, feature_dim=16, layer=1), path)
    return path


@pytest.fixture(scope="module")
def make_songs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Makes a folder of recordings that MP3 has damaged, between half a second and one and a half."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 70_000)).astype(np.float32)
    coded = degrade(noise, 44100, "mp3", 64_000)

    def made(count: int) -> Path:
        folder = tmp_path_factory.mktemp("songs")
        for number in range(count):
            write(folder / f"{number:02}.wav", coded[:, : 20_000 + 7_000 * (number % 7)], 44100)
        return folder

    return made


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A node of processes, with room for one worker."""
    made = Cluster(initialize_head=True, head_node_args=SMALL)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def killing(marks: Path) -> Callable[[Apollo], Restorer]:
    """Makes restorers whose process is killed, once for each song that has a mark in a folder, and always for `deadly`.

    That happens at a random moment of its restoration, or when that is done and nobody has been told yet.
    """

    def build(network: Apollo) -> Restorer:
        import apollo.restoration.jobs

        restore_file = apollo.restoration.jobs.restore_file

        def kill() -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        def killed(source: Path, *arguments: Any) -> Any:
            if not (marks / source.stem).exists():
                return restore_file(source, *arguments)
            if source.stem == "deadly":
                kill()
            (marks / source.stem).unlink()
            threading.Timer(0.5 * random.random(), kill).start()
            restore_file(source, *arguments)
            time.sleep(600)
            return None

        apollo.restoration.jobs.restore_file = killed
        return Restorer(network, 1)

    return build


@pytest.mark.slow
@pytest.mark.parametrize(("files", "kills"), [(12, 2), pytest.param(60, 8, marks=pytest.mark.attack)])
def test_lost_workers_and_a_lost_node_change_nothing(
    cluster: Cluster, make_songs: Callable[[int], Path], model: Path, tmp_path: Path, files: int, kills: int
) -> None:
    songs, network = make_songs(files), load_model(model)
    expected = list(restore_files(plan([songs], tmp_path / "one"), Restorer(network, 1), Output()))
    assert {outcome.status for outcome in expected} == {"restored"}
    (tmp_path / "marks").mkdir()
    for name in (*random.sample([path.stem for path in songs.iterdir()], kills), "deadly"):
        (tmp_path / "marks" / name).touch()
    shutil.copy(songs / "00.wav", songs / "deadly.wav")
    tasks = plan([songs], tmp_path / "many")
    node = cluster.add_node(**SMALL)
    with connected(cluster.address):
        workers = Workers.fitting(None, None, False)
        assert (workers.count, workers.threads, workers.gpus) == (2, 1, 0)
        job = Job(killing(tmp_path / "marks"), Output())
        with pytest.raises(ApolloError, match="--gpus asks for 99"):
            Workers.fitting(None, 99, True)
        with pytest.raises(ApolloError, match="from 1 to 3600 seconds"):
            restore_with_workers(tasks, network, Job(lambda network: Restorer(network, 0), Output()), workers)
        settings, outcomes = restore_with_workers(tasks, network, job, workers)
        assert settings.device == "cpu"
        found = []
        for outcome in outcomes:
            found.append(outcome)
            if len(found) == files // 2:
                cluster.remove_node(node, allow_graceful=False)
    assert [path.name for path in (tmp_path / "marks").iterdir()] == ["deadly"]
    assert Counter(outcome.task for outcome in found) == Counter(tasks)
    statuses = {outcome.task.source.stem: outcome.status for outcome in found}
    assert statuses.pop("deadly") == "failed"
    # A worker may be lost when its file is finished, before it could say so.
    assert set(statuses.values()) <= {"restored", "finished"}
    assert results(tmp_path / "many") == results(tmp_path / "one")
    # Who does a file again takes the place of what was left of it.
    assert not list((tmp_path / "many").glob(".*.part"))


@pytest.mark.slow
def test_command_that_is_ended_goes_on_when_started_again(
    cluster: Cluster,
    make_songs: Callable[[int], Path],
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    start_fork: Callable[..., Any],
) -> None:
    songs, out = make_songs(8), tmp_path / "out"
    words = ["apollo", "restore", "-m", str(model), "-o", str(out), str(songs), "--ray"]
    there = [*words, cluster.address]
    # One ends the cluster that was started for it, and one leaves what it had begun on another.
    for command, end in ((words, signal.SIGINT), (there, signal.SIGKILL)):
        process = start_fork("-m", *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        while "→" not in process.stdout.readline():
            assert process.poll() is None, process.communicate()
        process.send_signal(end)
        errors = process.communicate()[1]
        if end == signal.SIGINT:
            assert process.returncode == 130
            assert "run the same command again to continue" in errors
            assert not [path for path in out.iterdir() if path.name.startswith(".")]
    before = results(out)
    # What workers warn of is told by the command, once, and stands in its report.
    write(songs / "damaged.flac", read(songs / "06.wav")[0], 44100)
    damaged = bytearray((songs / "damaged.flac").read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 200] = bytes(200)
    (songs / "damaged.flac").write_bytes(damaged)
    monkeypatch.setattr(sys, "argv", [*there, "--json", str(report := tmp_path / "report.json")])
    with pytest.raises(SystemExit, match="0"):
        main()
    said, errors = capsys.readouterr()
    assert errors.count(f"{songs / 'damaged.flac'} is damaged: about") == 1
    warnings = {Path(file["source"]).name: file["warnings"] for file in json.loads(report.read_text())["files"]}
    (sentence,) = warnings.pop("damaged.flac")
    assert f"Warning: {sentence}\n" in errors
    assert not any(warnings.values())
    assert " of 1 core" in said
    assert said.count("is finished already") >= len(before) > 0
    list(restore_files(plan([songs], tmp_path / "one"), Restorer(load_model(model)), Output(), model=str(model)))
    assert results(out) == results(tmp_path / "one")


def test_ray_needs_no_address_and_takes_no_song_for_one() -> None:
    assert RayAlone.completed(["--ray", "song.mp3"]) == ["--ray=local", "song.mp3"]
    assert RayAlone.completed(["song.mp3", "--ray"]) == ["song.mp3", "--ray=local"]
    assert RayAlone.completed(["--", "--ray"]) == ["--", "--ray"]
    for address in ("auto", "10.0.0.1:6379", "ray://head:10001", "[::1]:6379"):
        assert RayAlone.completed(["--ray", address]) == ["--ray", address]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--ray", "127.0.0.1:9"), "there is no Ray cluster at 127.0.0.1:9"),
        (("--ray=nonsense",), "not 'nonsense'"),
        (("--workers", "2"), "need --ray"),
        (("--ray", "nowhere.invalid:6379"), "there is no Ray cluster at nowhere.invalid:6379"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    make_songs: Callable[[int], Path],
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    sentence: str,
) -> None:
    songs = make_songs(1)
    monkeypatch.setattr(sys, "argv", ["apollo", "restore", "-m", str(model), str(songs), "-o", str(tmp_path), *words])
    with pytest.raises(SystemExit, match=r"\A1\Z"):
        main()
    errors = capfd.readouterr().err
    assert errors.count("\n") == 1, errors
    assert sentence in errors
    assert not ray.is_initialized()
