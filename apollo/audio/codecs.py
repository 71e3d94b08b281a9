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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import av
import numpy as np
import numpy.typing as npt
import soundfile
from av.audio.codeccontext import AudioCodecContext

from apollo.audio.bitrates import coded_rate, lame_gain, vorbis_quality
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
    "degrade",
    "degrade_blocks",
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
        quality = vorbis_quality(coding.rate, coding.bitrate, coding.channels)
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
