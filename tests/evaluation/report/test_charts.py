import re

import numpy as np
import pytest

from apollo.evaluation.report import charts
from apollo.evaluation.report.charts import Axis
from apollo.evaluation.results import UNPROCESSED, Condition, Evaluation, Score


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([1.9, 4.1], 1.5, 4.5),
        ([0.0, 0.0], -0.6, 0.6),
        ([-3.0, 250.0], -100, 300),
        ([], 0, 1),
        ([1e-4, 2e-4], 1e-4, 2e-4),
    ],
)
def test_axis_ends_at_round_numbers_around_all_values(values: list[float], low: float, high: float) -> None:
    axis = Axis.around(values)
    assert (axis.low, axis.high) == pytest.approx((low, high))
    assert 3 <= len(axis.ticks) <= 8
    assert axis.ticks[-1] == pytest.approx(axis.high)


def line(pieces: int = 5) -> Evaluation:
    conditions = [Condition("mp3", bitrate) for bitrate in (24, 64, 128)]
    scores = [
        Score(str(piece), "", condition, system, {"visqol": value + (piece == 4) * (system != UNPROCESSED)})
        for piece in range(pieces)
        for condition, before in zip(conditions, (1.0, 2.0, 3.0), strict=True)
        for system, value in ((UNPROCESSED, before), ("model", 3.0))
    ]
    return Evaluation("", conditions, [UNPROCESSED, "model"], ["visqol"], scores)


def test_curves_pass_through_the_means() -> None:
    [chart] = charts.curves(line(4), "visqol", ["mp3"])
    unprocessed, model = re.findall(r'class="line s\d" d="M([^"]*)"', chart)
    places = [[float(n) for n in point.split()] for point in unprocessed.split("L")]
    assert np.diff([x for x, _ in places]) == pytest.approx([places[1][0] - places[0][0]] * 2, abs=0.2)
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
    assert len({point.split()[1] for point in model.split("L")}) == 1
    assert "<title>model, 24 kbit/s: 3.00</title>" in chart
    assert "model: 3.00 at 24, 3.00 at 64, 3.00 at 128" in chart


def test_boxes_show_every_piece_and_the_median() -> None:
    [chart] = charts.boxes(line(), "visqol", ["mp3"])
    dots = re.findall(r'class="dots" d="([^"]*)"', chart)
    assert [path.count("M") for path in dots] == [5, 5, 5]
    assert "<title>model, 24: median +2.00, 5 pieces</title>" in chart
    assert "<title>model, 128: median 0.00, 5 pieces</title>" in chart


def test_many_pieces_leave_only_those_beyond_the_whiskers() -> None:
    [chart] = charts.boxes(line(60), "visqol", ["mp3"])
    assert [path.count("M") for path in re.findall(r'class="dots" d="([^"]*)"', chart)] == [1, 1, 1]


def test_systems_differ_in_form_as_well_as_colour() -> None:
    forms = [charts.mark(index, 10, 10) for index in range(charts.STYLES + 1)]
    assert len(set(forms)) == charts.STYLES + 1
    assert len({charts.style(index) for index in range(charts.STYLES + 1)}) == charts.STYLES + 1
