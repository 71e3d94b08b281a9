"""The multi-frequency discriminator: one convolutional judge for each STFT window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

REFERENCE_RATE = 44100
MOST_CHANNELS, MOST_WINDOWS, LONGEST_WINDOW = 64, 32, 1 << 16  # far beyond any that is of use


class Judgement(NamedTuple):
    """The output of one branch for a batch."""

    logits: Tensor  # `(batch, 1, bins', frames')`; 1 stands for real, 0 for made
    features: list[Tensor]  # the outputs of the first six convolutions, `(batch, channels, bins', frames')` each


class MultiFrequencyDiscriminator(nn.Module):
    """Judges waveforms by their spectra at several resolutions (paper, section 2.3).

    Args:
        nch: Channels of the waveform.
        window: STFT windows in samples, one branch each; the hop is half a window.
        sample_rate: Of the waveform, in Hz; below 44.1 kHz only the proportional share of the bins is judged.

    Raises:
        ValueError: If there are too many channels or windows, or a window is too long.
    """

    def __init__(
        self,
        nch: int = 2,
        window: Sequence[int] = (32, 64, 128, 256, 512, 1024, 2048),
        sample_rate: int = REFERENCE_RATE,
    ) -> None:
        super().__init__()
        if not 1 <= nch <= MOST_CHANNELS:
            raise ValueError(f"nch must be 1 to {MOST_CHANNELS}, not {nch}")
        if not 1 <= len(window) <= MOST_WINDOWS or not all(2 <= size <= LONGEST_WINDOW for size in window):
            raise ValueError(f"window must be 1 to {MOST_WINDOWS} numbers from 2 to {LONGEST_WINDOW}")
        self.windows = tuple(window)
        self.discriminators = nn.ModuleList(SpectrumDiscriminator(nch, size, sample_rate) for size in window)

    def forward(self, waveform: Tensor) -> list[Judgement]:
        """Judge `(batch, channels, samples)`; one judgement a branch."""
        eps = torch.finfo(torch.float32).eps
        power = torch.sqrt(waveform.float().square().sum((1, 2), keepdim=True) + eps)
        normalised = waveform / power
        return [branch(normalised) for branch in self.discriminators]


class SpectrumDiscriminator(nn.Module):
    """Seven 3×3 convolutions over the complex spectrum at one resolution."""

    window: Tensor

    def __init__(self, nch: int, n_fft: int, sample_rate: int = REFERENCE_RATE) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.bins = int((n_fft // 2 + 1) * min(1.0, sample_rate / REFERENCE_RATE))
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        widths = [2 * nch, 8, 16, 32, 64, 128, 256]
        layers = [
            nn.Sequential(
                spectral_norm(nn.Conv2d(widths[i], widths[i + 1], 3, stride=2 if i in (1, 3, 5) else 1, padding=1)),
                nn.LeakyReLU(0.2),
            )
            for i in range(6)
        ]
        self.discriminator = nn.ModuleList([*layers, nn.Conv2d(widths[-1], 1, 3, padding=1)])

    def forward(self, waveform: Tensor) -> Judgement:
        """Judge `(batch, channels, samples)`."""
        batch, channels, samples = waveform.shape
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = stft(waveform.float().view(batch * channels, samples), self.window)
        # → (batch, [Re, Im of the first channel, then of the next, …], bins, frames)
        x = torch.view_as_real(spectrum[:, : self.bins]).permute(0, 3, 1, 2)
        x = x.reshape(batch, 2 * channels, *x.shape[2:])
        features = []
        for layer in self.discriminator[:-1]:
            x = layer(x)
            features.append(x)
        return Judgement(self.discriminator[-1](x), features)


def stft(waveform: Tensor, window: Tensor) -> Tensor:
    """Spectra half a window apart, the ends reflected; `(items, samples)` → complex `(items, bins, frames)`.

    A waveform of half a window or less, which cannot be reflected that far, is followed by silence.
    """
    half = len(window) // 2
    waveform = F.pad(waveform, (0, max(0, half + 1 - waveform.shape[-1])))
    return torch.stft(waveform, len(window), half, window=window, return_complex=True)


def halves(judgements: Sequence[Judgement]) -> tuple[list[Judgement], list[Judgement]]:
    """Take the judgements of two batches that were judged as one apart."""
    parts: tuple[list[Judgement], list[Judgement]] = ([], [])
    for judgement in judgements:
        logits = judgement.logits.chunk(2)
        features = [feature.chunk(2) for feature in judgement.features]
        for side, part in enumerate(parts):
            part.append(Judgement(logits[side], [feature[side] for feature in features]))
    return parts
