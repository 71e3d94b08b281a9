"""An evaluation as one web page that needs nothing else: no network, no font, no script but its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from apollo.evaluation.clips import Clip
from apollo.evaluation.report import charts
from apollo.evaluation.report.grids import Cell, Grid, Grids, between, codec_name, listed, number
from apollo.evaluation.report.media import takes
from apollo.evaluation.report.names import describe, labels, meaning, scale, split_side, verdict
from apollo.evaluation.report.sentences import cautions, findings, grouped
from apollo.evaluation.results import CONTROLS, PAIRS, UNPROCESSED, Evaluation
from apollo.foreign import shown
from apollo.player import Sound, element, script, style
from apollo.player.tiles import top_frequency

if TYPE_CHECKING:
    from jinja2 import Template

MOST_FAILURES_OPEN = 20
_GOOD_CHANGES = {True: ", above zero is better", False: ", below zero is better", None: ""}


def page(evaluation: Evaluation, clips: Sequence[Clip], grids: Grids) -> str:
    """Render the whole page; clips that show the same moment are shown once."""
    names, ranked = labels(evaluation), evaluation.ranked
    sections = [_section(evaluation, metric, grids) for metric in evaluation.metrics]
    return _template().render(
        title=_title(evaluation),
        subtitle=_subtitle(evaluation),
        facts=_facts(evaluation),
        notes=[shown(note) for note in cautions(evaluation)],
        found=_by_system(evaluation),
        systems=[
            {"label": names[system], "full": system, "mark": charts.legend_mark(index)}
            for index, system in enumerate(ranked.systems)
        ],
        sections=sections,
        controls=ranked.systems != evaluation.systems,
        clips=[_clip(evaluation, views) for views in _moments(clips)],
        failed=len(evaluation.failures),
        failures=[shown(sentence) for sentence in grouped(evaluation.failures)],
        failures_open=MOST_FAILURES_OPEN,
        player_style=Markup(style()),
        player_script=Markup(script()),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(number=number, between=between, verdict=verdict, describe=describe)
    return environment.get_template("report.html.jinja")


def _title(evaluation: Evaluation) -> str:
    """Who was evaluated on what."""
    source = shown(Path(evaluation.source).name or evaluation.source)
    systems = [label for system, label in labels(evaluation.ranked).items() if system != UNPROCESSED]
    return f"{listed(systems)} on {source}" if systems else f"{source}, unprocessed"


def _subtitle(evaluation: Evaluation) -> str:
    """What was evaluated, in one line."""
    pieces = len(evaluation.pieces)
    counted = f"{pieces} {'piece' if pieces == 1 else 'pieces'}"
    if evaluation.codecs == [PAIRS]:
        return f"{counted} in damaged and original versions"
    bitrates = evaluation.bitrates
    rates = (
        f"{bitrates[0]} to {bitrates[-1]} kbit/s" if len(bitrates) > 1 else f"{bitrates[0]} kbit/s" if bitrates else ""
    )
    codecs = listed([codec_name(codec) for codec in evaluation.codecs]) if evaluation.codecs else "no codec"
    return f"{counted} through {codecs} at {rates}" if rates else f"{counted} through {codecs}"


def _facts(evaluation: Evaluation) -> dict[str, str]:
    facts = {"source": evaluation.source, **evaluation.made}
    if evaluation.seconds:
        minutes, seconds = divmod(round(evaluation.seconds), 60)
        facts["took"] = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    return {shown(key).capitalize(): shown(value) for key, value in facts.items() if value}


def _by_system(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The findings, system by system; that on ViSQOL, or else the first, is the headline, unless a control wins it."""
    parts, names = findings(evaluation.ranked), labels(evaluation)
    systems = []
    for system in evaluation.ranked.systems:
        own = [[finding for finding in part.found if finding.system == system] for part in parts]
        if own and own[0]:
            telling = [finding for finding in own[0] if not evaluation.winning_controls(system, finding.metric)]
            head = min(telling, key=lambda finding: finding.metric != "visqol", default=None)
            systems.append(
                {
                    "label": names[system],
                    "sentence": head.sentence if head else f"No metric separates {names[system]} from a control",
                    "scope": parts[0].scope,
                    "headings": [part.heading for part in parts],
                    "rows": list(zip(*own, strict=True)),
                }
            )
    return systems


def _section(evaluation: Evaluation, name: str, grids: Grids) -> dict[str, Any]:
    """One metric: how to read it, its charts and its tables."""
    metric = describe(name)
    unit = f" in {metric.unit}" if metric.unit else ""
    many = [codec for codec in evaluation.codecs if len(evaluation.at(codec=codec).bitrates) > 1]
    ranked = evaluation.ranked
    compared = evaluation.codecs if len(ranked.systems) > 1 else []
    return {
        "label": metric.label,
        "scale": scale(name),
        "change": f"change{unit}{_GOOD_CHANGES[metric.higher_is_better]}",
        "meaning": meaning(name),
        "main": not split_side(name)[1],
        "curves": list(zip(map(codec_name, many), charts.curves(ranked, name, many), strict=True)),
        "boxes": list(zip(map(codec_name, compared), charts.boxes(ranked, name, compared), strict=True)),
        "tables": [_table(evaluation, grid) for grid in grids.by_bitrate if grid.metric == name],
        "kinds": [_table(evaluation, grid) for grid in grids.by_kind if grid.metric == name],
    }


def _table(evaluation: Evaluation, grid: Grid) -> dict[str, Any]:
    metric, names = describe(grid.metric), labels(evaluation)

    def goodness(cell: Cell) -> float:
        """To the decimals shown: what looks equal is equally good."""
        return round(metric.goodness(cell.average.mean), 2)

    best = [
        max((good for good in map(goodness, cells) if not math.isnan(good)), default=math.nan)
        for cells in zip(*grid.rows.values(), strict=True)
    ]
    return {
        "metric": grid.metric,
        "heading": "All codecs and bitrates" if grid.codec is None else grid.subject,
        "corner": "kind of music" if grid.codec is None else grid.corner,
        "columns": [shown(column) for column in grid.columns],
        "averages": [not column.isdigit() and (grid.codec is not None or column == "all") for column in grid.columns],
        "rows": [
            {
                "label": names[system],
                "mark": Markup("") if system in CONTROLS else charts.legend_mark(index),
                "cells": [
                    (cell, len(grid.rows) > 1 and goodness(cell) == top) for cell, top in zip(cells, best, strict=True)
                ],
            }
            for index, (system, cells) in enumerate(grid.rows.items())
        ],
    }


def _moments(clips: Sequence[Clip]) -> list[list[tuple[Clip, list[Sound]]]]:
    """Clips of one moment together: what is best for one system is often best for another."""
    moments: dict[tuple[Any, ...], list[Clip]] = {}
    for clip in clips:
        moments.setdefault((clip.piece, clip.condition, clip.start, tuple(clip.versions)), []).append(clip)
    encoded = takes([group[0] for group in moments.values()])
    return [
        [(first, versions), *((clip, versions) for clip in group[1:])]
        for (first, versions), group in zip(encoded, moments.values(), strict=True)
    ]


def _clip(evaluation: Evaluation, views: list[tuple[Clip, list[Sound]]]) -> dict[str, Any]:
    names = labels(evaluation)
    clip, versions = views[0]
    metric = describe(clip.metric)
    before = clip.scores.get(UNPROCESSED, math.nan)
    sounds = [versions[0]]
    for system, sound in zip(clip.versions, versions[1:], strict=True):
        mark = charts.legend_mark(evaluation.systems.index(system)) if system in evaluation.systems else Markup("")
        score = clip.scores.get(system, math.nan)
        figure = "" if math.isnan(score) else f"{metric.label} {number(score)}"
        if system != UNPROCESSED and not math.isnan(score - before):
            figure += f" ({number(score - before, signed=True)})"
        below = Markup('<p class="score">{}{}</p>').format(mark, figure) if figure else ""
        sounds.append(replace(sound, name=names.get(system, system), figure=below))
    samples = clip.original.shape[1]
    # What the clip was chosen for is heard first: the first of the sounds is the original.
    first = 1 + list(clip.versions).index(clip.system) if clip.system in clip.versions else 1
    player = element(
        sounds, clip.sample_rate, samples, top_frequency(clip.sample_rate), repeats=True, first_heard=first
    )
    minutes, start = divmod(clip.start, 60)
    return {
        "places": [{"place": other.place, "system": names.get(other.system, other.system)} for other, _ in views],
        "metric": metric.label,
        "piece": shown(clip.piece),
        "condition": str(clip.condition),
        "time": f"{int(minutes)}:{start:04.1f}",
        "seconds": f"{samples / clip.sample_rate:.1f}",
        "player": Markup(player),
    }
