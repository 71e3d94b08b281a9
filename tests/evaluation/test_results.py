import math

import numpy as np
import pytest
import scipy.stats

from apollo.evaluation import statistics
from apollo.evaluation.results import UNPROCESSED, Condition, Evaluation, Score
from apollo.evaluation.statistics import Interval, paired_interval

LOW, HIGH, OPUS = Condition("mp3", 24), Condition("mp3", 64), Condition("opus", 24)


def evaluation(values: dict[tuple[str, Condition, str], float], kind: str = "") -> Evaluation:
    scores = [Score(piece, kind, where, system, {"m": value}) for (piece, where, system), value in values.items()]
    return Evaluation("here", [LOW, HIGH, OPUS], [UNPROCESSED, "model"], ["m"], scores)


def bootstrapped(differences: list[list[float]]) -> Interval:
    """What many pieces get."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "FEW", 0)
        return paired_interval(differences)


def test_conditions_weigh_the_same_however_many_pieces_they_have() -> None:
    result = evaluation({("a", LOW, UNPROCESSED): 1, ("b", LOW, UNPROCESSED): 3, ("a", HIGH, UNPROCESSED): 10})
    assert result.average(UNPROCESSED, "m").mean == 6
    assert result.average(UNPROCESSED, "m").pieces == 2
    assert result.average(UNPROCESSED, "m").spread == pytest.approx(np.std([5.5, 3], ddof=1))


def test_undefined_values_are_left_out() -> None:
    result = evaluation({("a", LOW, UNPROCESSED): 1, ("b", LOW, UNPROCESSED): math.nan})
    assert result.mean(UNPROCESSED, "m") == 1
    assert math.isnan(result.mean("model", "m"))
    assert math.isnan(result.gain("model", "m").mean)


def test_a_part_holds_what_it_was_asked_for() -> None:
    result = evaluation({("a", where, UNPROCESSED): 1 for where in (LOW, HIGH, OPUS)}, kind="vocal")
    assert [score.condition for score in result.at(codec="mp3").scores] == [LOW, HIGH]
    assert result.at(bitrates=[24]).conditions == [LOW, OPUS]
    assert not result.at(kind="single stem").scores
    assert (result.codecs, result.bitrates, result.kinds) == (["mp3", "opus"], [24, 64], ["vocal"])


def test_gains_are_of_the_same_pieces_only() -> None:
    result = evaluation(
        {("a", LOW, UNPROCESSED): 1, ("a", LOW, "model"): 2, ("b", LOW, UNPROCESSED): 50, ("c", LOW, "model"): -9}
    )
    assert result.gain("model", "m").mean == 1


def test_the_interval_is_that_of_an_independent_bootstrap() -> None:
    differences = np.random.default_rng(3).normal(0.4, 1.0, 30)
    ours = bootstrapped([[value] for value in differences])
    theirs = scipy.stats.bootstrap(
        (differences,), np.mean, n_resamples=20_000, method="percentile", random_state=np.random.default_rng(1)
    ).confidence_interval
    assert ours.mean == pytest.approx(differences.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_conditions_of_one_piece_are_no_further_evidence() -> None:
    values = np.random.default_rng(0).normal(0, 1, 12)
    once = bootstrapped([[value] for value in values])
    repeated = bootstrapped([[value] * 20 for value in values])
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high))
    assert repeated.certain == once.certain


def test_one_piece_has_no_interval() -> None:
    assert math.isnan(bootstrapped([[1.0, 2.0]]).low)
    assert not bootstrapped([[1.0]]).certain
    assert bootstrapped([[1.0], [1.5]]).certain


def test_the_interval_of_few_pieces_is_that_of_student() -> None:
    values = np.random.default_rng(0).normal(0.4, 1.0, 5)
    ours = paired_interval([[value, value + 0.5] for value in values])
    theirs = scipy.stats.ttest_1samp(values + 0.25, 0).confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert ours.pieces == 5
    many = [[value] for value in np.random.default_rng(0).normal(0.4, 1.0, 20)]
    assert paired_interval(many) == bootstrapped(many)


@pytest.mark.parametrize("pieces", [3, 5, 12])
def test_intervals_hold_the_truth_as_often_as_they_say(pieces: int) -> None:
    generator = np.random.default_rng(pieces)
    intervals = [paired_interval([[value] for value in generator.normal(0, 1, pieces)]) for _ in range(1000)]
    covered = sum(interval.low < 0 < interval.high for interval in intervals)
    assert 925 < covered < 975


def test_pieces_with_more_conditions_weigh_more() -> None:
    interval = paired_interval([[1.0, 1.0, 1.0], [2.0]])
    assert interval.mean == 1.25
    assert interval.low < 1.25 < interval.high
