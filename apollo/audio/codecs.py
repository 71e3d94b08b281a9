"""What a lossy codec does to a waveform: encode and decode in memory, aligned with the original and of equal length.

MP3 (LAME), AAC (FFmpeg's) and Opus (libopus) go through PyAV, Vorbis (libvorbis) through soundfile. Everything
stays in floating point, so samples beyond ±1 pass through the codec as they are instead of being clipped on the way.

Around what it is given a codec finds silence, on which it saves bits: the edges of a bare crop come out with up to 5 dB
less noise than the same samples within a song. `degrade` therefore mirrors `MARGIN` samples around its input and cuts
them off again. What no mirror can give is the true past; a caller that has it should pass `MARGIN` samples more on
either side, and crop the result.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import av
import numpy as np
import numpy.typing as npt
import soundfile
from av.audio.codeccontext import AudioCodecContext

from apollo.audio.filters import between, joined, mirrored, recut, resampled
from apollo.audio.resampling import resampled_length
from apollo.errors import ApolloError

if TYPE_CHECKING:
    import torch
    from av.audio.stream import AudioStream
    from av.packet import Packet as AnyPacket

    Packet = AnyPacket[AudioStream]

__all__ = [
    "CODECS",
    "COMPRESSION_LEVEL",
    "MARGIN",
    "VBR_QUALITIES",
    "coded_rate",
    "degrade",
    "degrade_blocks",
    "highest_bitrate",
    "nearest_bitrate",
]

Block = npt.NDArray[np.float32]
Stereo = Literal["joint", "separate"]

CODECS = ("mp3", "aac", "opus", "vorbis")
COMPRESSION_LEVEL = 7  # of LAME: two thirds of the time that its own default, 3, takes

# The scales of quality that variable bitrates are asked for by: LAME's -V, from best to worst; FFmpeg's -q:a for AAC
# and oggenc's -q, from worst to best. Opus has none: its bitrate is variable around the one asked for.
VBR_QUALITIES = {"mp3": (0.0, 9.0), "aac": (0.1, 2.0), "vorbis": (0.0, 10.0)}

# Two MP3 frames: overlap and look-ahead of each codec fit in, and because it is a whole number of frames, a file with
# mirrored edges is cut into the same frames as the bare one.
MARGIN = 2304
_AAC_WARM_UP = 8192  # FFmpeg's AAC encoder has spent too few bits or too many until about here

_BLOCK = 1 << 18  # samples handed to an encoder at once: few calls for a crop, bounded buffers for a long file

# The rates (Hz) and bitrates (kbit/s) of MPEG-1, MPEG-2 and MPEG-2.5 Layer III (ISO/IEC 11172-3 and 13818-3). FFmpeg
# silently takes the nearest bitrate of the row when it is asked for one that the sample rate does not have.
_MP3_BITRATES = {
    (48000, 44100, 32000): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (24000, 22050, 16000): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (12000, 11025, 8000): (8, 16, 24, 32, 40, 48, 56, 64),
}
_AAC_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
_VORBIS_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 11025, 8000)


@overload
def degrade(
    waveform: npt.NDArray[np.floating[Any]],
    sample_rate: int,
    codec: str = ...,
    bitrate: int = ...,
    *,
    compression_level: int | None = ...,
    vbr_quality: float | None = ...,
    stereo: Stereo | None = ...,
) -> npt.NDArray[np.float32]: ...


@overload
def degrade(
    waveform: torch.Tensor,
    sample_rate: int,
    codec: str = ...,
    bitrate: int = ...,
    *,
    compression_level: int | None = ...,
    vbr_quality: float | None = ...,
    stereo: Stereo | None = ...,
) -> torch.Tensor: ...


def degrade(
    waveform: npt.NDArray[np.floating[Any]] | torch.Tensor,
    sample_rate: int,
    codec: str = "mp3",
    bitrate: int = 64_000,
    *,
    compression_level: int | None = None,
    vbr_quality: float | None = None,
    stereo: Stereo | None = None,
) -> npt.NDArray[np.float32] | torch.Tensor:
    """Encode a waveform with a lossy codec and decode it again.

    The codec works at the waveform's own sample rate where it can. Where it cannot, the waveform is resampled for it
    and back: Opus always codes at 48 kHz; MP3 at 24 kbit/s and below needs one of the low rates, and gets the one that
    LAME itself would choose, but 16 kHz for 24 kbit/s in stereo, where LAME would go down to 8; Vorbis gets the highest
    rate that goes as low as the bitrate asked for.

    Args:
        waveform: Samples of shape (channels, samples), one or two channels, nominally within ±1; a NumPy array or a
            torch tensor.
        sample_rate: Of the waveform, in Hz.
        codec: One of `CODECS`.
        bitrate: In bit/s, both channels together. MP3 is coded at exactly this constant rate; the others aim at it.
        compression_level: LAME's `-q`, from 0 (best) to 9 (fastest), for MP3 only; `COMPRESSION_LEVEL` when not given.
        vbr_quality: For a variable bitrate, with which `bitrate` does not matter: the quality on the codec's own scale,
            see `VBR_QUALITIES`.
        stereo: How MP3 codes two channels: "joint" lets LAME choose between left and right and middle and side for
            every frame, as it does when nothing is given; "separate" keeps it to left and right.

    Returns:
        The decoded waveform, of the same shape and level as the input and with a lag of 0 samples to it: a float32
        array for an array, for a tensor one of its dtype and device. It may exceed ±1.

    Raises:
        ApolloError: The codec cannot do what is asked; the message names what it can do.
    """
    samples = _as_float32(waveform)
    blocks = degrade_blocks(
        lambda: [samples],
        samples.shape,
        sample_rate,
        codec,
        bitrate,
        compression_level=compression_level,
        vbr_quality=vbr_quality,
        stereo=stereo,
    )
    return _like(joined(blocks, samples.shape[0]), waveform)


def degrade_blocks(
    read: Callable[[], Iterable[Block]],
    shape: tuple[int, int],
    sample_rate: int,
    codec: str = "mp3",
    bitrate: int = 64_000,
    *,
    compression_level: int | None = None,
    vbr_quality: float | None = None,
    stereo: Stereo | None = None,
) -> Iterator[Block]:
    """Put a long waveform through a codec block by block: joined, the blocks are what `degrade` gives for the whole.

    Memory does not grow with the length, but for the coded bytes of Vorbis (30 MB for an hour at 64 kbit/s).

    Args:
        read: Gives the waveform from its start, in blocks of any length; called once, for AAC twice.
        shape: Of the whole waveform: (channels, samples).
        sample_rate: As `degrade` takes it; so are all that follow.
        codec: See there.
        bitrate: See there.
        compression_level: See there.
        vbr_quality: See there.
        stereo: See there.

    Returns:
        Blocks of float32, some of them shorter than others.

    Raises:
        ApolloError: As `degrade`; for what is wrong with samples, when they are reached.
    """
    channels, length = shape
    if channels not in (1, 2):
        raise ApolloError(f"Codecs take one or two channels, but this waveform has {channels}; give them pair by pair.")
    if sample_rate <= 0:
        raise ApolloError(f"The sample rate is {sample_rate} Hz; give one above 0.")
    _check_settings(codec, compression_level, vbr_quality, stereo)
    coding = _Coding(
        codec,
        coded_rate(codec, sample_rate, bitrate if vbr_quality is None else None, channels),
        channels,
        bitrate,
        COMPRESSION_LEVEL if compression_level is None else compression_level,
        vbr_quality,
        stereo or "joint",
    )
    return _degraded(read, length, sample_rate, coding)


def nearest_bitrate(codec: str, bitrate: int, channels: int) -> int:
    """The bitrate nearest to one in bit/s that a codec can do with this many channels; of two as near, the lower."""
    if codec == "mp3":
        return min((1000 * known for known in _mp3_bitrates()), key=lambda known: (abs(known - bitrate), known))
    ranges = _ranges(codec, channels).values()
    return min((min(max(bitrate, low), high) for low, high in ranges), key=lambda known: (abs(known - bitrate), known))


def highest_bitrate(codec: str, rate: int, channels: int) -> int:
    """The highest bitrate (bit/s) that a codec has at one of its own sample rates (Hz)."""
    if codec == "mp3":
        return 1000 * next(bitrates[-1] for group, bitrates in _MP3_BITRATES.items() if rate in group)
    return _ranges(codec, channels)[rate][1]


@dataclass(frozen=True)
class _Coding:
    """All that a codec is told; `rate` is the one it works at, in Hz."""

    codec: str
    rate: int
    channels: int
    bitrate: int
    compression_level: int
    vbr_quality: float | None
    stereo: str


def _degraded(read: Callable[[], Iterable[Block]], length: int, sample_rate: int, coding: _Coding) -> Iterator[Block]:
    is_aac = coding.codec == "aac"
    rate, channels = coding.rate, coding.channels
    margin = -(-(_AAC_WARM_UP if is_aac else MARGIN) * sample_rate // rate)
    # FFmpeg's AAC encoder alone clips at full scale.
    quieter = max([1.0, *(float(np.abs(block).max()) for block in _finite(read()))]) if is_aac else 1.0
    blocks = (block if quieter == 1.0 else block / quieter for block in _finite(read()))
    coded = recut(resampled(mirrored(blocks, margin), sample_rate, rate, channels), _BLOCK)
    decoded = _vorbis(coded, coding) if coding.codec == "vorbis" else _through_ffmpeg(coded, coding)
    padded = resampled_length(length + 2 * margin, sample_rate, rate)
    result = resampled(recut(between(decoded, 0, padded), _BLOCK), rate, sample_rate, channels)
    gain = quieter
    if coding.codec == "mp3" and coding.vbr_quality is None:
        gain = quieter / lame_gain(coding.bitrate)
    for block in between(result, margin, margin + length):
        yield block if gain == 1.0 else block * np.float32(gain)


def _finite(blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        if not np.isfinite(block).all():
            raise ApolloError("The waveform holds NaN or infinite samples, which no codec can encode; clean it first.")
        if block.shape[1]:
            yield block


def lame_gain(bitrate: int) -> float:
    """By how much LAME (3.100) turns music down before it codes it at a constant bitrate in bit/s, measured on sines.

    At variable bitrates it leaves the level alone: on six chords of sines, at 16 to 48 kHz, the mean gain was 1.000 to
    0.1 % at `-V` 0 to 3, and 0.99 to 1.01 with both signs above, where single chords scatter by 2 %.

    `degrade` turns it up again. The gain is no damage, and a network that learns to undo it can no longer leave alone
    what is good: five per cent of error outweigh all that MP3 does at a high bitrate.
    """
    return {192_000: 0.97, 224_000: 0.98}.get(bitrate, 0.95 if bitrate < 192_000 else 1.0)


def _as_float32(waveform: npt.NDArray[np.floating[Any]] | torch.Tensor) -> npt.NDArray[np.float32]:
    # Told by its module, so that who works with arrays alone never waits for torch to load.
    array = waveform if isinstance(waveform, np.ndarray) else waveform.detach().cpu().numpy()
    if array.ndim != 2:
        raise ApolloError(
            f"A waveform must have the shape (channels, samples), but this one has the shape {array.shape}."
        )
    return np.asarray(array, dtype=np.float32)


def _like(
    samples: npt.NDArray[np.float32], waveform: npt.NDArray[np.floating[Any]] | torch.Tensor
) -> npt.NDArray[np.float32] | torch.Tensor:
    samples = np.ascontiguousarray(samples)
    if isinstance(waveform, np.ndarray):
        return samples
    import torch

    return torch.from_numpy(samples).to(waveform)


def _check_settings(codec: str, compression_level: int | None, vbr_quality: float | None, stereo: str | None) -> None:
    if codec not in CODECS:
        raise ApolloError(f"Unknown codec {codec!r}; choose one of: {', '.join(CODECS)}.")
    if compression_level is not None and codec != "mp3":
        raise ApolloError(
            f"compression_level is LAME's quality and goes with codec 'mp3' only; leave it out for {codec!r}."
        )
    if compression_level is not None and not 0 <= compression_level <= 9:
        raise ApolloError(f"compression_level is {compression_level}, but LAME knows 0 (best) to 9 (fastest).")
    if stereo is not None and codec != "mp3":
        raise ApolloError(f"stereo is a mode of LAME and goes with codec 'mp3' only; leave it out for {codec!r}.")
    if stereo not in (None, "joint", "separate"):
        raise ApolloError(f"stereo is {stereo!r}, but LAME can do 'joint' or 'separate'.")
    if vbr_quality is not None:
        if codec not in VBR_QUALITIES:
            raise ApolloError(f"{codec} has no scale of quality: its bitrate varies around the one asked for as it is.")
        lowest, highest = VBR_QUALITIES[codec]
        if not lowest <= vbr_quality <= highest:
            raise ApolloError(f"vbr_quality is {vbr_quality}, but {codec} knows {lowest:g} to {highest:g}.")


def coded_rate(codec: str, sample_rate: int, bitrate: int | None, channels: int) -> int:
    """The sample rate (Hz) at which a codec is run; raises ApolloError where none carries the bitrate (bit/s)."""
    if codec == "mp3":
        return _mp3_rate(sample_rate, bitrate, channels)
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
    if codec == "opus":
        return {48_000: (6_000, 256_000 * channels)}
    return {rate: _vorbis_range(rate, channels) for rate in _VORBIS_RATES}


def _by_preference(rates: Iterable[int], sample_rate: int) -> list[int]:
    """The waveform's own rate or what loses least below it; only then those above, which waste bits."""
    return sorted(rates, key=lambda rate: (rate > sample_rate, abs(rate - sample_rate)))


def _mp3_bitrates() -> list[int]:
    return sorted({bitrate for bitrates in _MP3_BITRATES.values() for bitrate in bitrates})


def _mp3_rate(sample_rate: int, bitrate: int | None, channels: int) -> int:
    rates = [
        rate
        for group, bitrates in _MP3_BITRATES.items()
        if bitrate is None or bitrate / 1000 in bitrates
        for rate in group
    ]
    if not rates:
        known = ", ".join(str(1000 * known) for known in _mp3_bitrates())
        raise ApolloError(f"mp3 has no bitrate of {bitrate} bit/s; choose one of: {known}.")
    if bitrate is not None and bitrate < 32_000 and sample_rate not in rates:
        # What lame_init_params (3.100) chooses for any input of 32 kHz and above, but for 24 kbit/s stereo: it would
        # code that at 8 kHz, where next to no music is left.
        return 16_000 if bitrate >= min(24_000, 16_000 * channels) else 8_000
    return _by_preference(rates, sample_rate)[0]


_ENCODERS = {"mp3": ("libmp3lame", "fltp"), "aac": ("aac", "fltp"), "opus": ("libopus", "flt")}
_DECODERS = {"mp3": "mp3float", "aac": "aac", "opus": "opus"}
_FF_QP2LAMBDA = 118  # the unit in which FFmpeg counts quality


def _through_ffmpeg(blocks: Iterable[Block], coding: _Coding) -> Iterator[Block]:
    """Encode and decode, the encoder's delay removed; some padding may be left at the end.

    There is no container between: its bytes would only be parsed again, at more cost than all of the decoding.
    """
    encoder = _encoder(coding)
    decoder: AudioCodecContext | None = None
    late = 0
    for packet in _packets(blocks, encoder):
        if decoder is None:
            decoder = cast(AudioCodecContext, av.CodecContext.create(_DECODERS[coding.codec], "r"))
            decoder.sample_rate = coding.rate
            decoder.layout = encoder.layout
            decoder.extradata = encoder.extradata
            # The others mark their delay in the packets and the decoder drops it; AAC leaves that to an edit list in
            # the container. The first time stamp is the negative of the delay.
            late = -(packet.pts or 0) if coding.codec == "aac" else 0
        for frame in decoder.decode(packet):
            yield cast(Block, frame.to_ndarray())[:, late:]
            late -= min(late, frame.samples)
    if decoder is not None:
        for frame in decoder.decode(None):
            yield cast(Block, frame.to_ndarray())


def _encoder(coding: _Coding) -> AudioCodecContext:
    name, sample_format = _ENCODERS[coding.codec]
    encoder = cast(AudioCodecContext, av.CodecContext.create(name, "w"))
    encoder.sample_rate = coding.rate
    encoder.layout = "mono" if coding.channels == 1 else "stereo"
    encoder.format = av.AudioFormat(sample_format)
    encoder.time_base = Fraction(1, coding.rate)
    options = {}
    if coding.codec == "mp3":
        options["compression_level"] = str(coding.compression_level)
        options["joint_stereo"] = str(int(coding.stereo == "joint"))
    if coding.vbr_quality is None:
        encoder.bit_rate = coding.bitrate
    else:
        options["flags"] = "+qscale"
        options["global_quality"] = str(round(coding.vbr_quality * _FF_QP2LAMBDA))
    encoder.options = options
    return encoder


def _packets(blocks: Iterable[Block], encoder: AudioCodecContext) -> Iterator[Packet]:
    sample_format, layout = encoder.format.name, encoder.layout.name
    start = 0
    for block in blocks:
        samples = block.T.reshape(1, -1) if sample_format == "flt" else block
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=sample_format, layout=layout)
        frame.sample_rate = encoder.sample_rate
        frame.time_base = Fraction(1, encoder.sample_rate)
        frame.pts = start
        start += block.shape[1]
        yield from encoder.encode(frame)
    if start:
        yield from encoder.encode(None)


def _vorbis(blocks: Iterable[Block], coding: _Coding) -> Iterator[Block]:
    memory = io.BytesIO()
    if coding.vbr_quality is None:
        quality = _vorbis_quality(coding.rate, coding.bitrate, coding.channels)
    else:
        quality = coding.vbr_quality / 10
    with soundfile.SoundFile(
        memory, "w", coding.rate, coding.channels, "VORBIS", format="OGG", compression_level=1 - quality
    ) as file:
        for block in blocks:  # libsndfile crashes on some 45 s in one call
            file.write(np.ascontiguousarray(block.T))
    memory.seek(0)
    with soundfile.SoundFile(memory) as file:
        while len(decoded := file.read(_BLOCK, dtype="float32", always_2d=True)):
            yield np.ascontiguousarray(decoded.T)


def _vorbis_range(rate: int, channels: int) -> tuple[int, int]:
    return _vorbis_nominal(rate, 0.0, channels), _vorbis_nominal(rate, 1.0, channels)


@lru_cache(maxsize=256)
def _vorbis_quality(rate: int, bitrate: int, channels: int) -> float:
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
