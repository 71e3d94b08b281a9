import io
import re

import pytest
from rich.console import Console

from apollo.evaluation.report import short_names, tables
from apollo.evaluation.report.grids import Grids, by_bitrate, number
from apollo.evaluation.results import UNPROCESSED, Condition, Evaluation, Score


def rendered(evaluation: Evaluation, width: int = 80, **options: object) -> str:
    console = Console(file=io.StringIO(), width=width, **options)
    console.print(tables(evaluation, Grids.of(evaluation)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_number_is_whole_in_80_columns(wide: Evaluation) -> None:
    evaluation = wide
    shown = rendered(evaluation)
    assert "…" not in shown
    assert max(len(line) for line in shown.splitlines()) <= 80
    words = shown.split()
    grids = Grids.of(evaluation)
    for grid in [*grids.by_bitrate, *grids.by_kind]:
        for system, cells in grid.rows.items():
            row = [number(cell.average.mean).replace("−", "-") for cell in cells]
            assert re.search(r" +".join(map(re.escape, row)), shown), (grid.metric, system, row)
            for cell in cells:
                assert cell.gain is None or number(cell.gain.mean, signed=True).replace("−", "-") in words
    assert {"MP3", "Vorbis", "Kinds", "ViSQOL", "SI-SDR", "24–64", "all", "model.ckpt", "default"} <= set(words)


def test_averages_that_repeat_a_column_are_left_out(wide: Evaluation) -> None:
    assert by_bitrate(wide, "visqol", "mp3").columns == ["24", "32", "48", "64", "96", "128", "24–64", "all"]
    assert by_bitrate(wide.at(bitrates=[24, 32]), "visqol", "mp3").columns == ["24", "32", "all"]
    assert by_bitrate(wide.at(bitrates=[64]), "visqol", "mp3").columns == ["64"]


def test_more_bitrates_than_fit_are_continued_below(evaluation: Evaluation) -> None:
    bitrates = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128]
    evaluation.conditions = [Condition("mp3", bitrate) for bitrate in bitrates]
    evaluation.scores = [
        Score("a", "", condition, system, dict.fromkeys(evaluation.metrics, 12.25))
        for condition in evaluation.conditions
        for system in evaluation.systems
    ]
    shown = rendered(evaluation)
    assert "…" not in shown
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert shown.count("12.25") == 3 * len(evaluation.systems) * (len(bitrates) + 2)


def test_colours_tell_better_from_worse_whichever_way_a_metric_goes() -> None:
    scores = [
        Score(str(piece), "", Condition("mp3", 64), system, {"visqol": value, "lsd": value})
        for piece in range(5)
        for system, value in ((UNPROCESSED, 2.0), ("model", 3.0))
    ]
    shown = rendered(
        Evaluation("", [Condition("mp3", 64)], [UNPROCESSED, "model"], ["visqol", "lsd"], scores),
        force_terminal=True,
        color_system="standard",
    )
    assert re.findall(r"\x1b\[(\d+)m *\+1\.00", shown) == ["32", "31"]


def test_unusual_evaluations_can_be_shown(unusual: Evaluation) -> None:
    shown = rendered(unusual)
    assert "nan" not in shown
    assert "…" not in shown


def test_names_cannot_send_codes_to_the_terminal(evaluation: Evaluation) -> None:
    evaluation.systems[1] = "evil\x1b[2J\n"
    evaluation.scores = []
    assert "\x1b[2J" not in rendered(evaluation)


@pytest.mark.parametrize(
    ("systems", "names"),
    [
        (["runs/model.ckpt", "default"], ["model.ckpt", "default"]),
        (["a/b/best.ckpt", "c/b/best.ckpt", "a/last.ckpt"], ["a/b/best.ckpt", "c/b/best.ckpt", "last.ckpt"]),
        (["best.ckpt", "runs/best.ckpt"], ["best.ckpt", "runs/best.ckpt"]),
        (["runs/best.ckpt", "runs/best.ckpt"], ["best.ckpt", "best.ckpt"]),
    ],
)
def test_systems_are_named_by_what_tells_them_apart(systems: list[str], names: list[str]) -> None:
    assert short_names(systems) == names
