"""The command answers fast, does what its help says, and turns what the user can mend into one sentence."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from apollo import __version__
from apollo.audio import degrade, read, write
from apollo.checkpoints import save_model
from apollo.cli import main
from apollo.nn import Apollo

Run = Callable[..., "subprocess.CompletedProcess[str]"]
VERBS = [
    *("restore", "evaluate", "benchmark", "inspect", "compare", "web", "models", "train", "report merge"),
    *("data check", "data stems", "data degrade", "data prepare"),
    *("export paper", "export msst", "export onnx", "export safetensors"),
]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process, which has imported torch already."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["apollo", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return subprocess.CompletedProcess(sys.argv, left.value.code or 0, *capsys.readouterr())  # type: ignore[arg-type]

    return run


def assert_one_sentence(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 1
    assert re.fullmatch(r"Error: [^\n]+\n", result.stderr), result.stderr
    for word in words:
        assert word in result.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained residual network, which changes nothing."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(Apollo(win=100, feature_dim=16, layer=1, output="residual"), path)
    return path


@pytest.fixture(scope="module")
def coded() -> np.ndarray:
    """What MP3 leaves of noise, which can be told from music that never was one."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 60_000))
    return degrade(noise.astype(np.float32), 44100, "mp3", 64_000)


@pytest.fixture
def song(tmp_path: Path, coded: np.ndarray) -> Path:
    write(tmp_path / "a song.wav", coded, 44100)
    return tmp_path / "a song.wav"


def test_help_does_not_wait_for_torch(run_python: Callable[..., Any]) -> None:
    program = """
import sys
from apollo.cli import main
for words in sys.argv[1:]:
    sys.argv = ["apollo", *words.split()]
    try:
        main()
    except SystemExit as left:
        assert not left.code, words
    heavy = {"torch", "numpy", "av", "soundfile", "lightning"} & set(sys.modules)
    assert not heavy, (words, heavy)
"""
    words = ["--help", "--version", *(f"{verb} --help" for verb in VERBS)]
    result = run_python("-c", program, *words)
    assert result.returncode == 0, result.stderr


def test_a_model_is_loaded_without_the_compiler() -> None:
    program = "import sys, apollo; apollo.load_model('default'); assert 'torch._dynamo' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example_in_its_help(verb: str, here: Run) -> None:
    group, *_ = verb.split()
    assert group in here("--help").stdout
    told = here(*verb.split(), "--help").stdout
    assert re.search(rf"Examples?: apollo {verb}\b", told)
    assert not re.search(r"<(str|int|float|Path)>|<list\[", told)  # types of Python


def test_version(run_python: Callable[..., Any]) -> None:
    assert run_python("-m", "apollo", "--version").stdout == f"apollo {__version__}\n"


def test_restore_says_what_it_did_where_and_how_fast(song: Path, model: Path, run_python: Callable[..., Any]) -> None:
    result = run_python("-m", "apollo", "restore", song, "-m", model, "--chunk", 1, "--device", "cpu")
    assert (result.returncode, result.stderr) == (0, "")
    target = song.with_name("a song.restored.flac")
    assert f"{song} → {target}: 1.4 s of audio in" in result.stdout
    assert "× real time" in result.stdout
    assert soundfile.info(target).subtype == "PCM_24"
    assert np.abs(read(target)[0] - read(song)[0]).max() <= 2.0**-22


def test_restore_overwrites_only_when_told(song: Path, model: Path, here: Run) -> None:
    target = song.with_name("mine.flac")
    target.write_bytes(b"mine")
    assert_one_sentence(here("restore", song, "-o", target, "-m", model), "mine.flac exists already", "--overwrite")
    assert target.read_bytes() == b"mine"
    assert here("restore", song, "-o", target, "-m", model, "--overwrite").returncode == 0
    assert soundfile.info(target).frames == 60_000


def test_one_bad_file_does_not_stop_the_others(song: Path, model: Path, tmp_path: Path, here: Run) -> None:
    (tmp_path / "a bad one.mp3").write_bytes(b"ID3 no sound" * 50)
    (tmp_path / "inner").mkdir()
    song.replace(tmp_path / "inner" / song.name)
    result = here("restore", tmp_path, "-o", tmp_path / "out", "-m", model)
    assert_one_sentence(result, "a bad one.mp3")
    assert "Restored 1 of 2 files." in result.stdout
    assert [path.relative_to(tmp_path) for path in (tmp_path / "out").rglob("*.*")] == [
        Path("out/inner/a song.restored.flac")
    ]


def test_too_little_memory_for_one_file_does_not_stop_the_others(
    song: Path, model: Path, tmp_path: Path, here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "another.wav", 0.5 * read(song)[0][:1], 44100)
    forward, calls = Apollo.forward, []

    def exhausted_at_first(self: Apollo, waveform: torch.Tensor, *options: float) -> torch.Tensor:
        calls.append(waveform)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, waveform, *options)

    monkeypatch.setattr(Apollo, "forward", exhausted_at_first)
    result = here("restore", tmp_path, "-m", model, "--chunk", 1.5)  # too short to be halved
    assert_one_sentence(result, "a song.wav", "--chunk")
    assert "Restored 1 of 2 files." in result.stdout
    assert (tmp_path / "another.restored.flac").is_file()


def test_evaluate_prints_tables_and_writes_scores(song: Path, model: Path, tmp_path: Path, here: Run) -> None:
    report = tmp_path / "report"
    options = ("-m", model, "--bitrates", 64, "--workers", 1)
    result = here("evaluate", tmp_path, *options, "-o", report)
    assert (result.returncode, result.stderr) == (0, "")
    for heading in ("ViSQOL", "SI-SDR", "Log-spectral distance", "MP3", "model.safetensors", "change"):
        assert heading in result.stdout
    with (report / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["piece"], row["bitrate_kbps"], row["system"]) for row in rows] == [
        ("a song.wav", "64", "unprocessed"),
        ("a song.wav", "64", str(model)),
        ("a song.wav", "64", "unprocessed + noise"),
        ("a song.wav", "64", "unprocessed + shelf"),
    ]
    # The model changes nothing, and so all scores are the codec's.
    for metric in ("visqol", "si_sdr", "lsd"):
        assert float(rows[1][metric]) == pytest.approx(float(rows[0][metric]), abs=1e-2)
    (tmp_path / "broken.flac").write_bytes(b"no audio")
    result = here("evaluate", tmp_path, *options)
    assert result.returncode == 1
    assert "SI-SDR" in result.stdout
    assert "Not evaluated: broken.flac (MP3 64 kbit/s)" in result.stdout


def test_what_the_user_can_mend_is_one_sentence(song: Path, model: Path, tmp_path: Path, here: Run) -> None:
    assert_one_sentence(here("restore", tmp_path / "missing.mp3", "-m", model), "missing.mp3")
    assert_one_sentence(here("restore", song, "-m", tmp_path / "missing.ckpt"), "missing.ckpt")
    assert_one_sentence(here("restore", song, "-m", model, "--device", "abacus"), "abacus")
    assert_one_sentence(here("restore", song, "-m", model, "--chunk", 0.1), "0.1")
    assert_one_sentence(here("evaluate", tmp_path, "-m", model, "--bitrates", "fast"), "fast")
    assert_one_sentence(here("evaluate", tmp_path, "-m", model, "-o", song), "a song.wav", "give another folder")
    assert_one_sentence(here("evaluate", tmp_path / "missing", "-m", model), "missing")
    assert_one_sentence(here("evaluate", tmp_path, "-m", tmp_path / "missing.ckpt"), "missing.ckpt")
    assert_one_sentence(here("evaluate", tmp_path, "-m", model, "--codec", "mp4"), "did you mean 'mp3'?")
    assert_one_sentence(here("evaluate", tmp_path, "-m", model, "--metrics", "visql"), "did you mean 'visqol'?")
    assert_one_sentence(here("evaluate", tmp_path, "-m", model, "--restored", "theirs"), "NAME=FOLDER")
    assert_one_sentence(here("restore", tmp_path / (300 * "a"), "-m", model), 300 * "a")


@pytest.mark.parametrize(("verb", "package"), [("train", "lightning"), ("evaluate", "visqol")])
def test_missing_extra_names_the_command_that_installs_it(
    tmp_path: Path, verb: str, package: str, run_python: Callable[..., Any]
) -> None:
    program = f"""
import importlib.util, sys
import apollo.cli, apollo.cli.terminal
find = importlib.util.find_spec
apollo.cli.terminal.find_spec = lambda name: None if name == {package!r} else find(name)
sys.argv = ["apollo", *sys.argv[1:]]
apollo.cli.main()
"""
    arguments = ["train", "-c", "x.yaml"] if verb == "train" else ["evaluate", str(tmp_path)]
    result = run_python("-c", program, *arguments)
    assert_one_sentence(result, package, "pip install")


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to a process")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_leaves_no_debris(
    model: Path,
    tmp_path: Path,
    sent: int,
    code: int,
    start_fork: Callable[..., Any],
) -> None:
    write(tmp_path / "song.wav", np.full((1, 5 * 44100), 0.1), 44100)
    write(tmp_path / "a jingle.wav", np.full((2, 1000), 0.1), 44100)
    first = tmp_path / "a jingle.restored.flac"
    after = sorted([*tmp_path.iterdir(), first])
    program = f"""
import os
from pathlib import Path
import apollo.cli
from apollo.nn import Apollo

forward, chunks = Apollo.forward, []

def interrupted(self, waveform, *options):
    chunks.append(waveform)
    if len(chunks) == 4:  # in the midst of the song
        assert list(Path({str(tmp_path)!r}).glob(".*.part"))
        for _ in range(2):  # who is impatient changes nothing
            os.kill(os.getpid(), {int(sent)})
    return forward(self, waveform, *options)

Apollo.forward = interrupted
apollo.cli.main()
"""
    command = ("-c", program, "restore", tmp_path, "-m", model, "--force", "--chunk", 1)
    process = start_fork(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, errors = process.communicate()
    assert process.returncode == code
    assert "1 of 2 files are restored" in errors
    assert "Traceback" not in output + errors
    assert sorted(tmp_path.iterdir()) == after
    assert read(first)[0].shape == (2, 1000)
