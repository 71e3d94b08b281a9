import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from apollo.evaluation.clips import Clip
from apollo.evaluation.report.grids import Grids, number
from apollo.evaluation.report.html import page
from apollo.evaluation.report.markdown import document
from apollo.evaluation.results import UNPROCESSED, Evaluation, Failure
from apollo.metrics import Metric

VOID = {"meta", "input", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """Checks that elements nest, and gathers what they say and refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def parsed(evaluation: Evaluation, clips: list[Clip]) -> Page:
    return Page(page(evaluation, clips, Grids.of(evaluation)))


def test_page_needs_nothing_else(evaluation: Evaluation, clip: Clip) -> None:
    text = page(evaluation, [clip], Grids.of(evaluation))
    assert re.search(r"https?://|@import|url\(", text) is None
    found = Page(text)
    for _, attributes in found.elements:
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert found.all("link") == []
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in found.all("a")} <= set(ids)


def test_names_cannot_add_elements(evaluation: Evaluation, clip: Clip) -> None:
    found = parsed(evaluation, [clip])
    assert len(found.all("script")) == 1
    assert found.all("i") == []
    assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)
    assert "kind/<script>alert('x')</script> & \"Ж日\"\\n|*_`.flac" in found.text
    assert "It <broke> & stopped." in found.text


def test_every_system_codec_and_metric_appears(evaluation: Evaluation) -> None:
    found = parsed(evaluation, [])
    for expected in ("unprocessed", "model.ckpt", "default", "MP3", "Vorbis", "ViSQOL", "SI-SDR", "0123abc"):
        assert expected in found.text
    charts = [svg["aria-label"] for svg in found.all("svg") if svg.get("role") == "img"]
    assert len(charts) == len(set(charts)) == 2 * len(evaluation.codecs) * len(evaluation.metrics)
    captions = len(evaluation.metrics) * (len(evaluation.codecs) + 1)
    assert len(found.all("caption")) == captions


def test_tables_hold_the_numbers(evaluation: Evaluation) -> None:
    text = re.sub(r"\s+", " ", parsed(evaluation, []).text)
    part = evaluation.at(codec="vorbis", bitrates=[96])
    average, gain = part.average(evaluation.systems[1], "si_sdr"), part.gain(evaluation.systems[1], "si_sdr")
    change = f"{number(gain.mean, signed=True)} [{number(gain.low)}, {number(gain.high)}]"
    assert f"{number(average.mean)} ± {number(average.spread)} {change}" in text


def test_verdict_follows_the_direction_of_the_metric(evaluation: Evaluation) -> None:
    for score in evaluation.scores:
        if score.system != UNPROCESSED:
            score.values.update(visqol=9.0, lsd=9.0)
    text = parsed(evaluation, []).text
    assert "model.ckpt raises ViSQOL by" in text
    assert "], n = 4 on average over" in text
    found = parsed(replace(evaluation, metrics=["lsd"]), [])
    classes = [span["class"] for span in found.all("span") if span.get("class", "").startswith("gain ")]
    assert classes.count("gain worse") > 20
    assert classes.count("gain better") == 2  # in the two keys


def test_clips_of_one_moment_share_a_player(evaluation: Evaluation, clip: Clip) -> None:
    again = replace(clip, place="best", system="default")
    later = replace(clip, start=90.0, scores={UNPROCESSED: math.nan})
    found = parsed(evaluation, [clip, again, later])
    assert len(found.all("audio")) == len(found.all("img")) == 2 * 3
    assert len(found.all("article")) == 2 + 2  # findings and players
    assert {audio["src"].partition(",")[0] for audio in found.all("audio")} == {"data:audio/flac;base64"}
    assert {image["src"].partition(",")[0] for image in found.all("img")} == {"data:image/png;base64"}
    assert all(image["alt"] for image in found.all("img"))
    assert "1:01.2" in found.text
    assert "ViSQOL 1.50 (−0.50)" in found.text


@pytest.mark.parametrize("clips", [False, True])
def test_unusual_evaluations_make_a_page(unusual: Evaluation, clip: Clip, clips: bool) -> None:
    found = parsed(unusual, [clip] if clips else [])
    assert "nan" not in found.text
    for _, attributes in found.elements:
        assert "nan" not in attributes.get("d", "")
        assert attributes.get("d", "M") != ""


def test_metric_without_a_unit_reads_well(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Metric("log-WMSE", "", True, lambda *arguments: 0.0)
    monkeypatch.setattr("apollo.evaluation.report.names.metric", lambda name: bare)
    evaluation.metrics = ["visqol"]
    grids = Grids.of(evaluation)
    for text in (parsed(evaluation, []).text, document(evaluation, grids)):
        assert "higher is better" in text
        assert re.search(r"[( ],|\d  \\?\[|in ,", text.replace("\n", "")) is None


def test_playback_starts_on_what_the_clip_was_chosen_for(evaluation: Evaluation, clip: Clip) -> None:
    (player,) = parsed(evaluation, [clip]).all("apollo-player")
    assert player["data-first"] == "2"  # after the original and the unprocessed
    assert float(player["data-range"]) == 90


def test_title_says_what_was_evaluated(evaluation: Evaluation) -> None:
    found = parsed(evaluation, [])
    for expected in ("model.ckpt and default on <i>my & songs", "4 pieces through MP3 and Vorbis at 24 to 96 kbit/s"):
        assert found.text.count(expected) == 2  # in the tab and on the page


def test_axes_have_titles_with_units(evaluation: Evaluation) -> None:
    text = parsed(evaluation, []).text
    for expected in ("SI-SDR, dB", "change in SI-SDR, dB", "change in ViSQOL, MOS", "bitrate, kbit/s"):
        assert expected in text


def test_what_failed_alike_is_told_once_in_every_report(evaluation: Evaluation) -> None:
    part = evaluation.conditions[0]
    failures = [Failure(f"{number}.flac", part, "other", "there is no folder mp3-24") for number in range(30)]
    alike = replace(evaluation, failures=failures)
    grids = Grids.of(alike)
    for text in (parsed(alike, []).text, document(alike, grids)):
        assert text.count("there is no folder mp3-24") == text.count("30 pieces of other") == 1
