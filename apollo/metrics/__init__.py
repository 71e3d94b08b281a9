"""How close a waveform is to the original it should equal.

Every metric takes `(original, estimate, sample_rate)`, both waveforms `(channels, samples)` at `sample_rate` in Hz,
computes in float64 and gives one float. Each channel is scored alone and the channels are averaged; only ViSQOL hears
their mean. Waveforms are read in blocks, so a `numpy.memmap` of hours needs no more memory than one of seconds, and
the score does not depend on where blocks end.

Both waveforms must have one shape, hold at least one sample and be finite; else `DataError`. Nothing is aligned,
trimmed or resampled to fit. NaN means "not defined for this original" and is left out of averages:

============  ======  =====================  ===============  ===============  ==========================
name          better  identical              silent original  silent estimate  one sample
============  ======  =====================  ===============  ===============  ==========================
`sdr`         higher  100                    NaN              -100             100 (a gain is a filter)
`si_sdr`      higher  100                    NaN              -100             NaN (a constant)
`snr`         higher  100                    NaN              0                as any length
`visqol`      higher  4.73                   NaN              1                NaN (anything under 1 s)
`lsd`         lower   0, also when silent    finite           finite           0 (its window begins at 0)
`lsd_raw`     lower   0, also when silent    finite           finite           0 (the same window)
`mrstft`      lower   0                      NaN              finite           NaN (the same window)
`log_wmse`    higher  73.68                  NaN              0                as any length
`envelope`    lower   0                      NaN              finite           NaN (under 512 samples)
`snr_below`   higher  100                    NaN              0                NaN (under 4096 samples)
`snr_above`   higher  100                    NaN              0                NaN (under 4096 samples)
`lost_band_`
`…level`      lower   0                      NaN              0 to 80          NaN (under 4096 samples)
`…bias`       near 0  0                      NaN              -80 to 0         NaN (under 4096 samples)
============  ======  =====================  ===============  ===============  ==========================

A channel that is silent in the original is left out in the same way. So are both in `snr_below` and `snr_above` where
the original holds less in the band than rounding to 16 bits puts there, or where there is no band: no cut-off, or one
at 0 Hz or at half the sample rate. `lost_band_level` and `lost_band_bias` are not defined where no band was lost.

Any name may end in `_mid` or `_side`: the same for (left + right) / 2 or (left - right) / 2 of a stereo waveform, NaN
for any other number of channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from apollo.errors import DataError, nearest
from apollo.metrics.bands import band_snr, codec_cutoff, snr_above, snr_below
from apollo.metrics.levels import envelope_error, lost_band_bias, lost_band_level, lost_bands
from apollo.metrics.log_wmse import log_wmse
from apollo.metrics.pairs import Pair, Waveform
from apollo.metrics.perceptual import visqol
from apollo.metrics.ratios import sdr, si_sdr, snr
from apollo.metrics.spectral import (
    log_spectral_distance,
    multi_resolution_stft_distance,
    raw_log_spectral_distance,
)

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "Metric",
    "Waveform",
    "band_snr",
    "codec_cutoff",
    "envelope_error",
    "log_spectral_distance",
    "log_wmse",
    "lost_band_bias",
    "lost_band_level",
    "lost_bands",
    "metric",
    "multi_resolution_stft_distance",
    "raw_log_spectral_distance",
    "sdr",
    "si_sdr",
    "snr",
    "snr_above",
    "snr_below",
    "visqol",
]


@dataclass(frozen=True)
class Metric:
    """A metric and how to read it."""

    label: str  # as a table shows it
    unit: str  # of its value; empty where it has none
    higher_is_better: bool | None  # whether a larger value is a better one; None where the nearer to 0 is the better
    function: Callable[..., float]  # `(original, estimate, sample_rate)` to value, and then what it `wants`
    meaning: str = ""  # what it tells, in a clause that follows its label
    wants: Sequence[Literal["cutoff", "lost"]] = ()  # which of `cutoff` and `lost` it is given
    sign: int = 0  # 1 for the mid and -1 for the side of stereo waveforms; 0 for all channels

    def score(
        self,
        original: Waveform,
        estimate: Waveform,
        sample_rate: int,
        cutoff: float | None = None,
        lost: NDArray[np.bool_] | None = None,
    ) -> float:
        """Score an estimate.

        `cutoff` is the codec's in Hz, from `codec_cutoff`, and `lost` what `lost_bands` gives. Without them the metrics
        that want them are not defined.
        """
        if self.sign:
            pair = Pair(original, estimate)
            if pair.channels != 2:
                for _ in pair.blocks():  # What cannot be scored is refused whether or not it is stereo.
                    pass
                return float("nan")
            original, estimate = _Mixed(original, self.sign), _Mixed(estimate, self.sign)
        known = {"cutoff": cutoff, "lost": lost}
        return self.function(original, estimate, sample_rate, *(known[name] for name in self.wants))

    def goodness(self, value: float) -> float:
        """A value on a scale where more is better."""
        return -abs(value) if self.higher_is_better is None else value if self.higher_is_better else -value


# The one place to enter a metric.
METRICS = {
    "sdr": Metric(
        "SDR",
        "dB",
        True,
        sdr,
        "energy of the original relative to everything else, after the best filter of 512 taps",
    ),
    "si_sdr": Metric(
        "SI-SDR",
        "dB",
        True,
        si_sdr,
        "energy of the original relative to everything else, independent of gain",
    ),
    "snr": Metric(
        "SNR",
        "dB",
        True,
        snr,
        "energy of the original relative to the difference, sample by sample",
    ),
    "visqol": Metric(
        "ViSQOL",
        "MOS",
        True,
        visqol,
        "predicted mean opinion of listeners, from 1 (bad) to 4.73 (no difference)",
    ),
    "lsd": Metric(
        "Log-spectral distance",
        "log10 power",
        False,
        log_spectral_distance,
        "distance of the spectra in level, frame by frame: the right energy in the right place, whatever the waveform; "
        "everything 80 dB below the level of the original counts as silence",
    ),
    "lsd_raw": Metric(
        "Log-spectral distance (raw)",
        "log10 power",
        False,
        raw_log_spectral_distance,
        "the same as published, down to 134 dB below full scale, where it mostly compares noise floors",
    ),
    "mrstft": Metric(
        "Multi-resolution STFT distance",
        "",
        False,
        multi_resolution_stft_distance,
        "distance of the spectra at several resolutions",
    ),
    "log_wmse": Metric(
        "log-WMSE",
        "",
        True,
        log_wmse,
        "error weighted by how well each frequency is heard, on a logarithmic scale; also defined for silence",
    ),
    "envelope": Metric(
        "Envelope error",
        "dB",
        False,
        envelope_error,
        "error of the temporal envelope, band by band; a constant level error costs nothing",
    ),
    "snr_below": Metric(
        "SNR below the cut-off",
        "dB",
        True,
        snr_below,
        "SNR in the frequencies that the codec kept: what it blurred",
        ("cutoff",),
    ),
    "snr_above": Metric(
        "SNR above the cut-off",
        "dB",
        True,
        snr_above,
        "SNR in the frequencies that the codec removed; silence scores 0 dB, and treble that sounds right but has "
        "other phases scores less",
        ("cutoff",),
    ),
    "lost_band_level": Metric(
        "Level error in lost bands",
        "dB",
        False,
        lost_band_level,
        "level error in bands that the damage emptied, whatever the phase: it shows whether lost treble is back",
        ("lost",),
    ),
    "lost_band_bias": Metric(
        "Level bias in lost bands",
        "dB",
        None,
        lost_band_bias,
        "how much these bands are too loud (above 0) or too quiet (below 0) on average",
        ("lost",),
    ),
}
DEFAULT_METRICS = ("sdr", "si_sdr", "visqol", "lsd", "lost_band_level")

_SIGNS = {"mid": 1, "side": -1}


def metric(name: str) -> Metric:
    """A metric by its key in `METRICS`, alone or followed by `_mid` or `_side`; raises DataError if there is none."""
    if name in METRICS:
        return METRICS[name]
    whole, _, part = name.rpartition("_")
    if whole not in METRICS or part not in _SIGNS:
        known = [*METRICS, *(f"{whole}_{part}" for whole in METRICS for part in _SIGNS)]
        raise DataError(f"There is no metric {name!r}; {nearest(name, known)}.")
    found = METRICS[whole]
    return replace(found, label=f"{found.label} ({part})", sign=_SIGNS[part])


@dataclass(frozen=True)
class _Mixed:
    """Mid (sign 1) or side (sign -1) of a stereo waveform, worked out as it is read."""

    stereo: Waveform
    sign: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, self.stereo.shape[1])

    def __getitem__(self, key: tuple[slice, slice], /) -> NDArray[np.floating[Any]]:
        left, right = np.asarray(self.stereo[key], dtype=np.float64)
        mixed: NDArray[np.float64] = (left + self.sign * right)[None] / 2
        return mixed
