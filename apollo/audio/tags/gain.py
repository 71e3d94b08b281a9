"""ReplayGain and R128 tags of sound whose level was changed.

Sources: the ReplayGain 2.0 specification; RFC 7845, section 5.2.1 for R128.
"""

from __future__ import annotations

import re

from apollo.audio.tags.model import Metadata


def corrected_gains(metadata: Metadata, gain: float, peak: float) -> Metadata:
    """Metadata whose gains lead changed sound to the loudness that the old ones led the old sound to.

    The sound was turned up by `gain` dB, and has this peak now; full scale is 1. Gains that cannot be read are dropped.
    """
    values: dict[str, list[str]] = {}
    unreadable = []
    for name, (text, *_) in metadata.tags.items():
        if re.fullmatch(r"replaygain_(track|album)_gain", name):
            match = re.fullmatch(r"([+-]?\d{1,3}(?:[.,]\d*)?)\s*(?:db)?", text.strip(), re.IGNORECASE)
            if match is None:
                unreadable.append(name)
            elif gain:
                values[name] = [f"{float(match[1].replace(',', '.')) - gain:+.2f} dB".replace("+", "")]
        elif re.fullmatch(r"r128_(track|album)_gain", name):
            if not re.fullmatch(r"[+-]?\d{1,5}", text.strip()):
                unreadable.append(name)
            elif gain:
                values[name] = [str(max(-32768, min(32767, round(int(text) - 256 * gain))))]
        elif name == "replaygain_track_peak":
            values[name] = [f"{peak:.6f}"]
        elif name == "replaygain_album_peak":
            match = re.fullmatch(r"\d+(?:[.,]\d*)?", text.strip())
            if match is None:
                unreadable.append(name)
            else:
                # Of the album as it would be if all of it had been changed so.
                values[name] = [f"{max(peak, float(text.replace(',', '.')) * 10 ** (gain / 20)):.6f}"]
        elif name.startswith("mp3gain_") or re.fullmatch(r"replaygain_(undo|(track|album)_(range|minmax))", name):
            unreadable.append(name)
    return metadata.with_tags(values, drop=unreadable)
