"""Similarity to the original as hearing resolves it: the measure that ViSQOL is built on, with a gradient.

A waveform becomes a gammatone spectrum: its power in 32 bands of hearing, in windows of 80 ms, 20 ms apart. Two of
these are compared as pictures by the neurogram similarity index (NSIM), which asks for the same course in time and over
frequency more than for the same level.

Sources: Hines, Skoglund, Kokaram & Harte, "ViSQOL: an objective speech quality model", EURASIP J. Audio Speech Music
Process. 2015:13, eq. 1-2; Chinen et al., "ViSQOL v3: An Open Source Production Ready Objective Speech and Audio
Metric", QoMEX 2020, for the spectrum of music; Slaney, "An Efficient Implementation of the Patterson-Holdsworth
Auditory Filter Bank", Apple TR 35, 1993, for the filters.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

BANDS = 32
LOWEST_HZ, HIGHEST_HZ = 50.0, 24000.0
FILTER_RATE = 48000  # of ViSQOL's filters in Hz; their shape depends on it near the top
WINDOW_SECONDS, HOP_SECONDS = 0.08, 0.02
FLOOR = 1e-9  # of a frame's loudest band: 90 dB below it
SILENCE = 1e-9  # power below which nothing is heard, of full scale
INTENSITY = 1e-4  # C1 of NSIM
# C3 of NSIM, 0.00045 in ViSQOL: a larger one keeps the gradient from imitating the noise of steady originals.
STRUCTURE = 3e-2


class GammatoneSpectrum(nn.Module):
    """Power in the bands of hearing over time; `(items, samples)` → `(items, bands, frames)`, low bands first.

    Frames lie inside the waveform wholly, the first at its start.

    Args:
        sample_rate: Of the waveform, in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.n_fft = round(WINDOW_SECONDS * sample_rate)
        self.hop_length = round(HOP_SECONDS * sample_rate)
        self.register_buffer("window", torch.hann_window(self.n_fft, periodic=False), persistent=False)
        response = torch.from_numpy(power_response(self.n_fft, sample_rate)).float()
        self.register_buffer("response", response, persistent=False)

    window: Tensor
    response: Tensor

    def forward(self, waveform: Tensor) -> Tensor:
        """Compute; a waveform shorter than a window is followed by silence."""
        waveform = F.pad(waveform, (0, max(0, self.n_fft - waveform.shape[-1])))
        spectrum = torch.stft(
            waveform, self.n_fft, self.hop_length, window=self.window, center=False, return_complex=True
        )
        bins = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        return (2 / self.n_fft**2 * bins @ self.response.T).transpose(1, 2)  # by Parseval's theorem


def power_response(n_fft: int, sample_rate: int) -> npt.NDArray[np.float64]:
    """Power responses of the filters at the bins of a transform, `(bands, bins)`, 1 at their centres.

    Slaney 1993: a gammatone of order four as a cascade of four filters of order two.
    """
    ear_q, least_bandwidth = 9.26449, 24.7  # Glasberg & Moore 1990
    corner = ear_q * least_bandwidth
    step = math.log((LOWEST_HZ + corner) / (HIGHEST_HZ + corner)) / BANDS
    centre = (np.exp(np.arange(BANDS, 0, -1) * step) * (HIGHEST_HZ + corner) - corner)[:, None]
    bandwidth = 1.019 * 2 * np.pi * (centre / ear_q + least_bandwidth)
    period = 1 / FILTER_RATE
    turn = 2 * np.pi * centre * period
    decay = np.exp(-bandwidth * period)

    def response(frequency: npt.NDArray[Any]) -> npt.NDArray[np.complex128]:
        z = np.exp(-2j * np.pi * frequency * period)
        poles = 1 - 2 * decay * np.cos(turn) * z + decay**2 * z**2
        zeros = [
            np.cos(turn) + sign * math.sqrt(3 + way * 2**1.5) * np.sin(turn) for way in (1, -1) for sign in (1, -1)
        ]
        product: npt.NDArray[np.complex128] = np.prod([(1 - decay * zero * z) / poles for zero in zeros], axis=0)
        return product

    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)[None]
    power: npt.NDArray[np.float64] = np.square(np.abs(response(bins) / response(centre)))
    return power


def similarity(original: Tensor, estimate: Tensor) -> Tensor:
    """NSIM of two gammatone spectra, powers `(items, bands, frames)` → same, from 0 to 1 for the same."""
    loudest = torch.maximum(original, estimate.detach()).amax(1, keepdim=True)
    floor = (FLOOR * loudest).clamp(min=SILENCE)
    # ViSQOL takes 10 log10 of amplitudes and lets the lowest floor of a recording be 0.
    lowest = 5 * torch.log10(floor).amin((1, 2), keepdim=True)
    r, d = ((5 * torch.log10(torch.maximum(power, floor)) - lowest)[:, None] for power in (original, estimate))
    mean_r, mean_d = _smoothed(r), _smoothed(d)
    variance_r = (_smoothed(r * r) - mean_r.square()).clamp(min=0)
    variance_d = (_smoothed(d * d) - mean_d.square()).clamp(min=0)
    together = _smoothed(r * d) - mean_r * mean_d
    intensity = (2 * mean_r * mean_d + INTENSITY) / (mean_r.square() + mean_d.square() + INTENSITY)
    structure = (together + STRUCTURE) / ((variance_r * variance_d + 1e-8).sqrt() + STRUCTURE)
    return (intensity * structure)[:, 0]


def _smoothed(picture: Tensor) -> Tensor:
    """Average of each point and its eight neighbours, weighted by a Gaussian of half a point's width."""
    side = torch.tensor([math.exp(-2.0), 1.0, math.exp(-2.0)], dtype=picture.dtype, device=picture.device)
    side = side / side.sum()
    padded = F.pad(picture, (1, 1, 1, 1), mode="replicate")
    smoothed: Tensor = F.conv2d(padded, torch.outer(side, side)[None, None])
    return smoothed
