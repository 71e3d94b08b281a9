"""Charts as inline SVG: means by bitrate as lines, changes of the single pieces as boxes.

Colours, line widths and fonts are left to the page's style sheet, so that a chart follows its light and dark forms. A
system is told by its class (`s0` is the unprocessed signal) and by the form of its marks, not by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from apollo.evaluation.report.grids import codec_name, number
from apollo.evaluation.report.names import describe, labels
from apollo.evaluation.results import PAIRS, UNPROCESSED, Evaluation

WIDTH, HEIGHT = 320, 204
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 10, 38
STYLES = 6  # systems that look different; the next look like the first again
MOST_DOTS = 40  # pieces that are drawn one by one beside their box


@dataclass(frozen=True)
class Axis:
    """The range of a chart's values, the same for all codecs so that they can be compared."""

    low: float  # the lowest tick
    high: float  # the highest
    step: float  # between ticks

    @classmethod
    def around(cls, values: Sequence[float]) -> Axis:
        """The smallest range with about six ticks, at 1, 2 or 5 times a power of ten, that holds all values."""
        low, high = min(values, default=0.0), max(values, default=1.0)
        if high - low < 1e-9:
            low, high = low - 0.5, high + 0.5
        rough = (high - low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
        return cls(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step)

    @property
    def ticks(self) -> list[float]:
        """From low to high."""
        return [self.low + n * self.step for n in range(round((self.high - self.low) / self.step) + 1)]

    def y(self, value: float) -> float:
        """Where a value lies in the picture."""
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low), 1)


def curves(evaluation: Evaluation, metric: str, codecs: Sequence[str]) -> list[Markup]:
    """One chart a codec: the mean of each system over bitrate."""
    means = {
        (codec, system): [
            (bitrate, mean)
            for bitrate in evaluation.at(codec=codec).bitrates
            if math.isfinite(mean := evaluation.at(codec=codec, bitrates=[bitrate]).mean(system, metric))
        ]
        for codec in codecs
        for system in evaluation.systems
    }
    axis = Axis.around([mean for points in means.values() for _, mean in points])
    return [
        _curve(evaluation, metric, codec, {s: means[codec, s] for s in evaluation.systems}, axis) for codec in codecs
    ]


def _curve(
    evaluation: Evaluation, metric: str, codec: str, points: dict[str, list[tuple[int, float]]], axis: Axis
) -> Markup:
    bitrates, names = evaluation.at(codec=codec).bitrates, labels(evaluation)
    x = _positions([str(bitrate) for bitrate in bitrates])
    parts, told = [_frame(axis, x), _titles(axis_title(metric), "bitrate, kbit/s")], []
    for index, (system, line) in enumerate(points.items()):
        places = [(x[str(bitrate)], axis.y(mean)) for bitrate, mean in line]
        if places:
            path = "L".join(f"{px} {py}" for px, py in places)
            parts.append(Markup('<path class="line {}" d="M{}"/>').format(style(index), path))
        for (px, py), (bitrate, mean) in zip(places, line, strict=True):
            title = f"{names[system]}, {bitrate} kbit/s: {number(mean)}"
            parts.append(
                Markup('<g class="mark {}"><title>{}</title>{}</g>').format(style(index), title, mark(index, px, py))
            )
        told.append(f"{names[system]}: {', '.join(f'{number(mean)} at {bitrate}' for bitrate, mean in line)}")
    title = f"{describe(metric).label} by bitrate, {codec_name(codec)}"
    return _svg(title, "; ".join(told), parts)


def boxes(evaluation: Evaluation, metric: str, codecs: Sequence[str]) -> list[Markup]:
    """One chart a codec: for each bitrate and system the gains of the single pieces over the unprocessed signal.

    Boxes reach from the first to the third quartile with the median between; whiskers to the farthest piece within 1.5
    times the box's length (Tukey). Every piece is a dot, or only those beyond the whiskers where there are many.
    """
    gains = {
        (codec, s): _gains(evaluation.at(codec=codec), s, metric) for codec in codecs for s in evaluation.systems[1:]
    }
    axis = Axis.around([0.0, *(gain for columns in gains.values() for column in columns.values() for gain in column)])
    return [
        _boxes(evaluation, metric, codec, {s: gains[codec, s] for s in evaluation.systems[1:]}, axis)
        for codec in codecs
    ]


def _gains(part: Evaluation, system: str, metric: str) -> dict[str, list[float]]:
    """A system's gains on the single pieces, by bitrate; under "all pairs" where there is none."""
    ours, before = part.values(system, metric), part.values(UNPROCESSED, metric)
    columns: dict[str, list[float]] = {_column(condition.bitrate): [] for condition in part.conditions}
    for key in ours:
        if key in before and math.isfinite(ours[key] - before[key]):
            columns[_column(key[1].bitrate)].append(ours[key] - before[key])
    return columns


def _column(bitrate: int | None) -> str:
    return "all pairs" if bitrate is None else str(bitrate)


def _boxes(
    evaluation: Evaluation, metric: str, codec: str, gains: dict[str, dict[str, list[float]]], axis: Axis
) -> Markup:
    names = labels(evaluation)
    x = _positions(list(next(iter(gains.values()), {})))
    zero = axis.y(0)
    titles = _titles(axis_title(metric, change=True), "" if codec == PAIRS else "bitrate, kbit/s")
    parts = [_frame(axis, x), titles, Markup(f'<path class="zero" d="M{LEFT} {zero}H{WIDTH - RIGHT}"/>')]
    slot = (WIDTH - LEFT - RIGHT) / max(1, len(x))
    breadth = min(18.0, 0.8 * slot / max(1, len(gains)))
    told = []
    for index, (system, by_column) in enumerate(gains.items(), start=1):
        offset = (index - (len(gains) + 1) / 2) * breadth
        for column, values in by_column.items():
            if values:
                middle = number(float(np.median(values)), signed=True)
                told.append(f"{names[system]} {column}: median {middle}")
                title = f"{names[system]}, {column}: median {middle}, {len(values)} pieces"
                parts.append(
                    Markup('<g class="box {}"><title>{}</title>{}</g>').format(
                        style(index), title, _box(values, x[column] + offset, 0.62 * breadth, axis)
                    )
                )
    title = f"Change in {describe(metric).label} of the single pieces, {codec_name(codec)}"
    return _svg(title, "; ".join(told), parts)


def _box(values: Sequence[float], x: float, breadth: float, axis: Axis) -> Markup:
    low, middle, high = (float(v) for v in np.quantile(values, (0.25, 0.5, 0.75)))
    reach = 1.5 * (high - low)
    bottom = min((v for v in values if v >= low - reach), default=low)
    top = max((v for v in values if v <= high + reach), default=high)
    left, right = round(x - breadth / 2, 1), round(x + breadth / 2, 1)
    x = round(x, 1)
    dots = values if len(values) <= MOST_DOTS else [v for v in values if not bottom <= v <= top]
    # A line of no length with round ends is a dot: a tenth of the bytes of a circle.
    path = "".join(f"M{x} {axis.y(value)}h0" for value in dots)
    return Markup(
        f'<path class="whisker" d="M{x} {axis.y(top)}V{axis.y(high)}M{x} {axis.y(low)}V{axis.y(bottom)}"/>'
        f'<path class="body" d="M{left} {axis.y(high)}H{right}V{axis.y(low)}H{left}Z"/>'
        f'<path class="median" d="M{left} {axis.y(middle)}H{right}"/><path class="dots" d="{path}"/>'
    )


def style(index: int) -> str:
    """The class of a system by its place in `Evaluation.systems`."""
    return "s0" if index == 0 else f"s{(index - 1) % STYLES + 1}"


def mark(index: int, x: float, y: float) -> Markup:
    """The form by which a system is told from the others."""
    forms = (
        f'<circle cx="{x}" cy="{y}" r="2.6"/>',
        f'<circle cx="{x}" cy="{y}" r="3.4"/>',
        f'<path d="M{x - 3.2:g} {y - 3.2:g}h6.4v6.4h-6.4z"/>',
        f'<path d="M{x} {y - 4.2:g}l4 7h-8z"/>',
        f'<path d="M{x} {y - 4.4:g}l4.4 4.4l-4.4 4.4l-4.4 -4.4z"/>',
        f'<path d="M{x} {y + 4.2:g}l4 -7h-8z"/>',
        f'<path d="M{x - 1.3:g} {y - 4:g}h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z"/>',
    )
    return Markup(forms[0 if index == 0 else (index - 1) % STYLES + 1])


def legend_mark(index: int) -> Markup:
    """A piece of line with a system's mark on it."""
    return Markup(
        f'<svg class="swatch" viewBox="0 0 28 12" aria-hidden="true"><path class="line {style(index)}" d="M1 6H27"/>'
        f'<g class="mark {style(index)}">{mark(index, 14, 6)}</g></svg>'
    )


def _positions(columns: Sequence[str]) -> dict[str, float]:
    """The middle of each column; all are equally broad."""
    slot = (WIDTH - LEFT - RIGHT) / max(1, len(columns))
    return {column: round(LEFT + slot * (n + 0.5), 1) for n, column in enumerate(columns)}


def _frame(axis: Axis, x: dict[str, float]) -> Markup:
    digits = max(0, -math.floor(math.log10(axis.step) + 1e-9))
    parts = []
    for tick in axis.ticks:
        y, text = axis.y(tick), f"{abs(tick) if abs(tick) < axis.step / 2 else tick:.{digits}f}".replace("-", "−")
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:g}" text-anchor="end">{text}</text>')
    # Every label of up to ten columns, every second of up to twenty.
    for column, place in list(x.items())[:: math.ceil(len(x) / 10) or 1]:
        parts.append(f'<text class="tick" x="{place}" y="{HEIGHT - 22}" text-anchor="middle">{column}</text>')
    return Markup("".join(parts))


def axis_title(metric: str, change: bool = False) -> str:
    """What an axis shows, with its unit: `change in SI-SDR, dB`."""
    about = describe(metric)
    title = f"change in {about.label}" if change else about.label
    return f"{title}, {about.unit}" if about.unit else title


def _titles(upright: str, below: str) -> Markup:
    """The titles of both axes; a long one is set closer, so that it stays as long as its axis."""
    middle, length = TOP + (HEIGHT - TOP - BOTTOM) / 2, HEIGHT - TOP - 4
    fitted = Markup(' textLength="{}" lengthAdjust="spacingAndGlyphs"').format(length) if len(upright) > 36 else ""
    return Markup(
        '<text class="title" x="{}" y="12" transform="rotate(-90)" text-anchor="middle"{}>{}</text>'
        '<text class="title" x="{}" y="{}" text-anchor="middle">{}</text>'
    ).format(-middle if not fitted else -HEIGHT / 2, fitted, upright, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, below)


def _svg(title: str, description: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}"><desc>{}</desc>{}</svg>').format(
        WIDTH, HEIGHT, title, description, Markup("").join(parts)
    )
