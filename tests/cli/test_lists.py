from pathlib import Path

import pytest

from apollo.cli.data import places_and_rates
from apollo.cli.evaluate import whole_kilobits
from apollo.cli.terminal import parse_bitrates
from apollo.errors import ApolloError, ConfigError


@pytest.mark.parametrize("text", ["24k,64k", "24,64", "24000, 64000", " 24k , 64"])
def test_bitrates_have_commas_between_them_in_every_verb(text: str) -> None:
    assert parse_bitrates(text) == [24_000, 64_000]
    assert [whole_kilobits(rate) for rate in parse_bitrates(text)] == [24, 64]


@pytest.mark.parametrize("text", ["", "24,", "fast", "64 96", "-64", "6" * 5000, "64kk", "1.5"])
def test_what_is_no_bitrate_is_named(text: str) -> None:
    with pytest.raises(ApolloError, match="separated by commas, such as 24k,64k"):
        parse_bitrates(text)


def test_a_folder_with_a_name_like_a_bitrate_is_a_folder() -> None:
    expected = (Path("1999"), Path("64k"), [96_000])
    assert places_and_rates(["1999", "64k"], ["96k"]) == expected
    assert places_and_rates(["1999", "64k"], None) == (*expected[:2], [])


def test_bitrates_without_commas_are_still_understood() -> None:
    expected = (Path("music"), Path("pairs"), [64_000, 96_000, 128_000])
    assert places_and_rates(["music", "pairs", "96k", "128k"], ["64k"]) == expected
    assert places_and_rates(["96k", "128k", "music", "pairs"], ["64k"]) == expected
    assert places_and_rates(["music", "pairs"], ["64k", "96k,128k"]) == expected


def test_what_may_be_a_folder_or_a_bitrate_is_not_guessed() -> None:
    with pytest.raises(ConfigError, match="bitrates have commas between them"):
        places_and_rates(["1999", "pairs", "96k"], ["64k"])
