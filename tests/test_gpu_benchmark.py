"""The benchmark for GPUs works: it is run in small on a CPU, for GPU time is too dear to be lost to a mistake in it."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
PARTS = {"machine", "correctness", "speed", "training", "restoring", "processes", "feeding"}


@pytest.mark.slow
def test_every_part_of_the_gpu_benchmark_works(
    tmp_path: Path,
    start_fork: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [str(BENCHMARK), "--device", "cpu", "--minutes", "120", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(subprocess, "Popen", lambda words, **options: start_fork(*words[1:], **options))
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(BENCHMARK), run_name="__main__")
    said = capsys.readouterr().out
    assert not left.value.code, said + (tmp_path / "gpu.log").read_text(encoding="utf-8")
    rows = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert [row for row in rows if "problem" in row and "only CUDA" not in row["problem"]] == []
    assert sum(row["table"] == "Goals" for row in rows) == 6
    assert all(row["right"] for row in rows if row["table"] == "Correctness")
    assert "| paper's 1 s of mono" in (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert all(f"{part}: " in said for part in PARTS)


def test_a_part_that_crashes_or_hangs_takes_nothing_else_along(tmp_path: Path) -> None:
    benchmark = tmp_path / "benchmarks"
    (benchmark / "gpu_parts").mkdir(parents=True)
    (benchmark / "gpu.py").write_bytes(BENCHMARK.read_bytes())
    row = "import json, sys\nopen(sys.argv[4], 'w').write(json.dumps({'table': 'Speed', 'of': '%s', 'ms': 1.5}))\n"
    endings = {
        "machine": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "speed": "import time; time.sleep(600)",
    }
    for part in ("machine", "speed", "feeding"):
        (benchmark / "gpu_parts" / f"{part}.py").write_text(row % part + endings.get(part, ""), encoding="utf-8")
    command = [sys.executable, str(benchmark / "gpu.py"), "--minutes", "0.2", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--parts", "machine", "speed", "feeding"], capture_output=True, text=True)
    assert done.returncode == 1
    rows = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert [row["of"] for row in rows if row["table"] == "Speed"] == ["machine", "speed", "feeding"]
    stopped = {row["part"]: row["problem"] for row in rows if row.get("wrong")}
    assert set(stopped) == {"machine", "speed"}
    assert "-9" in stopped["machine"]
    assert "stopped after" in stopped["speed"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_the_default_model_s_recipe_is_trained_for_a_time_and_leaves_its_results(
    stems: Path, tmp_path: Path, run_fork: Callable[..., Any]
) -> None:
    folders = [f"datas.{name}_dir={stems}" for name in ("train", "valid")]
    config = BENCHMARK.parents[1] / "configs" / "default-model-data.yaml"
    words = ["data", "prepare", "-c", config, tmp_path / "shards", *folders, "datas.segments=0.5"]
    words += ["datas.valid_crops=2", "--crops", "4", "--workers", "1"]
    assert run_fork("-m", "apollo", *words).returncode == 0
    small = ["model.fill={channels: 8, dilations: [1]}", "datas.segments=0.1", "datas.num_steps=1"]
    small += ["datas.num_workers=0", "datas.valid_crops=1", "datas.batch_size=1", "trainer.accelerator=cpu"]
    small += ["trainer.precision=32", "trainer.log_every_n_steps=1"]
    script = BENCHMARK.with_name("gpu_train.sh")
    command = ["bash", str(script), "0", str(tmp_path / "shards"), str(tmp_path / "out"), *small]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 epochs" in done.stdout
    result = tmp_path / "out" / "result"
    found = {path.name for path in result.iterdir()}
    assert found == {"best_model.safetensors", "last.ckpt", "config.yaml", "metrics.csv", "curves.png"}
