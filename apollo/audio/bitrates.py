"""At which sample rates and bitrates each lossy codec can be run."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from functools import lru_cache

import soundfile

from apollo.errors import ApolloError

# The rates (Hz) and bitrates (kbit/s) of MPEG-1, MPEG-2 and MPEG-2.5 Layer III (ISO/IEC 11172-3 and 13818-3). FFmpeg
# silently takes the nearest bitrate of the row when it is asked for one that the sample rate does not have.
_MP3_BITRATES: dict[tuple[int, ...], tuple[int, ...]] = {
    (48000, 44100, 32000): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (24000, 22050, 16000): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (12000, 11025, 8000): (8, 16, 24, 32, 40, 48, 56, 64),
}
# Of MPEG-1 and MPEG-2 Layer II (the same standards), and of AC-3 (ATSC A/52).
_LISTED: dict[str, dict[tuple[int, ...], tuple[int, ...]]] = {
    "mp3": _MP3_BITRATES,
    "mp2": {
        (48000, 44100, 32000): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
        (24000, 22050, 16000): _MP3_BITRATES[24000, 22050, 16000],
    },
    "ac3": {
        (48000, 44100, 32000): (*_MP3_BITRATES[48000, 44100, 32000], 384, 448, 512, 576, 640),
    },
}
_AAC_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
_VORBIS_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 11025, 8000)


def coded_rate(codec: str, sample_rate: int, bitrate: int | None, channels: int) -> int:
    """The sample rate (Hz) at which a codec is run; raises ApolloError where none carries the bitrate (bit/s)."""
    if codec in _LISTED:
        return _listed_rate(codec, sample_rate, bitrate, channels)
    ranges = _ranges(codec, channels)
    for rate in _by_preference(ranges, sample_rate):
        low, high = ranges[rate]
        if bitrate is None or low <= bitrate <= high:
            return rate
    lowest, highest = min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())
    raise ApolloError(
        f"{codec} cannot do {bitrate} bit/s with {channels} channel(s); give one from {lowest} to {highest} bit/s."
    )


def _ranges(codec: str, channels: int) -> dict[int, tuple[int, int]]:
    """The lowest and highest bitrate (bit/s) that a codec has at each of its sample rates (Hz)."""
    if codec == "aac":
        # 6144 bits are the most that a frame of 1024 samples may take for one channel (ISO/IEC 14496-3).
        return {rate: (8_000, 6 * rate * channels) for rate in _AAC_RATES}
    if codec == "wma":
        # FFmpeg's encoder opens from 24 kbit/s on at every one of them, and spends no more on two channels than on one.
        return dict.fromkeys(_VORBIS_RATES, (24_000, 320_000))
    if codec == "opus":
        return {48_000: (6_000, 256_000 * channels)}
    return {rate: _vorbis_range(rate, channels) for rate in _VORBIS_RATES}


def _by_preference(rates: Iterable[int], sample_rate: int) -> list[int]:
    """The waveform's own rate or what loses least below it; only then those above, which waste bits."""
    return sorted(rates, key=lambda rate: (rate > sample_rate, abs(rate - sample_rate)))


def _listed_bitrates(codec: str) -> list[int]:
    return sorted({bitrate for bitrates in _LISTED[codec].values() for bitrate in bitrates})


def _listed_rate(codec: str, sample_rate: int, bitrate: int | None, channels: int) -> int:
    rates = [
        rate
        for group, bitrates in _LISTED[codec].items()
        if bitrate is None or bitrate / 1000 in bitrates
        for rate in group
    ]
    if not rates:
        known = ", ".join(str(1000 * known) for known in _listed_bitrates(codec))
        raise ApolloError(f"{codec} has no bitrate of {bitrate} bit/s; choose one of: {known}.")
    if codec == "mp3" and bitrate is not None and bitrate < 32_000 and sample_rate not in rates:
        # What lame_init_params (3.100) chooses for any input of 32 kHz and above, but for 24 kbit/s stereo: it would
        # code that at 8 kHz, where next to no music is left.
        return 16_000 if bitrate >= min(24_000, 16_000 * channels) else 8_000
    return _by_preference(rates, sample_rate)[0]


def nearest_bitrate(codec: str, bitrate: int, channels: int) -> int:
    """The bitrate nearest to one in bit/s that a codec can do with this many channels; of two as near, the lower."""
    if codec in _LISTED:
        return min((1000 * known for known in _listed_bitrates(codec)), key=lambda known: (abs(known - bitrate), known))
    ranges = _ranges(codec, channels).values()
    return min((min(max(bitrate, low), high) for low, high in ranges), key=lambda known: (abs(known - bitrate), known))


def highest_bitrate(codec: str, rate: int, channels: int) -> int:
    """The highest bitrate (bit/s) that a codec has at one of its own sample rates (Hz)."""
    if codec == "mp3":
        return 1000 * next(bitrates[-1] for group, bitrates in _MP3_BITRATES.items() if rate in group)
    return _ranges(codec, channels)[rate][1]


def lame_gain(bitrate: int) -> float:
    """By how much LAME (3.100) turns music down before it codes it at a constant bitrate in bit/s, measured on sines.

    At variable bitrates it leaves the level alone: on six chords of sines, at 16 to 48 kHz, the mean gain was 1.000 to
    0.1 % at `-V` 0 to 3, and 0.99 to 1.01 with both signs above, where single chords scatter by 2 %.

    `degrade` turns it up again. The gain is no damage, and a network that learns to undo it can no longer leave alone
    what is good: five per cent of error outweigh all that MP3 does at a high bitrate.
    """
    return {192_000: 0.97, 224_000: 0.98}.get(bitrate, 0.95 if bitrate < 192_000 else 1.0)


def _vorbis_range(rate: int, channels: int) -> tuple[int, int]:
    return _vorbis_nominal(rate, 0.0, channels), _vorbis_nominal(rate, 1.0, channels)


@lru_cache(maxsize=256)
def vorbis_quality(rate: int, bitrate: int, channels: int) -> float:
    """The quality (0 to 1) with the nominal bitrate asked for, by bisection: libsndfile takes no bitrate for Vorbis."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        if _vorbis_nominal(rate, middle, channels) <= bitrate:
            low = middle
        else:
            high = middle
    return low


@lru_cache(maxsize=1024)
def _vorbis_nominal(rate: int, quality: float, channels: int) -> int:
    """The nominal bitrate (bit/s) that libvorbis writes into the identification header of an empty file."""
    memory = io.BytesIO()
    soundfile.SoundFile(memory, "w", rate, channels, "VORBIS", format="OGG", compression_level=1 - quality).close()
    data = memory.getvalue()
    start = data.index(b"\x01vorbis") + 20
    return int(struct.unpack_from("<i", data, start)[0])
