"""Generated attacks on the command line: names, values and places that were made to harm.

`pytest -m attack -s` is the long form; the environment variable ATTACKS says how long. Every attack runs in a process
of its own. It must end with a sentence and a code of 0, 1 or 2, within 10 s of processor time and 1.5 GB, print nothing
that steers a terminal, leave no half-written file and change no file that was there.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from apollo.audio import write
from apollo.checkpoints import save_model
from apollo.nn import Apollo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and asks Linux what a process took")

LONG = int(os.environ.get("ATTACKS", "2000"))  # attacks of each kind

# Marks that a shell, a format, a markup or a spreadsheet would take for its own, and plain letters between them.
MARKS = r"""
    { } {0} {task.x} %s %n [bold-red] [/] [link=http://x] :heart: $\frac{ \ `id` =1+1 +1 -1 @x ' < > & | ; *
    ? [a] ~ # $HOME .. a b con <script>
"""
LETTERS = [
    *("\x1b[2J", "\x1b]0;pwned\x07", "\x1bc", "\x1bP", "\x9b31m", "\x07", "\b" * 9, "\r", "\n", "\t", "\x7f", " "),
    *("\u202e", "\u2066", "\u200f", "\u2028", "\ufeff", "\U000e0041", "\udcff", "\udc80", "e\u0301", "日本", "👩‍🚀"),
    *MARKS.split(),
    "x" * 200,
]
NUMBERS_AND_PLACES = """
    - 0 -1 1e400 nan inf -inf 1_0 １２ 0x10 1,2,,3 , auto default all meta cuda:99 cpu:9 xla mps tar.gz 64k a=b =
    cuda:99999999999999999999 / . .. /dev/null /dev/full /dev/zero /proc/self/mem /proc/kcore ~root {0} %s
    owner/name:../../x s16le,1,99999
"""
VALUES = [
    *("", " ", "\x1b[2J", "\u202e", "\udcff", "[bold]", "10" * 40, "9" * 5000, "a" * 5000, "a/" * 3000),
    *NUMBERS_AND_PLACES.split(),
]
OPTIONS = {
    "restore": [
        *("-m", "-o", "--format", "--bits", "--sample-rate", "--clip", "--mix", "--keep-below", "--device", "--batch"),
        *("--precision", "--chunk", "--compile", "--raw", "--json"),
    ],
    "inspect": ["--plot"],
    "data check": [],
    "data degrade": ["--layout", "--bitrates", "--codec", "--seed", "--workers", "--lowpass-probability"],
    "export safetensors": ["-m", "-o", "-c", "--licence"],
    "export paper": ["-m", "-o", "-c"],
    "export msst": ["-m", "-o", "-c"],
    "evaluate": ["-m", "--codec", "--bitrates", "--metrics", "--restored", "--device", "--chunk", "-o"],
    "benchmark": ["-m", "--device", "--precision", "--chunk", "--batch", "--json"],
    "train": ["-c", "-m", "--init-from"],
}


@pytest.fixture(scope="module")
def armoury(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that changes nothing, and a moment of sound."""
    import apollo.evaluation.run
    import apollo.spectrograms.recording
    import apollo.training.train  # noqa: F401  imported before the processes part

    folder = tmp_path_factory.mktemp("armoury")
    save_model(Apollo(win=100, feature_dim=16, layer=1, output="residual"), folder / "model.safetensors")
    sound = 0.1 * np.random.default_rng(0).standard_normal((1, 4_000)).astype(np.float32)
    write(folder / "sound.wav", sound, 8_000)
    return folder


def name(random: Random) -> str:
    """A name that a file can have."""
    made = "".join(random.choice(LETTERS) for _ in range(random.randint(1, 5))).replace("/", "_")
    while len(os.fsencode(made)) > 240:
        made = made[:-20]
    return made if made.strip(".") else "a"


def by_name(random: Random, folder: Path, armoury: Path) -> list[str]:
    """A recording, a text or a broken model of a hostile name."""
    called = folder / "in" / f"{name(random)}{random.choice(['.wav', '.mp3', '.ckpt', ''])}"
    if random.random() < 0.6:
        shutil.copyfile(armoury / "sound.wav", called)
    else:
        called.write_bytes(random.choice([b"", b"ID3 no sound" * 9, b"{", b"PK\3\4", random.randbytes(99)]))
    given = str(called) if random.random() < 0.6 else str(folder / "in")
    model = ["-m", str(armoury / "model.safetensors")]
    return random.choice(
        [
            ["restore", given, *model, "--force", "-o", str(folder / "out")],
            ["restore", given, *model, "--force", "--json", str(folder / f"{name(random)}.json")],
            ["restore", str(armoury / "sound.wav"), "-m", str(called), "-o", str(folder / "out" / "x.flac")],
            ["inspect", given],
            ["inspect", given, "--json"],
            ["data", "check", given],
            ["data", "degrade", str(folder / "in"), str(folder / "out"), "--workers", "1"],
            ["export", "safetensors", *model, "-o", str(folder / f"{name(random)}.safetensors")],
            ["export", "paper", "-m", str(called), "-o", str(folder / "x.bin")],
            ["train", "-c", str(called)],
            ["train", "-c", str(called), f"{name(random)}={name(random)}"],
            [called.name],
            ["restore", f"--{name(random)}"],
        ]
    )


def by_value(random: Random, folder: Path, armoury: Path) -> list[str]:
    """Options with values that they were not made for."""
    verb = random.choice(list(OPTIONS))
    shutil.copyfile(armoury / "sound.wav", folder / "in" / "a.wav")
    given = {"train": [], "benchmark": [], "data degrade": ["in", "out"], "evaluate": ["in", "--workers", "1"]}
    words = [*verb.split(), *([] if verb.startswith("export") else given.get(verb, ["in/a.wav"]))]
    options = random.sample(OPTIONS[verb], min(len(OPTIONS[verb]), random.randint(1, 2)))
    for option in options:
        words += [option, random.choice(VALUES)]
    if verb in ("restore", "evaluate", "benchmark") and "-m" not in options:
        words += ["-m", str(armoury / "model.safetensors")]
    if verb == "benchmark" and not {"--chunk", "--device"} & set(options):
        words += ["--chunk", "0"]  # it may not begin to measure: that takes a minute
    return words


def by_place(random: Random, folder: Path, armoury: Path) -> list[str]:
    """Files that are none, and results where something is already."""
    special = folder / "in" / random.choice(["pipe.wav", "zero.mp3", "system.flac", "loop.wav", "gone.wav"])
    if special.name == "pipe.wav":
        os.mkfifo(special)
    else:
        to = {"zero.mp3": "/dev/zero", "system.flac": "/proc/kmsg", "loop.wav": special.name, "gone.wav": "nowhere"}
        special.symlink_to(to[special.name])
    model, sound = ["-m", str(armoury / "model.safetensors")], str(armoury / "sound.wav")
    keep = folder / "kept" / random.choice(["keep.json", "keep.png", "keep.flac", "scores.jsonl"])
    return random.choice(
        [
            ["restore", str(special), *model],
            ["restore", str(folder / "in"), *model],
            ["restore", sound, "-m", str(special), "-o", str(folder / "out" / "x.flac")],
            ["restore", sound, *model, "--force", "-o", str(special)],
            ["restore", sound, *model, "--force", "-o", str(keep)],
            ["restore", sound, *model, "--force", "-o", str(folder / "out"), "--json", str(keep)],
            ["inspect", str(special)],
            ["inspect", sound, "--plot", str(keep)],
            ["data", "check", str(special)],
            ["data", "degrade", str(folder / "in"), str(folder / "kept"), "--workers", "1"],
            ["data", "stems", str(folder / "in"), str(folder / "kept"), "--corpus", "folders"],
            ["evaluate", str(special), *model, "--workers", "1"],
            ["evaluate", str(armoury), *model, "--workers", "1", "--metrics", "snr", "-o", str(folder / "kept")],
            ["export", "paper", "-m", str(special), "-o", str(folder / "x.bin")],
            ["export", "paper", *model, "-o", str(keep)],
            ["benchmark", *model, "--json", str(keep)],
            ["train", "-c", str(special)],
            ["train", "-c", str(keep), "-m", str(special)],
        ]
    )


KINDS: dict[str, Callable[[Random, Path, Path], list[str]]] = {"name": by_name, "value": by_value, "place": by_place}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [20, pytest.param(LONG, marks=pytest.mark.attack)])
def test_no_attack_on_the_command_succeeds(
    kind: str,
    count: int,
    armoury: Path,
    tmp_path: Path,
    attack: Callable[[list[str], Path, Path], Any],
    state: Callable[[Path], dict[str, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    codes: Counter[str] = Counter()
    slowest = largest = 0.0
    for number in range(count):
        random = Random(f"{kind} {number}")
        folder = tmp_path / "scene"
        for place in ("in", "out", "kept"):
            (folder / place).mkdir(parents=True)
        for kept in ("keep.json", "keep.png", "keep.flac", "scores.jsonl", "scores.csv", "report.html"):
            (folder / "kept" / kept).write_text("mine")
        words = KINDS[kind](random, folder, armoury)
        before = state(folder), state(armoury)
        outcome = attack(words, folder, tmp_path)
        after = state(folder), state(armoury)
        told = f"attack {number}: apollo {words!r}\n{outcome}"
        assert not outcome.faults(), f"{outcome.faults()}\n{told}"
        lost = [path for old, new in zip(before, after, strict=True) for path in old if new.get(path) != old[path]]
        assert not lost, f"changed {lost}\n{told}"
        assert not [path for path in after[0] if path.endswith((".part", ".claim"))], told
        codes[f"{outcome.code}"] += 1
        slowest, largest = max(slowest, outcome.seconds), max(largest, outcome.peak)
        shutil.rmtree(folder)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{count} attacks by {kind}: exit codes {dict(codes)}, at most {slowest:.1f} s and {largest / 1e9:.2f} GB"
        )
