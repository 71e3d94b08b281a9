from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from apollo.checkpoints import hub, save_model
from apollo.cli import main
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.speed import benchmark as module
from apollo.speed import measuring
from apollo.speed.benchmark import benchmark, flops_per_second

LINUX = sys.platform == "linux"


def tiny(**options: object) -> Apollo:
    sizes = {"feature_dim": 16, "layer": 1, "expansion": 2, "heads": 2, "kernel_size": 3, "dilations": [1]}
    return Apollo(**{"output": "residual", **sizes, **options}).eval()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(tiny(win=40), path)
    return str(path)


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "PRODUCT", (80, 256, 2048))


@pytest.fixture
def half_second_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which every run, of the network or of the matrix products, takes 0.5 s."""
    for place in (module, measuring):
        monkeypatch.setattr(place, "seconds_of", lambda function, device: 0.5)


def by_hand(n: int, e: int, k: int, layers: int, convolutions: int, width: int, last: int) -> int:
    """Multiply-adds of a residual network for one frame of one channel."""
    split = 79 * (2 * width + 1) * n + (2 * last + 1) * n
    merge = 79 * n * 4 * width + n * 4 * last + 80 * n * 2
    attention = 80 * n * 3 * n + 2 * 80 * 80 * n + 80 * n * n
    gated = 80 * n * 2 * e * n + 80 * e * n * n
    temporal = 80 * k * n + 2 * 80 * n * e * n
    return split + merge + layers * (attention + gated + convolutions * temporal)


def test_flops_are_those_counted_by_hand() -> None:
    # 20 ms at 44.1 kHz: 442 bins, 79 bands of 5 and one of 47, 100 frames a second, two channels.
    one = by_hand(n=16, e=2, k=3, layers=1, convolutions=1, width=5, last=47)
    assert flops_per_second(tiny()) == pytest.approx(2 * 2 * 100 * one)
    larger = tiny(feature_dim=32, layer=3, expansion=4, kernel_size=5, dilations=[1, 2])
    more = by_hand(n=32, e=4, k=5, layers=3, convolutions=2, width=5, last=47)
    assert flops_per_second(larger) == pytest.approx(2 * 2 * 100 * more)


def test_flops_of_a_clip_grow_with_its_length_at_that_rate() -> None:
    network = tiny()
    counts = []
    for seconds in (1, 3):
        with torch.enable_grad(), module.FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 2, seconds * 44100))
        counts.append(counter.get_total_flops())
    assert counts[1] - counts[0] == pytest.approx(2 * flops_per_second(network))


@pytest.mark.usefixtures("half_second_clock")
def test_speed_floor_and_size_are_accounted_per_second_of_audio(model: str) -> None:
    [result] = benchmark([model, model], precisions=["32"], chunks=[1, 2], batches=[1, 3], clip_seconds=0.25)
    assert result.parameters == sum(parameter.numel() for parameter in tiny(win=40).parameters())
    assert result.file_bytes == Path(model).stat().st_size
    ways = [(m.kind, m.audio_seconds, m.batch) for m in result.measurements]
    chunk = pytest.approx(1, abs=0.02)  # of whole frames
    assert ways == [("chunks", chunk, 1), ("chunks", 2, 1), ("clips", 0.25, 1), ("clips", 0.25, 3), ("paper", 1, 1)]
    _, two, _, three, paper = result.measurements
    assert (two.real_time, three.real_time, paper.real_time) == (4, 1.5, 2)
    rate = 2 * 2 * 80 * 256 * 2048 / 0.5
    assert two.matrix_rate == rate
    assert two.floor_seconds == pytest.approx(2 * result.flops / rate)
    assert three.floor_seconds == pytest.approx(3 * 0.25 * result.flops / rate)
    assert paper.floor_seconds == pytest.approx(result.flops / 2 / rate)  # mono is half of stereo
    assert two.times_floor == pytest.approx(0.5 / two.floor_seconds)


@pytest.mark.usefixtures("half_second_clock")
def test_one_of_precision_chunk_and_batch_varies_at_a_time(model: str) -> None:
    told: list[tuple[int, int, str]] = []
    [result] = benchmark([model], chunks=[2, 1], batches=[2], clip_seconds=0.1, progress=lambda *now: told.append(now))
    ways = [(m.kind, m.precision, round(m.audio_seconds, 1), m.batch) for m in result.measurements]
    assert ways == [
        ("chunks", "32", 2, 1),
        ("chunks", "32", 1, 1),
        ("chunks", "bf16", 2, 1),
        ("clips", "32", 0.1, 2),
        ("paper", "32", 1, 1),
    ]
    assert [now[:2] for now in told] == [(done, 5) for done in range(5)]
    assert told[2][2] == "tiny.safetensors, chunks of 2 s, precision bf16"


def test_every_timed_chunk_is_one_pass_with_context_on_both_sides(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    forward = Apollo.forward

    def counted(self: Apollo, waveform: torch.Tensor, fill: float = 1.0) -> torch.Tensor:
        lengths.append(waveform.shape[-1])
        return forward(self, waveform, fill)

    monkeypatch.setattr(Apollo, "forward", counted)
    timed: list[list[int]] = []

    def clock(function: object, device: object) -> float:
        lengths.clear()
        function()  # type: ignore[operator]
        timed.append(list(lengths))
        return 1.0

    for place in (module, measuring):
        monkeypatch.setattr(place, "seconds_of", clock)
    benchmark([model], precisions=["32"], chunks=[1], batches=[], clip_seconds=0.1)
    network = tiny(win=40)
    whole = (50 + 2 * network.context_frames) * network.hop_length
    assert timed[:6] == [[whole, whole], []] * 3  # two channels, then the matrix products


def test_every_row_computes_in_its_precision(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: dict[str, set[torch.dtype]] = {}
    row = ""

    def follow(done: int, total: int, name: str) -> None:
        nonlocal row
        row = name.removeprefix("tiny.safetensors, ")

    def linear(*tensors: torch.Tensor, original: Callable[..., torch.Tensor] = functional.linear) -> torch.Tensor:
        result = original(*tensors)
        computed.setdefault(row, set()).add(result.dtype)
        return result

    monkeypatch.setattr(functional, "linear", linear)
    for precisions in (["32", "bf16"], ["bf16"]):
        benchmark([model], "cpu", precisions, chunks=[1], batches=[2], clip_seconds=0.1, progress=follow)
    computed.pop("")  # operations are counted before the first row
    single, half = {torch.float32}, {torch.bfloat16}
    assert computed == {
        "chunks of 1 s, precision 32": single,
        "batch of 2 × 0.1 s, precision 32": single,
        "1 s mono (paper), precision 32": single,
        "chunks of 1 s, precision bf16": half,
        "batch of 2 × 0.1 s, precision bf16": half,
        "1 s mono (paper), precision bf16": half,
    }


def test_the_size_of_a_model_of_the_hub_is_that_of_its_file(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "fetch", lambda wanted: Path(model))
    [result] = benchmark(["paper"], precisions=["32"], chunks=[], batches=[])
    assert (result.model, result.file_bytes) == ("paper", Path(model).stat().st_size)


@pytest.mark.skipif(not LINUX, reason="only Linux tells the peak of a while")
def test_peak_memory_is_what_calls_hold_at_most_beyond_what_was_held(run_python: Callable[..., Any]) -> None:
    # In a process of its own: training, in this one, may have had glibc keep freed memory.
    code = """
import torch
from apollo.speed.measuring import PeakMemory
kept = [torch.ones(20_000_000 // 4)]
memory = PeakMemory(torch.device("cpu"))
assert memory.during(lambda: 7) == 7
print(memory.peak)
memory.during(lambda: torch.ones(400_000_000 // 4).sum())
memory.during(lambda: torch.ones(100_000_000 // 4).sum())
print(memory.peak)
"""
    run = run_python("-c", code)
    nothing, peak = map(int, run.stdout.split())
    assert nothing < 20e6
    assert peak == pytest.approx(400e6, abs=20e6)


def test_json_holds_what_the_table_shows(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    target = tmp_path / "new" / "speed.json"
    options = ["--chunk", "1", "--batch", "2", "--precision", "32,bf16", "--device", "cpu", "--json", str(target)]
    monkeypatch.setattr(sys, "argv", ["apollo", "benchmark", "-m", model, *options])
    with pytest.raises(SystemExit) as left:
        main()
    shown = capsys.readouterr().out
    assert not left.value.code
    assert str(target) in shown
    drawn = [line for line in shown.splitlines() if line[:1] in set("┏┃┡│├└")]  # sentences are left to the terminal
    assert max(map(len, drawn)) <= 80
    report = json.loads(target.read_text())
    [found] = report["models"]
    assert f"{found['parameters']:,} parameters in a file of {found['file_bytes'] / 1e6:.1f} MB" in shown
    assert f"{found['flops'] / 1e9:.2f} GFLOP" in shown
    assert f"{report['machine']['name']}, " in shown
    assert f"torch {torch.__version__}" in shown
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    labels = ["chunks of 1 s", "chunks of 1 s", "batch of 2 × 2 s", "1 s mono (paper)"]
    assert [row[0] for row in rows] == labels
    for row, values in zip(rows, found["measurements"], strict=True):
        assert row[1] == values["precision"]
        assert float(row[2].replace(",", "")) == pytest.approx(1000 * values["seconds"], abs=0.5)
        assert float(row[3].replace(",", "")) == pytest.approx(values["real_time"], abs=0.06)
        assert float(row[4].replace(",", "")) == pytest.approx(values["times_floor"], abs=0.006)
        assert row[5] == ("–" if values["memory"] is None else f"{values['memory'] / 1e6:,.0f}")
        assert float(row[6].replace(",", "")) == pytest.approx(values["matrix_rate"] / 1e12, abs=0.06)
    assert "paper gives" not in shown  # a figure of a GPU's says nothing beside a CPU's


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--precision", "fp8"], ["'fp8'", "32, bf16"]),
        (["--precision", "16", "--device", "cpu"], ["needs a GPU", "bf16"]),
        (["--device", "abacus"], ["'abacus'", "--device cpu"]),
        (["-m", "missing.ckpt"], ["missing.ckpt"]),
        (["--chunk", "0"], ["chunk", "1 to 3600"]),
        (["--chunk", "nan"], ["chunk", "1 to 3600"]),
        (["--chunk", "long"], ["--chunk", "'long'", "20,5"]),
        (["--batch", "0"], ["at least 1", "not 0"]),
        (["--batch", "1,,4"], ["--batch", "1,4"]),
        (["--json", "tests.json"], ["tests.json", "is a folder"]),
        (["--json", "song.mp3"], ["song.mp3", ".json"]),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(
    options: list[str],
    words: list[str],
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "tests.json").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "measure", lambda *_: pytest.fail("something was measured"))
    given = options if "-m" in options else ["-m", model, *options]
    monkeypatch.setattr(sys, "argv", ["apollo", "benchmark", *given])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    message = capsys.readouterr().err
    assert re.fullmatch(r"Error: [^\n]+\n", message), message
    for word in words:
        assert word in message


def test_a_gpu_that_is_not_there_is_refused(model: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ApolloError, match="no device 'cuda' on this machine"):
        benchmark([model], device="cuda")


def test_too_little_memory_is_said_with_what_it_was_for(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Apollo, "forward", exhausted)
    with pytest.raises(ApolloError, match=r"not enough memory for tiny\.safetensors, chunks of 1 s, precision 32"):
        benchmark([model], precisions=["32"], chunks=[1])


def test_help_has_an_example_and_does_not_wait_for_torch(run_python: Callable[..., Any]) -> None:
    program = """
import sys
from apollo.cli import main
sys.argv = ["apollo", "benchmark", "--help"]
try:
    main()
finally:
    assert not {"torch", "numpy"} & set(sys.modules)
"""
    result = run_python("-c", program)
    assert result.returncode == 0, result.stderr
    assert "Example: apollo benchmark " in result.stdout
