import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from apollo.errors import DataError, StoppedError
from apollo.evaluation import run as module
from apollo.evaluation.run import SCOREBOOK, run_evaluation
from apollo.evaluation.systems import Settings

SAMPLE_RATE = 44_100
TINY_MODEL = str(Path(__file__).parents[1] / "golden" / "apollo-tiny.msst.ckpt")


@pytest.fixture
def folder(tmp_path: Path, chords: np.ndarray) -> Path:
    (tmp_path / "music").mkdir()
    for number in range(2):
        soundfile.write(tmp_path / "music" / f"{number}.wav", chords[:, : 70_000 + number].T, SAMPLE_RATE)
    return tmp_path / "music"


def console() -> Console:
    return Console(file=io.StringIO(), width=80)


def test_everything_is_written_and_told(folder: Path, tmp_path: Path) -> None:
    report, out = tmp_path / "report", console()
    (folder / "broken.flac").write_bytes(b"no audio")
    result = run_evaluation(
        folder,
        Settings([TINY_MODEL], metrics=("si_sdr", "lsd")),
        bitrates=(64,),
        output=report,
        command="apollo evaluate x",
        console=out,
    )
    text = re.sub(r"\s+", " ", out.file.getvalue())  # type: ignore[attr-defined]
    assert "3 recordings" in text
    assert "Not evaluated: broken.flac (MP3 64 kbit/s)" in text
    for name in ("report.html", "report.md", "report.json", "scores.csv", SCOREBOOK):
        assert (report / name).stat().st_size > 100, name
    told = json.loads((report / "report.json").read_text())
    assert told["made"]["command"] == "apollo evaluate x"
    assert len(result.scores) == 4


def test_nothing_is_written_unless_asked(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    run_evaluation(folder, Settings(metrics=("si_sdr",)), bitrates=(64,), console=console())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_report_that_cannot_be_written_is_known_before_the_work(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="give another folder"):
        run_evaluation(folder, Settings(), output=tmp_path / "file", console=console())


def test_ctrl_c_says_what_is_kept(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = module.evaluate

    def interrupted(*arguments: object, progress: object, **options: object) -> None:
        def stop(done: int, total: int, piece: str) -> None:
            progress(done, total, piece)  # type: ignore[operator]
            if done == 1:
                raise KeyboardInterrupt

        evaluate(*arguments, progress=stop, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "evaluate", interrupted)
    with pytest.raises(StoppedError, match="1 of 2 cases are kept") as stopped:
        run_evaluation(
            folder, Settings(metrics=("si_sdr",)), bitrates=(64,), output=tmp_path / "report", console=console()
        )
    assert stopped.value.code == 130
