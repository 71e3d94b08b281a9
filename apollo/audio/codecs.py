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
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast, overload

import av
import numpy as np
import numpy.typing as npt
import soundfile
from av.audio.codeccontext import AudioCodecContext

from apollo.audio.resampling import resample
from apollo.errors import ApolloError

if TYPE_CHECKING:
    import torch
    from av.audio.stream import AudioStream
    from av.packet import Packet as AnyPacket

    Packet = AnyPacket[AudioStream]

__all__ = ["CODECS", "MARGIN", "degrade"]

CODECS = ("mp3", "aac", "opus", "vorbis")

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
) -> npt.NDArray[np.float32]: ...


@overload
def degrade(
    waveform: torch.Tensor,
    sample_rate: int,
    codec: str = ...,
    bitrate: int = ...,
    *,
    compression_level: int | None = ...,
) -> torch.Tensor: ...


def degrade(
    waveform: npt.NDArray[np.floating[Any]] | torch.Tensor,
    sample_rate: int,
    codec: str = "mp3",
    bitrate: int = 64_000,
    *,
    compression_level: int | None = None,
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
        compression_level: LAME's `-q`, from 0 (best) to 9 (fastest), for MP3 only; 7 when not given, which takes two
            thirds of the time that LAME's own default takes.

    Returns:
        The decoded waveform, of the same shape and level as the input and with a lag of 0 samples to it: a float32
        array for an array, for a tensor one of its dtype and device. It may exceed ±1.

    Raises:
        ApolloError: The codec cannot do what is asked; the message names what it can do.
    """
    samples = _as_float32(waveform)
    channels, length = samples.shape
    _check_samples(samples, sample_rate)
    if codec not in CODECS:
        raise ApolloError(f"Unknown codec {codec!r}; choose one of: {', '.join(CODECS)}.")
    if compression_level is not None and codec != "mp3":
        raise ApolloError(
            f"compression_level is LAME's quality and goes with codec 'mp3' only; leave it out for {codec!r}."
        )
    if compression_level is not None and not 0 <= compression_level <= 9:
        raise ApolloError(f"compression_level is {compression_level}, but LAME knows 0 (best) to 9 (fastest).")

    coded_rate = _coded_rate(codec, sample_rate, bitrate, channels)
    if length == 0:
        return _like(samples.copy(), waveform)
    margin = -(-(_AAC_WARM_UP if codec == "aac" else MARGIN) * sample_rate // coded_rate)
    # FFmpeg's AAC encoder alone clips at full scale.
    quieter = max(1.0, float(np.abs(samples).max())) if codec == "aac" else 1.0
    padded = np.pad(samples if quieter == 1.0 else samples / quieter, ((0, 0), (margin, margin)), mode="symmetric")
    coded = resample(padded, sample_rate, coded_rate)
    if codec == "vorbis":
        decoded = _vorbis(coded, coded_rate, bitrate)
    else:
        level = 7 if compression_level is None else compression_level
        packets, extradata = _encode(coded, coded_rate, codec, bitrate, level)
        decoded = _decode(packets, extradata, coded_rate, codec, channels)[:, : coded.shape[1]]
    result = resample(decoded, coded_rate, sample_rate)[:, margin : margin + length]
    gain = quieter / lame_gain(bitrate) if codec == "mp3" else quieter
    return _like(result if gain == 1.0 else result * np.float32(gain), waveform)


def lame_gain(bitrate: int) -> float:
    """By how much LAME (3.100) turns music down before it codes it at a constant bitrate in bit/s, measured on sines.

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


def _check_samples(samples: npt.NDArray[np.float32], sample_rate: int) -> None:
    if samples.shape[0] not in (1, 2):
        raise ApolloError(
            f"Codecs take one or two channels, but this waveform has {samples.shape[0]}; give them pair by pair."
        )
    if sample_rate <= 0:
        raise ApolloError(f"The sample rate is {sample_rate} Hz; give one above 0.")
    if not np.isfinite(samples).all():
        raise ApolloError("The waveform holds NaN or infinite samples, which no codec can encode; clean it first.")


def _coded_rate(codec: str, sample_rate: int, bitrate: int, channels: int) -> int:
    """The sample rate (Hz) at which the codec is run; raises ApolloError where none carries the bitrate."""
    if codec == "mp3":
        return _mp3_rate(sample_rate, bitrate, channels)
    if codec == "aac":
        # 6144 bits are the most that a frame of 1024 samples may take for one channel (ISO/IEC 14496-3).
        ranges = {rate: (8_000, 6 * rate * channels) for rate in _AAC_RATES}
    elif codec == "opus":
        ranges = {48_000: (6_000, 256_000 * channels)}
    else:
        ranges = {rate: _vorbis_range(rate, channels) for rate in _VORBIS_RATES}
    for rate in _by_preference(ranges, sample_rate):
        low, high = ranges[rate]
        if low <= bitrate <= high:
            return rate
    lowest, highest = min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())
    raise ApolloError(
        f"{codec} cannot do {bitrate} bit/s with {channels} channel(s); give one from {lowest} to {highest} bit/s."
    )


def _by_preference(rates: Iterable[int], sample_rate: int) -> list[int]:
    """The waveform's own rate or what loses least below it; only then those above, which waste bits."""
    return sorted(rates, key=lambda rate: (rate > sample_rate, abs(rate - sample_rate)))


def _mp3_rate(sample_rate: int, bitrate: int, channels: int) -> int:
    rates = [rate for group, bitrates in _MP3_BITRATES.items() if bitrate / 1000 in bitrates for rate in group]
    if not rates:
        known = ", ".join(str(1000 * b) for b in sorted({b for bitrates in _MP3_BITRATES.values() for b in bitrates}))
        raise ApolloError(f"mp3 has no bitrate of {bitrate} bit/s; choose one of: {known}.")
    if bitrate < 32_000 and sample_rate not in rates:
        # What lame_init_params (3.100) chooses for any input of 32 kHz and above, but for 24 kbit/s stereo: it would
        # code that at 8 kHz, where next to no music is left.
        return 16_000 if bitrate >= min(24_000, 16_000 * channels) else 8_000
    return _by_preference(rates, sample_rate)[0]


_ENCODERS = {"mp3": ("libmp3lame", "fltp"), "aac": ("aac", "fltp"), "opus": ("libopus", "flt")}
_DECODERS = {"mp3": "mp3float", "aac": "aac", "opus": "opus"}


def _encode(
    samples: npt.NDArray[np.float32], rate: int, codec: str, bitrate: int, compression_level: int
) -> tuple[list[Packet], bytes | None]:
    """Encode without a container: its bytes would only be parsed again, at more cost than all of the decoding."""
    name, sample_format = _ENCODERS[codec]
    layout = "mono" if samples.shape[0] == 1 else "stereo"
    encoder = cast(AudioCodecContext, av.CodecContext.create(name, "w"))
    encoder.sample_rate = rate
    encoder.layout = layout
    encoder.format = av.AudioFormat(sample_format)
    encoder.bit_rate = bitrate
    encoder.time_base = Fraction(1, rate)
    if codec == "mp3":
        encoder.options = {"compression_level": str(compression_level)}
    packets: list[Packet] = []
    for start in range(0, samples.shape[1], _BLOCK):
        block = samples[:, start : start + _BLOCK]
        if sample_format == "flt":
            block = block.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format=sample_format, layout=layout)
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        frame.pts = start
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return packets, encoder.extradata


def _decode(
    packets: list[Packet], extradata: bytes | None, rate: int, codec: str, channels: int
) -> npt.NDArray[np.float32]:
    """Decode to (channels, samples), the encoder's delay removed; some padding may be left at the end."""
    decoder = cast(AudioCodecContext, av.CodecContext.create(_DECODERS[codec], "r"))
    decoder.sample_rate = rate
    decoder.layout = "mono" if channels == 1 else "stereo"
    decoder.extradata = extradata
    blocks = [frame.to_ndarray() for packet in [*packets, None] for frame in decoder.decode(packet)]
    decoded: npt.NDArray[np.float32] = np.concatenate(blocks, axis=1)
    if codec == "aac":
        # The others mark their delay in the packets and the decoder drops it; AAC leaves that to an edit list in the
        # container. The first time stamp is the negative of the delay.
        decoded = decoded[:, -(packets[0].pts or 0) :]
    return decoded


def _vorbis(samples: npt.NDArray[np.float32], rate: int, bitrate: int) -> npt.NDArray[np.float32]:
    memory = io.BytesIO()
    quality = _vorbis_quality(rate, bitrate, samples.shape[0])
    with soundfile.SoundFile(
        memory, "w", rate, samples.shape[0], "VORBIS", format="OGG", compression_level=1 - quality
    ) as file:
        for start in range(0, samples.shape[1], _BLOCK):  # libsndfile crashes on some 45 s in one call
            file.write(np.ascontiguousarray(samples[:, start : start + _BLOCK].T))
    memory.seek(0)
    decoded: npt.NDArray[np.float32] = soundfile.read(memory, dtype="float32", always_2d=True)[0]
    return np.ascontiguousarray(decoded.T)


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
