import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from apollo.errors import DataError
from apollo.evaluation.report import run_evaluation, short_names, tables, write_csv, write_json
from apollo.evaluation.results import UNPROCESSED, Evaluation, Failure, Score


@pytest.fixture
def result() -> Evaluation:
    """Two pieces; the score of one is not defined at 32, one failed at 128."""
    return Evaluation(
        codec="mp3",
        bitrates=[32, 64, 128],
        models=["runs/model.ckpt"],
        metrics=["visqol"],
        scores=[
            Score(piece, bitrate, system, {"visqol": value})
            for piece, bitrate, system, value in [
                ("a.wav", 32, UNPROCESSED, 2.0),
                ("a.wav", 32, "runs/model.ckpt", 3.5),
                ("b.wav", 32, UNPROCESSED, math.nan),
                ("b.wav", 32, "runs/model.ckpt", math.nan),
                ("a.wav", 64, UNPROCESSED, 3.0),
                ("a.wav", 64, "runs/model.ckpt", 4.0),
                ("b.wav", 64, UNPROCESSED, 4.0),
                ("b.wav", 64, "runs/model.ckpt", 4.5),
                ("a.wav", 128, UNPROCESSED, 4.6),
                ("a.wav", 128, "runs/model.ckpt", 4.5),
            ]
        ],
        failures=[Failure("b.wav", 128, "It broke.")],
    )


def rendered(result: Evaluation) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(tables(result))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_means_leave_out_what_is_not_defined(result: Evaluation) -> None:
    assert result.mean(UNPROCESSED, 32, "visqol") == 2
    assert result.mean(UNPROCESSED, 64, "visqol") == 3.5
    assert result.mean(UNPROCESSED, [32, 64], "visqol") == 2.75
    assert math.isnan(result.mean(UNPROCESSED, 24, "visqol"))


def test_table_shows_both_rows_their_difference_and_the_low_bitrates(result: Evaluation) -> None:
    rows = [
        [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]
        for line in rendered(result).splitlines()
    ]
    assert ["kbit/s", "32", "64", "128", "32–64", "all"] in rows
    assert ["MP3", "2.00", "3.50", "4.60", "2.75", "3.37"] in rows
    assert ["model.ckpt", "3.50", "4.25", "4.50", "3.88", "4.08"] in rows
    assert ["difference", "+1.50", "+0.75", "-0.10", "+1.12", "+0.72"] in rows


def test_csv_holds_every_score(result: Evaluation, tmp_path: Path) -> None:
    write_csv(result, tmp_path / "new" / "scores.csv")
    with (tmp_path / "new" / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.scores)
    expected = {"piece": "a.wav", "codec": "mp3", "bitrate_kbps": "32", "system": "unprocessed", "visqol": "2.000000"}
    assert rows[0] == expected
    assert rows[2]["visqol"] == ""


def test_json_holds_means_scores_and_failures(result: Evaluation, tmp_path: Path) -> None:
    write_json(result, tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["means"][0] == {"system": "unprocessed", "bitrate_kbps": 32, "values": {"visqol": 2.0}}
    assert report["scores"][2]["values"] == {"visqol": None}
    assert report["failures"] == [{"piece": "b.wav", "bitrate": 128, "reason": "It broke."}]
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_run_evaluation_prints_tables_and_failures_and_writes_the_report(tmp_path: Path, music: np.ndarray) -> None:
    folder = tmp_path / "originals"
    folder.mkdir()
    soundfile.write(folder / "song.flac", music[:, :60_000].T, 44_100)
    (folder / "broken.flac").write_bytes(b"not audio")
    console = Console(file=io.StringIO(), width=200)
    run_evaluation(folder, bitrates=(64,), workers=1, output=tmp_path / "report", console=console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for expected in ("ViSQOL", "SI-SDR", "Log-spectral distance", "Not evaluated: broken.flac at 64 kbit/s"):
        assert expected in shown
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"scores.csv", "report.json"}


def test_models_are_named_by_what_tells_them_apart() -> None:
    assert short_names(["runs/model.ckpt", "default"]) == ["model.ckpt", "default"]
    assert short_names(["a/b/best.ckpt", "c/b/best.ckpt", "a/last.ckpt"]) == [
        "a/b/best.ckpt",
        "c/b/best.ckpt",
        "last.ckpt",
    ]
    assert short_names(["best.ckpt", "runs/best.ckpt"]) == ["best.ckpt", "runs/best.ckpt"]
    assert short_names(["runs/best.ckpt", "runs/best.ckpt"]) == ["best.ckpt", "best.ckpt"]


def test_report_that_cannot_be_written_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "song.flac").write_bytes(b"never read")
    (tmp_path / "report").write_text("mine")
    monkeypatch.setattr("apollo.evaluation.report.evaluate", lambda *arguments, **options: pytest.fail("began"))
    for output in (tmp_path / "report", tmp_path / "report" / "inner"):
        with pytest.raises(DataError, match="report cannot be written to"):
            run_evaluation(tmp_path, output=output)
    assert (tmp_path / "report").read_text() == "mine"


def test_report_that_fails_half_way_leaves_nothing_behind(result: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "scores.csv" / "inner").mkdir(parents=True)
    with pytest.raises(DataError, match=r"scores\.csv cannot be written"):
        write_csv(result, tmp_path / "scores.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]
