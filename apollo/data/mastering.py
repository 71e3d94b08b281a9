"""What finishing does to a mix: the long-term spectrum of released masters, and compression of the whole.

Stems are darker and more dynamic than the records that people listen to; mixes of them become alike to records here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Waveform = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]

# fmt: off
NODES_HZ = np.array((
    20, 31, 50, 80, 125, 200, 315, 500, 800, 1250, 2000, 3150, 5000, 6300, 8000, 10000, 11200, 12500, 14000, 16000,
    18000, 20000,
), np.float64)
# fmt: on
SLOPE = (3.5, 7.5)  # by which the density of masters falls from `KNEE_HZ` on, in dB an octave
KNEE_HZ = 400.0
CORNER_HZ = (10000.0, 14000.0)  # from where on it falls faster
FASTER = (0.0, 14.0)  # by how much, in dB an octave
BASS = (-1.6, 3.2)  # below the knee, in dB an octave downwards
UNEVENNESS = 4.5  # standard deviation in dB of what is averaged over five nodes
GAIN = (-18.0, 26.0)  # the most that equalisation takes away and adds, in dB
CLOSENESS = (0.7, 1.0)  # share of the way to the target
N_FFT = 4096


def equalised(mix: Waveform, sample_rate: int, gain: Callable[[Values], Values]) -> Waveform:
    """A waveform `(channels, samples)` with a gain in dB, given for an array of frequencies in Hz, without delay."""
    size = fast_size(mix.shape[1])
    response = 10 ** (gain(np.maximum(np.fft.rfftfreq(size, 1 / sample_rate), 1.0)) / 20)
    shaped: Waveform = np.fft.irfft(np.fft.rfft(mix, size) * response, size)[:, : mix.shape[1]].astype(np.float32)
    return shaped


def curve(nodes_hz: npt.ArrayLike, gains: npt.ArrayLike) -> Callable[[Values], Values]:
    """Gain in dB over frequency, straight between nodes on a logarithmic scale."""
    nodes = np.log(np.asarray(nodes_hz, np.float64))
    return lambda frequency: np.interp(np.log(frequency), nodes, np.asarray(gains, np.float64))


def fast_size(samples: int) -> int:
    """The least size from `samples` up whose only prime factors are 2, 3 and 5; others may take 15 times as long."""
    while True:
        rest = samples
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return samples
        samples += 1


def like_a_master(rng: np.random.Generator, mix: Waveform, sample_rate: int) -> Waveform:
    """Equalise a mix `(channels, samples)` towards the long-term spectrum of some master; its loudness hardly changes.

    The target is drawn again each time. What would need more than `GAIN` stays short of it.
    """
    nodes = NODES_HZ[: np.searchsorted(NODES_HZ, 0.45 * sample_rate)]
    gain = master_spectrum(rng)[: len(nodes)] - long_term_spectrum(mix, sample_rate, nodes)
    gain -= np.median(gain[(nodes > 300) & (nodes < 3000)])
    return equalised(mix, sample_rate, curve(nodes, gain.clip(*GAIN) * rng.uniform(*CLOSENESS)))


def master_spectrum(rng: np.random.Generator) -> Values:
    """Draw the power density of a master at `NODES_HZ`, in dB against that at `KNEE_HZ`."""
    slope = rng.uniform(*SLOPE)
    faster = slope + rng.uniform(*FASTER)
    corner = rng.uniform(*CORNER_HZ)
    density = -slope * np.maximum(np.log2(NODES_HZ / KNEE_HZ), 0.0)
    density -= rng.uniform(0.5, 2.0) * faster * np.maximum(np.log2(NODES_HZ / corner), 0.0)
    density += rng.uniform(*BASS) * np.maximum(np.log2(KNEE_HZ / NODES_HZ), 0.0)
    uneven: Values = np.convolve(rng.normal(0, UNEVENNESS, len(NODES_HZ) + 4), np.ones(5) / 5, "valid")
    return density + uneven


def long_term_spectrum(mix: Waveform, sample_rate: int, nodes: Values) -> Values:
    """Mean power density of `(channels, samples)` around each node, in dB."""
    if mix.shape[1] < N_FFT:
        mix = np.pad(mix, ((0, 0), (0, N_FFT - mix.shape[1])))
    frames = np.lib.stride_tricks.sliding_window_view(mix, N_FFT, axis=1)[:, ::N_FFT]
    density = np.square(np.abs(np.fft.rfft(frames * np.hanning(N_FFT)))).mean((0, 1))
    step = sample_rate / N_FFT
    frequency = step * np.arange(len(density))
    # A third of an octave around each node, and never less than one bin.
    edges = [(node / 1.15, max(1.15 * node, node / 1.15 + step)) for node in nodes]
    around = [density[(frequency >= low) & (frequency < high)] for low, high in edges]
    levels: Values = 10 * np.log10([values.mean() + 1e-14 for values in around])
    return levels


def compressed(rng: np.random.Generator, mix: Waveform, sample_rate: int) -> Waveform:
    """Compress a mix `(channels, samples)` as the bus of a mixing desk does, then drive it into a soft limiter.

    Threshold, ratio, speed and drive are drawn again each time. The peak is 1 at most.
    """
    power = np.convolve(np.square(mix, dtype=np.float64).mean(0), np.ones(sample_rate // 100), "same")
    envelope = np.sqrt(np.maximum(power / (sample_rate // 100), 1e-9))
    threshold, ratio = np.quantile(envelope, rng.uniform(0.3, 0.8)), rng.uniform(1.3, 4)
    gain = np.maximum(envelope / threshold, 1.0) ** (1 / ratio - 1)
    speed = np.hanning(max(3, int(sample_rate * rng.uniform(0.005, 0.1))))
    # The ends go on at their own gain: fading to nothing there would be heard as a fade of the music.
    padded = np.pad(gain, len(speed) // 2, mode="edge")
    gain = convolved(padded, speed / speed.sum())[: mix.shape[1]]
    drive = 10 ** (rng.uniform(0, 8) / 20)
    limited: Waveform = (np.tanh(drive * normalised(mix * gain)) / np.tanh(drive)).astype(np.float32)
    return limited


def convolved(signal: Values, kernel: Values) -> Values:
    """Where a kernel fits into a signal wholly, by FFT: direct convolution would take a second for a crop."""
    size = fast_size(len(signal))
    product: Values = np.fft.irfft(np.fft.rfft(signal, size) * np.fft.rfft(kernel, size), size)
    return product[len(kernel) - 1 : len(signal)]


def normalised(mix: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """A waveform with a peak of 1, or silence."""
    scaled: npt.NDArray[np.floating] = mix / (np.abs(mix).max() + 1e-9)
    return scaled
