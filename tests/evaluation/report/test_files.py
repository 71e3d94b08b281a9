import csv
import io
import json
import math
import re
from pathlib import Path

import pytest

from apollo.errors import DataError
from apollo.evaluation.report import Grids, markdown_tables, write_reports
from apollo.evaluation.report.files import scores_csv
from apollo.evaluation.report.latex import escaped as latex_escaped
from apollo.evaluation.results import UNPROCESSED, Condition, Evaluation, Score
from apollo.foreign import shown_in_csv

FILES = ["scores.csv", "averages.csv", "report.json", "report.md", "tables.tex", "report.html"]


@pytest.fixture
def folder(evaluation: Evaluation, tmp_path: Path) -> Path:
    """Where everything has been written."""
    written = write_reports(evaluation, [], tmp_path / "new" / "report", Grids.of(evaluation))
    assert written == [tmp_path / "new" / "report" / name for name in FILES]
    assert sorted(path.name for path in (tmp_path / "new" / "report").iterdir()) == sorted(FILES)
    return tmp_path / "new" / "report"


def test_csv_holds_every_score(evaluation: Evaluation, folder: Path) -> None:
    with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["piece", "kind", "codec", "bitrate_kbps", "system", "visqol", "si_sdr", "lsd"]
    read = [
        Score(
            row["piece"],
            row["kind"],
            Condition(row["codec"], int(row["bitrate_kbps"])),
            row["system"],
            {name: float(row[name] or "nan") for name in evaluation.metrics},
        )
        for row in rows
    ]
    assert len(read) == len(evaluation.scores)
    for ours, theirs in zip(read, evaluation.scores, strict=True):
        assert (ours.piece, ours.kind, ours.condition, ours.system) == (
            shown_in_csv(theirs.piece),
            theirs.kind,
            theirs.condition,
            theirs.system,
        )
        assert ours.values == pytest.approx(theirs.values, abs=1e-6, nan_ok=True)


def test_csv_holds_mean_and_deviation_in_columns_of_their_own(evaluation: Evaluation, folder: Path) -> None:
    with (folder / "averages.csv").open(newline="", encoding="utf-8") as file:
        rows = {(row["metric"], row["codec"], row["over"], row["system"]): row for row in csv.DictReader(file)}
    part = evaluation.at(codec="mp3", bitrates=[96])
    average, gain = part.average("default", "si_sdr"), part.gain("default", "si_sdr")
    row = rows["si_sdr", "mp3", "96", "default"]
    read = [float(row[name]) for name in ("mean", "sd", "change", "change_low", "change_high")]
    assert read == pytest.approx([average.mean, average.spread, gain.mean, gain.low, gain.high], abs=1e-6)
    assert int(row["pieces"]) == average.pieces
    assert rows["si_sdr", "mp3", "96", UNPROCESSED]["change"] == ""


def test_latex_holds_mean_and_deviation_and_escapes_what_it_must(evaluation: Evaluation, folder: Path) -> None:
    text = (folder / "tables.tex").read_text(encoding="utf-8")
    average = evaluation.at(codec="mp3", bitrates=[96]).average("default", "si_sdr")
    assert rf"${average.mean:.2f} \pm {average.spread:.2f}$" in text
    for sign in "&%#<>|~^":
        assert not re.search(rf"(?<!\\)\{sign}", latex_escaped(f"a {sign} b"))
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") > 3
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in body} == {5, 3}


def test_csv_leaves_the_bitrate_of_pairs_empty(evaluation: Evaluation) -> None:
    evaluation.scores = [Score("a", "", Condition("pairs"), UNPROCESSED, {"visqol": 1.0})]
    assert list(csv.reader(io.StringIO(scores_csv(evaluation))))[1] == [
        "a",
        "",
        "pairs",
        "",
        UNPROCESSED,
        "1.000000",
        "",
        "",
    ]


def test_json_holds_scores_averages_gains_and_failures(evaluation: Evaluation, folder: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    report = json.loads((folder / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert report["made"] == evaluation.made
    assert report["systems"] == evaluation.systems
    for ours, theirs in zip(report["scores"], evaluation.scores, strict=True):
        assert (ours["piece"], ours["kind"], ours["system"]) == (theirs.piece, theirs.kind, theirs.system)
        assert Condition(ours["codec"], ours["bitrate_kbps"]) == theirs.condition
        values = {name: math.nan if value is None else value for name, value in ours["values"].items()}
        assert values == pytest.approx(theirs.values, nan_ok=True)
    entry = next(
        e
        for e in report["averages"]
        if (e["metric"], e["codec"], e["over"], e["system"]) == ("si_sdr", "vorbis", "24–48", evaluation.systems[1])
    )
    part = evaluation.at(codec="vorbis", bitrates=[24, 48])
    gain = part.gain(evaluation.systems[1], "si_sdr")
    assert entry["mean"] == pytest.approx(part.mean(evaluation.systems[1], "si_sdr"))
    assert entry["gain"] == {"mean": gain.mean, "low": gain.low, "high": gain.high, "certain": gain.certain}
    assert {e["over"] for e in report["averages"] if e["codec"] is None} == {*evaluation.kinds, "all"}
    assert report["failures"][0]["reason"] == "It <broke> & stopped."


def test_markdown_says_what_the_evaluation_holds(evaluation: Evaluation, folder: Path) -> None:
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert markdown_tables(evaluation) in text
    part = evaluation.at(codec="mp3", bitrates=[96])
    average = part.average("default", "si_sdr")
    assert f"| {average.mean:.2f} ± {average.spread:.2f} |".replace("-", "−") in text
    for expected in (
        "0123abc",
        "75 s",
        "ViSQOL",
        "### Vorbis",
        "### Kinds of music",
        "It \\<broke\\>",
    ):
        assert expected in text
    assert "<script>" not in text
    assert "<i>" not in text
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {5 + 2, 3 + 2}


def test_certain_changes_are_bold_and_others_are_not(evaluation: Evaluation) -> None:
    text = markdown_tables(evaluation.at(codec="mp3", bitrates=[48]))
    visqol = text[text.index("## ViSQOL") :]
    assert "**+0.26** [0.26, 0.26]" in visqol
    assert " 0.00 [0.00, 0.00] " in visqol


def test_folder_that_cannot_be_written_gives_one_sentence_and_no_file(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    for folder in (tmp_path / "report", tmp_path / "report" / "inner"):
        with pytest.raises(DataError, match=r"cannot be written .*; give another folder\.$"):
            write_reports(evaluation, [], folder, Grids.of(evaluation))
    assert (tmp_path / "report").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_file_that_cannot_be_replaced_leaves_no_part_behind(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "scores.csv" / "inner").mkdir(parents=True)
    with pytest.raises(DataError, match=r"scores\.csv cannot be written"):
        write_reports(evaluation, [], tmp_path, Grids.of(evaluation))
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_names_that_are_no_text_can_be_written(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.scores = [Score("\udcff.flac", "", evaluation.conditions[0], UNPROCESSED, {"visqol": 1.0})]
    write_reports(evaluation, [], tmp_path, Grids.of(evaluation))
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["scores"][0]["piece"] == "\udcff.flac"


def test_unusual_evaluations_can_be_written(unusual: Evaluation, tmp_path: Path) -> None:
    write_reports(unusual, [], tmp_path, Grids.of(unusual))
    for name in FILES[1:]:
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "nan" not in text.replace("tenance", "")
        assert "None" not in text
