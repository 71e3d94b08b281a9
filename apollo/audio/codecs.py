"""What a lossy codec does to a waveform: encode and decode in memory, aligned with the original and of equal length.

MP3 (LAME), AAC (FFmpeg's) and Opus (libopus) go through PyAV, Vorbis (libvorbis) through soundfile; so do the codecs of
older recordings, MP2, AC-3 and WMA (FFmpeg's). Everything
stays in floating point, so samples beyond ±1 pass through the codec as they are instead of being clipped on the way.

Around what it is given a codec finds silence, on which it saves bits: the edges of a bare crop come out with up to 5 dB
less noise than the same samples within a song. `degrade` therefore mirrors `MARGIN` samples around its input and cuts
them off again. What no mirror can give is the true past; a caller that has it should pass `MARGIN` samples more on
either side, and crop the result.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar, cast

import av
import numpy as np
import numpy.typing as npt
import soundfile
from av.audio.codeccontext import AudioCodecContext

from apollo.audio.bitrates import coded_rate, lame_gain, vorbis_quality
from apollo.audio.encodings import COMPRESSION_LEVEL, OLDER, Encoding, Stereo
from apollo.audio.signal import Block, Signal, recut
from apollo.errors import ApolloError

if TYPE_CHECKING:
    import torch
    from av.audio.stream import AudioStream
    from av.packet import Packet as AnyPacket

    Packet = AnyPacket[AudioStream]

# Two MP3 frames: overlap and look-ahead of each codec fit in, and because it is a whole number of frames, a file with
# mirrored edges is cut into the same frames as the bare one.
MARGIN = 2304
_AAC_WARM_UP = 8192  # FFmpeg's AAC encoder has spent too few bits or too many until about here

_BLOCK = 1 << 18  # samples handed to an encoder at once: few calls for a crop, bounded buffers for a long file


Waveform = TypeVar("Waveform", npt.NDArray[Any], "torch.Tensor")


def degrade(
    waveform: Waveform,
    sample_rate: int,
    codec: str = "mp3",
    bitrate: int = 64_000,
    *,
    compression_level: int | None = None,
    vbr_quality: float | None = None,
    stereo: Stereo | None = None,
) -> Waveform:
    """Encode a waveform with a lossy codec and decode it again.

    The codec works at the waveform's own sample rate where it can. Where it cannot, the waveform is resampled for it
    and back: Opus always codes at 48 kHz; MP3 at 24 kbit/s and below needs one of the low rates, and gets the one that
    LAME itself would choose, but 16 kHz for 24 kbit/s in stereo, where LAME would go down to 8; Vorbis gets the highest
    rate that goes as low as the bitrate asked for.

    Args:
        waveform: Samples of shape (channels, samples), one or two channels, nominally within ±1; a NumPy array or a
            torch tensor.
        sample_rate: Of the waveform, in Hz.
        codec: As `apollo.audio.encodings.Encoding` has it, as all that follows.
        bitrate: It does not matter where `vbr_quality` is given.
        compression_level: See there.
        vbr_quality: See there.
        stereo: See there.

    Returns:
        The decoded waveform, of the same shape and level as the input and with a lag of 0 samples to it: a float32
        array for an array, for a tensor one of its dtype and device. It may exceed ±1.

    Raises:
        ApolloError: The codec cannot do what is asked; the message names what it can do.
    """
    samples = _as_float32(waveform)
    encoding = Encoding(codec, bitrate if vbr_quality is None else None, vbr_quality, compression_level, stereo)
    return _like(coded(Signal.of_array(samples, sample_rate), encoding).array(), waveform)


def coded(signal: Signal, encoding: Encoding) -> Signal:
    """Encode and decode a signal: what `degrade` gives for the whole, and with the same errors, also when it is read.

    Memory does not grow with the length, but for the coded bytes of Vorbis (30 MB for an hour at 64 kbit/s).
    """
    channels, sample_rate = signal.channels, signal.sample_rate
    if channels not in (1, 2):
        raise ApolloError(f"Codecs take one or two channels, and this has {channels}: mix it down to stereo first.")
    if sample_rate <= 0:
        raise ApolloError(f"The sample rate is {sample_rate} Hz; give one above 0.")
    coding = _Coding(encoding, coded_rate(encoding.codec, sample_rate, encoding.bitrate, channels), channels)
    margin = -(-(_AAC_WARM_UP if encoding.codec == "aac" else MARGIN) * sample_rate // coding.rate)
    length = signal.count()

    def read() -> Iterator[Block]:
        clips = encoding.codec in ("aac", *OLDER)  # at full scale, as encoders of FFmpeg's own do
        quieter = max([1.0, *(float(np.abs(b).max()) for b in _finite(signal))]) if clips else 1.0
        quiet = replace(
            signal, samples=length, blocks=lambda: (b if quieter == 1.0 else b / quieter for b in _finite(signal))
        )
        padded = quiet.mirrored(margin).resampled(coding.rate)
        decoded = replace(padded, blocks=lambda: _through_codec(padded, coding)).between(0, padded.count())
        gain = quieter
        if encoding.codec == "mp3" and encoding.bitrate is not None:
            gain = quieter / lame_gain(encoding.bitrate)
        for block in decoded.resampled(sample_rate).between(margin, margin + length).blocks():
            yield block if gain == 1.0 else block * np.float32(gain)

    return replace(signal, samples=length, blocks=read)


@dataclass(frozen=True)
class _Coding:
    """An encoding, the sample rate in Hz that the codec works at, and the channels."""

    encoding: Encoding
    rate: int
    channels: int


def _through_codec(signal: Signal, coding: _Coding) -> Iterator[Block]:
    blocks = recut(signal.blocks(), _BLOCK)
    through = {"vorbis": _vorbis, "wma": _wma}.get(coding.encoding.codec, _through_ffmpeg)
    return recut(through(blocks, coding), _BLOCK)


def _finite(signal: Signal) -> Iterator[Block]:
    for block in signal.blocks():
        if not np.isfinite(block).all():
            raise ApolloError("The waveform holds NaN or infinite samples, which no codec can encode; clean it first.")
        if block.shape[1]:
            yield block


def _as_float32(waveform: npt.NDArray[np.floating[Any]] | torch.Tensor) -> npt.NDArray[np.float32]:
    array = waveform if isinstance(waveform, np.ndarray) else waveform.detach().cpu().numpy()
    if array.ndim != 2:
        raise ApolloError(
            f"A waveform must have the shape (channels, samples), but this one has the shape {array.shape}."
        )
    return np.asarray(array, dtype=np.float32)


def _like(samples: npt.NDArray[np.float32], waveform: Waveform) -> Waveform:
    samples = np.ascontiguousarray(samples)
    if isinstance(waveform, np.ndarray):
        return samples
    import torch  # for which who works with arrays alone need not wait

    return torch.from_numpy(samples).to(waveform)


_ENCODERS = {
    "mp3": ("libmp3lame", "fltp"),
    "aac": ("aac", "fltp"),
    "opus": ("libopus", "flt"),
    "mp2": ("mp2", "s16"),
    "ac3": ("ac3", "fltp"),
    "wma": ("wmav2", "fltp"),
}
_DECODERS = {"mp3": "mp3float", "aac": "aac", "opus": "opus", "mp2": "mp2float", "ac3": "ac3"}
_DELAY_IN_TIME_STAMPS = ("aac", "mp2", "ac3")
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
            decoder = cast(AudioCodecContext, av.CodecContext.create(_DECODERS[coding.encoding.codec], "r"))
            decoder.sample_rate = coding.rate
            decoder.layout = encoder.layout
            decoder.extradata = encoder.extradata
            # The others mark their delay in the packets and the decoder drops it; AAC leaves that to an edit list in
            # the container, MP2 and AC-3 to nobody. The first time stamp is the negative of the delay.
            late = -(packet.pts or 0) if coding.encoding.codec in _DELAY_IN_TIME_STAMPS else 0
        for frame in decoder.decode(packet):
            yield cast(Block, frame.to_ndarray())[:, late:]
            late -= min(late, frame.samples)
    if decoder is not None:
        for frame in decoder.decode(None):
            yield cast(Block, frame.to_ndarray())


def _encoder(coding: _Coding) -> AudioCodecContext:
    encoding = coding.encoding
    name, sample_format = _ENCODERS[encoding.codec]
    encoder = cast(AudioCodecContext, av.CodecContext.create(name, "w"))
    encoder.sample_rate = coding.rate
    encoder.layout = "mono" if coding.channels == 1 else "stereo"
    encoder.format = av.AudioFormat(sample_format)
    encoder.time_base = Fraction(1, coding.rate)
    options = {}
    if encoding.codec == "mp3":
        level = encoding.compression_level
        options["compression_level"] = str(COMPRESSION_LEVEL if level is None else level)
        options["joint_stereo"] = str(int(encoding.stereo != "separate"))
    if encoding.bitrate is not None:
        encoder.bit_rate = encoding.bitrate
    else:
        options["flags"] = "+qscale"
        options["global_quality"] = str(round((encoding.vbr_quality or 0.0) * _FF_QP2LAMBDA))
    encoder.options = options
    return encoder


def _packets(blocks: Iterable[Block], encoder: AudioCodecContext) -> Iterator[Packet]:
    sample_format, layout = encoder.format.name, encoder.layout.name
    start = 0
    for block in blocks:
        samples: npt.NDArray[Any] = block.T.reshape(1, -1) if sample_format in ("flt", "s16") else block
        if sample_format == "s16":
            samples = np.round(samples * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=sample_format, layout=layout)
        frame.sample_rate = encoder.sample_rate
        frame.time_base = Fraction(1, encoder.sample_rate)
        frame.pts = start
        start += block.shape[1]
        yield from encoder.encode(frame)
    if start:
        yield from encoder.encode(None)


def _wma(blocks: Iterable[Block], coding: _Coding) -> Iterator[Block]:
    """By way of a file in memory, whose header holds what the decoder must know."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="asf") as file:
        layout = "mono" if coding.channels == 1 else "stereo"
        stream = cast("AudioStream", file.add_stream(_ENCODERS["wma"][0], rate=coding.rate, layout=layout))
        stream.bit_rate = coding.encoding.bitrate or 0
        packets = list(_packets(blocks, stream.codec_context))
        lost = stream.codec_context.frame_size
        for packet in packets:
            packet.stream = stream
            file.mux(packet)
    if not packets:
        return
    memory.seek(0)
    yield np.zeros((coding.channels, lost), np.float32)  # the first frame, which the decoder keeps to itself
    with av.open(memory, "r") as coded_file:
        for frame in coded_file.decode(audio=0):
            yield cast(Block, frame.to_ndarray())


def _vorbis(blocks: Iterable[Block], coding: _Coding) -> Iterator[Block]:
    memory = io.BytesIO()
    encoding = coding.encoding
    if encoding.bitrate is not None:
        quality = vorbis_quality(coding.rate, encoding.bitrate, coding.channels)
    else:
        quality = (encoding.vbr_quality or 0.0) / 10
    with soundfile.SoundFile(
        memory, "w", coding.rate, coding.channels, "VORBIS", format="OGG", compression_level=1 - quality
    ) as file:
        for block in blocks:  # libsndfile crashes on some 45 s in one call
            file.write(np.ascontiguousarray(block.T))
    memory.seek(0)
    with soundfile.SoundFile(memory) as file:
        while len(decoded := file.read(_BLOCK, dtype="float32", always_2d=True)):
            yield np.ascontiguousarray(decoded.T)
