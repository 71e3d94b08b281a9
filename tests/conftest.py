import ctypes
import functools
import gc
import inspect
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import typer.main
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver

from apollo.audio import degrade

# The tensors of these tests are small: more threads only wait for one another, for minutes on a busy machine.
torch.set_num_threads(1)
# The processes that they start have as many: sums in another order would differ in their last bits.
os.environ["OMP_NUM_THREADS"] = "1"
# One that hangs shows where (see Process).
os.environ["PYTHONFAULTHANDLER"] = "1"
# No machine loses its power in a test: none has to wait for the disk.
os.fsync = lambda file: None
# Typer builds all verbs anew whenever the command is called, which takes longer than most of what tests ask of it.
typer.main.get_command = functools.cache(typer.main.get_command)
# What is imported and collected stays to the end: to look through it for garbage took a quarter of all tests' time.
gc.disable()

RATE = 44100
GOLDEN = Path(__file__).parent / "golden"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have the most slow tests, so that none of them is left to one process at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def pytest_collection_finish() -> None:
    """Look for garbage only in what the tests make."""
    gc.freeze()
    gc.enable()


def paper_serialize(state: dict[str, Any]) -> dict[str, Any]:
    """What the paper's `serialize()` hands to `torch.save` for `pytorch_model.bin` and `best_model.pth`."""
    versions = {"torch_version": torch.__version__, "pytorch_lightning_version": "2.6.0"}
    infos = {"software_versions": versions}
    return {"model_name": "Apollo", "state_dict": state, "model_args": {"n_sample_rate": 2}, "infos": infos}


def fork_export(state: dict[str, Any]) -> dict[str, Any]:
    """What the community fork's `generate_msst.py` hands to `torch.save`."""
    info = {"software_versions": {"torch_version": torch.__version__}, "description": ""}
    return {
        "name": "apollo",
        "info": info,
        "config": {"sr": 44100, "win": 20, "feature_dim": 32, "layer": 2},
        "state_dict": state,
    }


def msst_training(state: dict[str, Any]) -> dict[str, Any]:
    """What MSST's own training hands to `torch.save`."""
    return {
        "epoch": 3,
        "model_state_dict": state,
        "optimizer_state_dict": {
            "state": {0: {"step": torch.tensor(3.0)}},
            "param_groups": [{"lr": 1.0, "params": [0]}],
        },
        "scheduler_state_dict": {"best": np.float64(-12.5), "last_epoch": 3},
        "best_metric": np.float64(-12.5),
        "all_metrics": {"sdr": {"restored": np.float64(3.25), "songs": np.array([3.0, 3.5], np.float32)}},
    }


def under_state(state: dict[str, Any]) -> dict[str, Any]:
    """What MSST's loader takes too."""
    return {"state": state, "best": np.float32(1.5)}


def saved(content: dict[str, Any], whole: bool = True) -> bytes:
    """What `torch.save` writes, or wrote before PyTorch 1.6."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=whole)
    return file.getvalue()


SAVERS: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "the paper's serialize()": lambda state: saved(paper_serialize(state)),
    "the fork's MSST export": lambda state: saved(fork_export(state)),
    "MSST's training": lambda state: saved(msst_training(state)),
    "MSST's loader": lambda state: saved(under_state(state)),
    "MSST's training, before PyTorch 1.6": lambda state: saved(msst_training(state), whole=False),
    "MSST's training, with NumPy 1": lambda state: saved(msst_training(state), whole=False).replace(
        b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    ),
}


@pytest.fixture(scope="session")
def published_state() -> dict[str, torch.Tensor]:
    """The published network's state, of random weights."""
    state: dict[str, torch.Tensor] = torch.load(GOLDEN / "apollo-tiny.upstream.bin", weights_only=True)["state_dict"]
    return state


@pytest.fixture(scope="session")
def predecessors_files(published_state: dict[str, torch.Tensor]) -> dict[str, bytes]:
    """The golden model as each of the predecessors' own programs writes it, byte for byte."""
    return {name: saver(published_state) for name, saver in SAVERS.items()}


@pytest.fixture(scope="session", params=SAVERS)
def predecessors_file(
    request: pytest.FixtureRequest, predecessors_files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """One of these files."""
    path = tmp_path_factory.mktemp("predecessor") / "model.ckpt"
    path.write_bytes(predecessors_files[request.param])
    return path


def synthetic_music(
    seconds: float, channels: int = 2, sample_rate: int = RATE, seed: int = 0, noise: float = 1e-3
) -> np.ndarray:
    """Plucked notes, drum hits and soft noise, which leave no frequency empty; peak 0.7, `(channels, samples)`."""
    random = np.random.default_rng(seed)
    music = noise * random.standard_normal((channels, round(seconds * sample_rate)))
    since = np.arange(sample_rate) / sample_rate
    for start in range(0, music.shape[1], sample_rate // 4):
        pitch = 110 * 2 ** (random.integers(0, 36) / 12)
        turn = np.exp((2j * np.pi * pitch - 0.6) * since)  # the higher, the sooner it is gone
        tone, note = turn.copy(), np.zeros_like(since)
        for number in range(1, min(40, int(sample_rate / 2 / pitch)) + 1):
            note += tone.imag / number
            tone *= turn
        hit = random.standard_normal(sample_rate) * np.exp(-60 * since)
        sound = note * np.exp(-4 * since) * (1 - since) + 0.3 * hit
        place = music[:, start : start + sample_rate]
        place += random.uniform(0.3, 1, (channels, 1)) * sound[: place.shape[1]]
    return (0.7 * music / np.abs(music).max()).astype(np.float32)


@pytest.fixture(scope="session")
def make_music() -> Callable[..., np.ndarray]:
    return synthetic_music


@pytest.fixture(scope="session")
def chords() -> np.ndarray:
    """3 s of stereo at 44.1 kHz: plucked chords and hi-hats, so that there is something to lose at every frequency."""
    generator = np.random.default_rng(7)
    time = np.arange(3 * RATE) / RATE
    left, right = np.zeros_like(time), np.zeros_like(time)
    for beat, root in enumerate((110.0, 146.8, 164.8, 123.5, 110.0, 196.0)):
        since = time - 0.5 * beat
        decay = np.where(since >= 0, np.exp(-4 * np.maximum(since, 0)), 0)
        for harmonic in range(1, 60):
            tone = decay * np.sin(2 * np.pi * root * harmonic * since) / harmonic
            left += 0.1 * tone
            right += 0.1 * tone * (0.6 if harmonic % 2 else 1.2)
        hat = np.where(since >= 0, np.exp(-30 * np.maximum(since, 0)), 0)
        left += 0.03 * hat * generator.standard_normal(time.size)
        right += 0.03 * hat * generator.standard_normal(time.size)
    return np.stack([left, right]).astype(np.float32)


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set as the published code wants it: train/original, valid/<song>/{original,codec}.wav."""
    root = tmp_path_factory.mktemp("music")
    (root / "train" / "original" / "nested ünïcode").mkdir(parents=True)
    soundfile.write(root / "train" / "original" / "a.wav", synthetic_music(3, seed=1).T, RATE)
    soundfile.write(root / "train" / "original" / "nested ünïcode" / "b.flac", synthetic_music(4, 1, seed=2).T, RATE)
    soundfile.write(root / "train" / "original" / "c 48.wav", synthetic_music(3, seed=3).T, 48000)
    soundfile.write(root / "train" / "original" / "short.wav", synthetic_music(0.2, seed=4).T, RATE)
    (root / "train" / "original" / "broken.wav").write_bytes(b"not audio")
    for name, seed in (("one", 5), ("two", 6)):
        original = synthetic_music(1.5, seed=seed)
        (root / "valid" / name).mkdir(parents=True)
        soundfile.write(root / "valid" / name / "original.wav", original.T, RATE)
        soundfile.write(root / "valid" / name / "codec.wav", degrade(original, RATE, bitrate=32000).T, RATE, "FLOAT")
    return root


@pytest.fixture(scope="session")
def stems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs of mono and stereo stems."""
    root = tmp_path_factory.mktemp("stems")
    for song in ("first", "second"):
        (root / song).mkdir()
        for seed, (stem, channels) in enumerate((("bass", 1), ("drums", 2), ("guitar_1", 1))):
            soundfile.write(
                root / song / f"{stem}.flac", synthetic_music(3, channels, seed=10 + seed, noise=0.1).T, RATE
            )
    return root


@pytest.fixture(scope="session")
def small_pictures() -> Iterator[None]:
    """Drawing spectrograms takes longer than small runs do: theirs have one pixel."""
    from PIL import Image

    from apollo.atomic import replacing
    from apollo.training import callbacks

    def draw(*arguments: Any) -> None:
        with replacing(arguments[-1]) as temporary:
            Image.new("RGB", (1, 1)).save(temporary, format="png")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "spectrogram_triptych", draw)
        yield


@pytest.fixture(scope="session")
def compiler() -> None:
    """A C++ compiler, which `torch.compile` needs on a CPU; where there is none, the test is skipped.

    It takes no trouble over the speed of what it compiles, which would take most of the time.
    """
    from torch._inductor import config
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("torch.compile needs a C++ compiler, and there is none")
    os.environ["TORCHINDUCTOR_DEBUG_COMPILE"] = "1"
    config.cpp.vec_isa_ok = False
    config.compile_threads = 1  # others are processes that import PyTorch first


def started_by(pid: int) -> list[int]:
    """The numbers of the processes below one, where Linux tells them."""
    lists = [file.read_text(encoding="ascii") for file in Path(f"/proc/{pid}/task").glob("*/children")]
    children = [int(number) for numbers in lists for number in numbers.split()]
    return [number for child in children for number in (*started_by(child), child)]


class Process(subprocess.Popen[Any]):
    """A Python of its own. One that runs for ten minutes hangs: it prints the stacks of its threads, and is killed."""

    def __init__(self, *words: object, **options: Any) -> None:
        texts = [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in words]
        super().__init__([sys.executable, *texts], **options)
        self.watch = Timer(600, self.abort)
        self.watch.daemon = True
        self.watch.start()

    def abort(self) -> None:
        """End it, and on Linux what it started. No test expects the code of this end."""
        with suppress(OSError):  # some have ended
            for pid in (self.pid, *started_by(self.pid)) if self.poll() is None else ():
                os.kill(pid, signal.SIGABRT)
                time.sleep(0.1)  # one after the other, so that their stacks can be read

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code."""
        code = super().wait(timeout)
        self.watch.cancel()
        return code

    def communicate(self, given: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """What it prints until its end; if it was aborted, the test fails with that."""
        output, errors = super().communicate(given, timeout)
        if self.returncode == -signal.SIGABRT:
            pytest.fail(f"{self.args} hung, or crashed:\n{output}\n{errors}")
        return output, errors


@pytest.fixture(scope="session")
def start_python() -> Callable[..., Process]:
    """Starts a Python of its own as `subprocess.Popen` does, with what follows `python` and the same options."""
    return Process


class Fork(Process):
    """A Python of its own that has imported Apollo already: a fork of what `forks.py` has made ready."""

    control: socket.socket

    def _execute_child(self, *given: Any) -> None:
        order = inspect.signature(super()._execute_child).bind(*given).arguments  # type: ignore[misc]
        folder, environment = order["cwd"] or Path.cwd(), order["env"] or os.environ
        message = json.dumps([order["args"][1:], os.fspath(folder), dict(environment), order["start_new_session"]])
        streams = [order[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        adopt_orphans(True)
        socket.send_fds(
            self.control,
            [message.encode()],
            [number if stream == -1 else stream for number, stream in enumerate(streams)],
        )
        self.pid = int(self.control.recv(100))
        assert self.control.recv(100) == b"ready"
        adopt_orphans(False)
        self._child_created = True
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(order[name] for name in ends))  # type: ignore[attr-defined]


def adopt_orphans(wanted: bool) -> None:
    """Say whether processes below this one whose parent ends become its children, as only Linux has it."""
    pr_set_child_subreaper = 36
    assert ctypes.CDLL(None).prctl(pr_set_child_subreaper, int(wanted), 0, 0, 0) == 0


@pytest.fixture(scope="session")
def start_fork() -> Iterator[Callable[..., Process]]:
    """As `start_python`, where no test asks what is imported: on Linux, the imports of all have been made once."""
    if sys.platform != "linux":
        yield Process
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        command = [sys.executable, str(Path(__file__).with_name("forks.py")), str(theirs.fileno())]
        maker = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        Fork.control = ours
        yield Fork
    maker.wait()


def to_its_end(start: Callable[..., Process]) -> Callable[..., subprocess.CompletedProcess[Any]]:
    """Runs a Python to its end and keeps what it prints, as `subprocess.run` does; text unless told otherwise."""

    def run(*words: object, given: str | bytes | None = None, **options: Any) -> subprocess.CompletedProcess[Any]:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with start(*words, **{"encoding": "utf-8", **streams, **options}) as process:
            output, errors = process.communicate(given)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    return run


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[Any]]:
    """Runs to its end what `start_python` starts."""
    return to_its_end(Process)


@pytest.fixture(scope="session")
def run_fork(start_fork: Callable[..., Process]) -> Callable[..., subprocess.CompletedProcess[Any]]:
    """Runs to its end what `start_fork` starts."""
    return to_its_end(start_fork)


@pytest.fixture(scope="session")
def open_browser() -> Iterator[Callable[..., WebDriver]]:
    """Starts headless Chromium with an empty profile; where there is none, the test is skipped."""
    binary = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("BROWSER TESTS DID NOT RUN: they need chromium and chromedriver (Debian: chromium chromium-driver)")
    opened = []
    with TemporaryDirectory(ignore_cleanup_errors=True) as profiles:

        def start(language: str = "en", downloads: Path | None = None) -> WebDriver:
            options = webdriver.ChromeOptions()
            options.binary_location = binary
            flags = (
                "headless",
                "no-sandbox",
                "disable-gpu",
                "disable-quic",
                "disable-dev-shm-usage",
                "no-first-run",
                "disable-background-networking",
                "disable-component-update",
                "disable-sync",
                "autoplay-policy=no-user-gesture-required",
                "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the network is cut
                f"accept-lang={language}",
                f"lang={language}",
                f"user-data-dir={profiles}/{len(opened)}",
                "window-size=1280,1000",
            )
            for flag in flags:
                options.add_argument(f"--{flag}")
            options.add_experimental_option(
                "prefs", {"download.default_directory": str(downloads), "intl.accept_languages": language}
            )
            options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
            opened.append(webdriver.Chrome(options=options, service=Service(driver)))
            opened[-1].set_script_timeout(600)
            return opened[-1]

        yield start
        for browser in opened:
            if browser.service.is_connectable():  # no test has closed it
                browser.quit()
