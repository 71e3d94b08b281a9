"""Everything that a GPU is wanted for, in one call: is it right, how fast is it, how far from the chip's limits.

    python benchmarks/gpu.py [--minutes 9] [--out gpu-report]
    python benchmarks/gpu.py --device cpu --minutes 5         # the same in small, to see that it works

Needs this repository, PyTorch with CUDA, numpy and safetensors; what else is missing is named, and only what cannot do
without it is left out. Each part (`benchmarks/gpu_parts`) runs in a process of its own, so that one that crashes or
hangs takes nothing else along, and has a share of the time that is left. After every part, `gpu.json` and `gpu.md` in
the output folder hold all that is known so far, and `gpu.log` what the parts said. The exit code is 1 if something
failed or is wrong; goals that are missed and things left out do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Each part's share of the time, of which the next ones get what it leaves. What has never run on a GPU comes first:
# whether it is right, then how fast. The first part also reads PyTorch from a cold disk.
PARTS = {"machine": 3, "correctness": 4, "speed": 6, "training": 5, "restoring": 4, "processes": 3, "feeding": 2}
GRACE = 15.0  # seconds between the time at which a part stops beginning things and that at which it is stopped

Row = dict[str, Any]


def main() -> None:
    """Run the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="for all of it")
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), metavar="DIR")
    parser.add_argument("--device", default="cuda", help="on a cpu, everything is made small")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * arguments.minutes
    rows: list[Row] = []
    with (arguments.out / "gpu.log").open("wb") as log:
        for index, part in enumerate(arguments.parts):
            waiting = sum(PARTS[later] for later in arguments.parts[index:])
            seconds = (end - time.monotonic()) * PARTS[part] / waiting
            began = time.monotonic()
            rows += run(part, arguments.device, seconds, arguments.out, log)
            print(f"{part}: {time.monotonic() - began:.0f} s of {seconds:.0f}", flush=True)
            (arguments.out / "gpu.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
            (arguments.out / "gpu.md").write_text(markdown(rows), encoding="utf-8")
    print((arguments.out / "gpu.md").read_text(encoding="utf-8"))
    sys.exit(any(row.get("wrong") for row in rows))


def run(part: str, device: str, seconds: float, out: Path, log: Any) -> list[Row]:
    """Run a part, and give the rows that it wrote, with one more if it did not come to its end."""
    written = out / f"{part}.jsonl"
    written.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / "gpu_parts" / f"{part}.py"), "--device", device, "--rows", str(written)]
    command += ["--seconds", str(max(seconds - GRACE, seconds / 2))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE.parent), os.environ.get("PYTHONPATH", "")))}
    # In a session of its own, so that what it has started can be ended with it.
    process = subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=os.name == "posix"
    )
    try:
        code = process.wait(max(seconds, 1))
        ended = "" if code == 0 else f"it ended with code {code}, see gpu.log"
    except subprocess.TimeoutExpired:
        stop(process)
        ended = f"stopped after {seconds:.0f} s, see gpu.log"
    rows = [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()] if written.exists() else []
    written.unlink(missing_ok=True)
    if ended:
        rows.append({"table": "Parts that did not end", "part": part, "problem": ended, "wrong": True})
    return rows


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it has started."""
    if os.name == "posix":
        os.killpg(process.pid, 9)
    else:
        process.kill()
    process.wait()


def markdown(rows: Sequence[Row]) -> str:
    """All rows as tables, goals and what went wrong first."""
    tables: dict[str, list[Row]] = {"Wrong": [], "Goals": []}
    for row in rows:
        tables.setdefault(row["table"], []).append(row)
        if row.get("wrong"):
            tables["Wrong"].append({"of": row["table"], **row})
    parts = []
    for name, members in tables.items():
        columns = [key for key in dict.fromkeys(key for row in members for key in row) if key not in ("table", "wrong")]
        if members:
            lines = [columns, ["---"] * len(columns), *([cell(row.get(key)) for key in columns] for row in members)]
            parts.append(f"## {name}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines))
    return "\n".join(parts)


def cell(value: object) -> str:
    """A value as a table shows it."""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    main()
