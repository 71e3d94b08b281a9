"""The player as HTML: figures with pictures and sound, which a script turns into one player."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from apollo.foreign import shown
from apollo.player.tiles import RANGE_DB, TILE

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Sound:
    """One of the sounds that a player switches between."""

    name: str
    chunks: Sequence[str]  # addresses of its parts, each a file of its own; none where it has a picture only
    tiles: Sequence[str]  # addresses of its spectrogram, left to right
    columns: int  # of the spectrogram, in all
    gain: float = 1.0  # factor that makes all sounds equally loud; at most 1
    level: float = 1.0  # factor that it has in the difference of two
    cutoff_hz: float | None = None  # where a line is drawn across the picture
    spectrum: Sequence[float] = field(default=())  # its mean level from 0 Hz to the top of the picture, in dB
    note: str = ""  # more about it, in one line
    figure: str = ""  # HTML to stand below the picture


def element(
    sounds: Sequence[Sound],
    sample_rate: int,
    samples: int,
    top_hz: float,
    chunk: int | None = None,
    lead: int = 0,
    repeats: bool = False,
    first_heard: int = 1,
) -> str:
    """The player, to be put into a page that has `style` and, after the player or before, `script`.

    Args:
        sounds: Two or more; the others are compared with the first; all that are heard have one length.
        sample_rate: In Hz.
        samples: Their length.
        top_hz: Top of all pictures.
        chunk: Samples that each part adds; None where there is but one.
        lead: Samples before what is heard in all parts but the first.
        repeats: Whether to begin again at the end.
        first_heard: Number of the sound that is heard when playback starts, and that the first is compared with.
    """
    repeating = " data-repeats" if repeats else ""
    about = (
        f'data-rate="{sample_rate}" data-samples="{samples}" data-chunk="{chunk or samples}" data-lead="{lead}" '
        f'data-top="{top_hz:g}" data-range="{RANGE_DB:g}" data-first="{first_heard}"{repeating}'
    )
    figures = "".join(_figure(sound, top_hz) for sound in sounds)
    return f"<apollo-player {about}>{figures}</apollo-player>"


def _figure(sound: Sound, top_hz: float) -> str:
    name = escaped(sound.name)
    cutoff = f' data-cutoff="{sound.cutoff_hz:.0f}"' if sound.cutoff_hz else ""
    note = f"<small>{escaped(sound.note)}</small>" if sound.note else ""
    pictures = []
    for number, address in enumerate(sound.tiles):
        # The last tile is narrower; only the first is read out.
        width = min(TILE, sound.columns - number * TILE)
        alt = "" if number else f"Spectrogram of {name}, 0 to {top_hz / 1000:.0f} kHz"
        pictures.append(f'<img src="{escaped(address)}" alt="{alt}" style="flex-grow:{width}" decoding="async">')
    players = "".join(f'<audio controls preload="none" src="{escaped(address)}"></audio>' for address in sound.chunks)
    return (
        f'<figure data-name="{name}" data-gain="{sound.gain:.6g}" data-level="{sound.level:.6g}"{cutoff} '
        f'data-spectrum="{escaped(json.dumps(list(sound.spectrum)))}">'
        f'<figcaption><b>{name}</b>{note}</figcaption><div class="picture">{"".join(pictures)}</div>'
        f"{sound.figure}{players}</figure>"
    )


def escaped(text: str) -> str:
    """A foreign string as HTML shows it, in one line."""
    return html.escape(shown(text))


@cache
def style() -> str:
    """The player's style sheet."""
    return (_HERE / "player.css").read_text(encoding="utf-8")


@cache
def script() -> str:
    """The player's script, which names nothing outside of itself but the element."""
    parts = ("words.js", "engine.js", "abx.js", "curves.js", "element.js")
    inside = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in parts)
    return f'(() => {{\n"use strict";\n{inside}}})();\n'


def page(title: str, heading: str, lead: str, player: str) -> str:
    """A whole page around a player, which needs nothing else: no network, no font, no script but its own."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="apollo compare">
<title>{escaped(title)}</title>
<style>
body {{ margin: 0; background: #fcfcfa; color: #1b1f24; font: 16px/1.5 system-ui, sans-serif; }}
h1, p {{ overflow-wrap: anywhere; }}
main {{ max-width: 1240px; margin: 0 auto; padding: clamp(16px, 3vw, 40px); }}
h1 {{ font-size: clamp(1.3rem, 3vw, 1.9rem); line-height: 1.2; margin: 0; }}
.lead {{ color: #5d666f; margin: 6px 0 18px; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #111417; color: #e3e6e8; }} .lead {{ color: #a0a9b1; }} }}
{style()}
</style>
</head>
<body>
<main>
<h1>{escaped(heading)}</h1>
<p class="lead">{escaped(lead)}</p>
{player}
</main>
<script>
{script()}
</script>
</body>
</html>
"""
