"""Read audio files with FFmpeg, through PyAV: MP3, M4A, WMA, and the sound of video files.

FFmpeg's time stamps lead to any sample where they have no gaps and are fine enough; whether what is decoded there is
the same as when decoding from the start depends on the codec. MP3's is, once its bit reservoir has filled. AAC's is
not: the noise that it fills bands with (perceptual noise substitution, ISO/IEC 14496-3) comes from a generator that
runs on from the start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream

from apollo.audio.containers import audio_track, is_protected, open_container
from apollo.audio.damage import Damage
from apollo.audio.flac import first_sample
from apollo.audio.packets import Packets, damaged
from apollo.audio.remarks import Remarks
from apollo.audio.views import FileView
from apollo.errors import AudioFileError

# How many seconds before a sample decoding must start to give the sample as decoding from the start would have. An MP3
# frame may draw on the 255 bytes (511 in MPEG-1) of sound before it, to which each frame of 24 ms adds as few as three:
# stereo at 8 kbit/s and 24 kHz (ISO/IEC 13818-3, main_data_begin). Of codecs that are not listed nothing is promised.
_MEMORY = {"mp3": 2.5, "alac": 0.0}
# Decoding to the end of the last seconds tells the length, for codecs whose packets all become their own duration.
_TAIL = 3.0
_STEADY = {"mp3", "aac", "alac"}
_SILENCE = 1 << 12  # samples in a frame of it
_LONGEST = 600  # seconds of it where nothing tells how long a FLAC should be
_LISTS = (".m3u", ".m3u8", ".pls", ".xspf", ".wpl", ".asx", ".cue")
_ARCHIVES = (".zip", ".rar", ".7z", ".gz", ".bz2", ".xz", ".tar", ".iso")
_FILLING = 7  # zeros that fill a chunk up to its size, at most
_PLANES = 8  # from so many on PyAV cannot reach into frames with a plane for each channel


class FFmpegDecoder:
    """A file that FFmpeg reads; `remarks` tell of what is damaged, which is left out (in FLAC, silence stands for it).

    Of several tracks, the one that is marked as the default is read, else the first, unless one is chosen. Where rate
    or channels change on the way, as in MP3s that were joined, what follows is brought to those of the start. `view`
    opens what FFmpeg should see of the file; None is the file itself.
    """

    def __init__(self, path: Path, view: Callable[[], FileView] | None = None, track: int | None = None) -> None:
        self._path = path
        self._view = view
        self._track = track
        self._kinds: dict[tuple[str, int], None] = {}  # layouts and rates of frames, the first one first
        self._start: int | None = None
        self._open()
        self._frames = self._decode()
        self._pending: list[npt.NDArray[np.float32]] = []
        self._position = 0  # the first sample of what is pending
        try:
            # The first frame tells what the header may not: whether it decodes, and the true rate of HE-AAC.
            first = next(self._frames, None)
            if first is None:
                raise _not_audio(path)
        except BaseException:
            self.close()
            raise
        self._start = first.pts
        self._pending = [_samples(first)]
        self.sample_rate: int = first.sample_rate
        self.channels: int = self._pending[0].shape[0]
        self.frames: int | None = None

    @property
    def remarks(self) -> Remarks:
        """What a listener would not expect, as far as the file has been read from its start."""
        tracks = [track.index for track in self._container.streams.audio]
        start, *others = (f"{rate} Hz in {layout}" for layout, rate in self._kinds)
        damage = tuple(sorted(self._damage.places.items()))
        return Remarks(
            tracks.index(self._stream.index) + 1, len(tracks), tuple(others), start, damage, cut=self._packets.cut
        )

    def read(self, n: int) -> npt.NDArray[np.float32]:
        """The next samples, float32 of shape (channels, at most n)."""
        ready = sum(block.shape[1] for block in self._pending)
        while ready < n and (frame := next(self._frames, None)) is not None:
            self._pending.append(_samples(frame))
            ready += frame.samples
        joined = np.concatenate([np.zeros((self.channels, 0), np.float32), *self._pending], axis=1)
        self._pending = [joined[:, n:]]
        self._position += min(n, joined.shape[1])
        return joined[:, :n].copy()

    def seek(self, frame: int) -> None:
        """Let `read` go on from this sample, or from the end if that comes first.

        A damaged packet, which reading leaves out, counts as music unless its header shows it or a read has met it.
        """
        memory = _MEMORY.get(self._codec)
        preroll = round((memory or 0.0) * self.sample_rate)
        if not 0 <= frame - self._position <= preroll:
            if memory is not None and frame > preroll and not self._damage.packets and self._extent is not None:
                self._jump(frame - preroll)
            elif frame < self._position:
                self._restart()
        self._skip(frame)

    def count(self) -> int:
        """Samples a channel, as many as reading all gives; damaged packets count as they do for `seek`."""
        with closing(FFmpegDecoder(self._path, self._view, self._track)) as other:
            tail = round(_TAIL * self.sample_rate)
            if (
                self._codec in _STEADY
                and not self._damage.packets
                and self._extent is not None
                and self._extent > 2 * tail
            ):
                other._jump(self._extent - tail)
            other._skip(sys.maxsize)
            return other._position

    def close(self) -> None:
        """Close the file."""
        self._files.close()

    def _open(self) -> None:
        with ExitStack() as files:  # which closes what was opened unless all goes well
            try:
                self._container = files.enter_context(open_container(self._path, self._view))
            except (av.FFmpegError, ValueError):
                raise _not_audio(self._path) from None
            stream = audio_track(self._container, self._path, self._track)
            if stream is None and self._container.streams.video:
                raise AudioFileError(f"{self._path} holds pictures but no sound; give another file.")
            if stream is None:
                raise _not_audio(self._path)
            self._stream = stream
            self._damage = Damage(self._container.format.name, stream)
            self._packets = Packets(self._path, self._container, stream, self._damage)
            is_mp4 = self._container.format.name.startswith("mov")
            if is_mp4 and (_tag_of(self._stream) == "aavd" or is_protected(self._path)):
                raise AudioFileError(
                    f"{self._path} is protected (encrypted), so it cannot be read; give a copy without protection."
                )
            self._files = files.pop_all()
        self._codec = self._stream.codec_context.codec.canonical_name
        if self._codec == "flac":  # whose frames know whether they are whole
            self._stream.codec_context.options = {"err_detect": "crccheck+explode"}
        if self._codec == "alac" and self._container.format.name == "caf":  # FFmpeg cuts its last packet short twice
            self._stream.codec_context.options = {"flags2": "skip_manual"}

    def _decode(self) -> Iterator[av.AudioFrame]:
        """Decode from here on to frames of floats; the last one is without the padding that MP4 marks by durations."""
        resampler: av.AudioResampler | None = None
        kind: tuple[str, int, str] | None = None
        last: av.AudioFrame | None = None
        length = 0
        for coded in self._decode_as_coded():
            frames = []
            try:
                # Given samples of another kind, FFmpeg would take them for the old one, and read beyond them.
                if resampler is None or (coded.layout.name, coded.sample_rate, coded.format.name) != kind:
                    frames += resampler.resample(None) if resampler is not None else []
                    kind = (coded.layout.name, coded.sample_rate, coded.format.name)
                    resampler = self._resampler(coded)
                frames += resampler.resample(coded)
            except av.FFmpegError as error:
                raise damaged(self._path, str(error)) from None
            for frame in frames:
                if last is not None:
                    yield last
                last = frame
            length = round((coded.duration or 0) * (coded.time_base or 0) * coded.sample_rate)
        for frame in resampler.resample(None) if resampler is not None else ():
            if last is not None:
                yield last
            last = frame
        if last is not None:
            yield _first_samples(last, length) if self._codec == "aac" and 0 < length < last.samples else last

    def _resampler(self, coded: av.AudioFrame) -> av.AudioResampler:
        """What brings frames of a kind to floats, in the layout and at the rate that the file began with."""
        self._kinds[coded.layout.name, coded.sample_rate] = None
        layout, rate = next(iter(self._kinds))
        planes = len(av.AudioLayout(layout).channels)
        return av.AudioResampler("fltp" if planes < _PLANES else "flt", layout, rate)

    def _decode_as_coded(self) -> Iterator[av.AudioFrame]:
        due: int | None = 0 if self._container.format.name == "flac" else None  # the sample that should come next
        for packet in self._packets:
            try:
                for number, frame in enumerate(packet.decode()):
                    if self._damage.by_frames:
                        if number == 0:  # several lie in a packet where FFmpeg does not see where they begin
                            start = self._place_of(packet, due)
                            yield from self._lost_before(frame, due, start)
                            due = start
                        due = (due or 0) + frame.samples
                    self._damage.heard(frame)
                    yield frame
                self._damage.decoded(packet)
            except (av.InvalidDataError, av.UndefinedError):  # the latter is what AC-3 says
                if packet.size > _FILLING or any(bytes(packet)):
                    self._damage.failed(packet)
            except av.FFmpegError as error:
                raise damaged(self._path, str(error)) from None

    def _place_of(self, packet: av.Packet[AudioStream], due: int | None) -> int:
        """Which sample of a FLAC a packet begins with, as its frame tells; the one that is due where it does not."""
        info = self._stream.codec_context.extradata or b""  # STREAMINFO
        place = first_sample(bytes(packet)[:16], int.from_bytes(info[2:4], "big"))
        return (due or 0) if place is None else place

    def _lost_before(self, frame: av.AudioFrame, due: int | None, start: int) -> Iterator[av.AudioFrame]:
        """Silence for the frames of a FLAC that were lost before this one."""
        end = self._stream.duration if self._container.format.name == "flac" else None
        if due is None or not due < start < (end or due + _LONGEST * frame.sample_rate):
            return
        self._damage.lost(due / frame.sample_rate, (start - due) / frame.sample_rate)
        for place in range(due, start, _SILENCE):
            silence = av.AudioFrame(frame.format.name, frame.layout.name, min(_SILENCE, start - place))
            silence.sample_rate = frame.sample_rate
            for plane in silence.planes:
                plane.update(bytes(plane.buffer_size))
            yield silence

    @property
    def _per_sample(self) -> Fraction:
        """Units of the time stamps to a sample."""
        return 1 / (self._stream.time_base or Fraction(1)) / self.sample_rate

    @cached_property
    def _extent(self) -> int | None:
        """Where the last packet ends, in samples; None where time stamps are too coarse, have gaps or count junk."""
        if self._start is None or self._per_sample.denominator != 1 or self._packets.without_headers:
            return None
        end = None
        try:
            with open_container(self._path, self._view) as container:
                kind: tuple[int, int, bool] | None = None
                for packet in container.demux(container.streams[self._stream.index]):
                    if packet.size:
                        in_step = packet.pts is not None and end in (None, packet.pts) and packet.duration
                        if not in_step or (self._codec == "mp3" and memoryview(packet)[0] != 0xFF):
                            return None
                        if self._codec == "mp3":
                            before, kind = kind, _kind_of_mpeg(bytes(packet)[:4])
                            if before not in (None, kind):
                                return None
                        end = (packet.pts or 0) + (packet.duration or 0)
        except av.FFmpegError:
            return None
        return None if end is None else int((end - self._start) / self._per_sample)

    def _jump(self, frame: int) -> None:
        """Go on at this sample or a little before it by time stamps, or from the start if they lead nowhere."""
        start = self._start or 0
        try:
            self._container.seek(start + int(frame * self._per_sample), stream=self._stream)
            self._packets.from_start = False
            self._damage.jumped()
            self._frames = self._decode()
            first = next(self._frames, None)
        except (av.FFmpegError, AudioFileError):
            first = None
        if first is None or first.pts is None or first.pts < start:
            self._restart()
        else:
            self._position = int((first.pts - start) / self._per_sample)
            self._pending = [_samples(first)]

    def _restart(self) -> None:
        # With a decoder of its own: even when it is flushed, that of AAC keeps the state of its noise.
        self.close()
        self._open()
        self._frames, self._pending, self._position = self._decode(), [], 0

    def _skip(self, frame: int) -> None:
        """Leave out what comes before a sample; most of it never becomes an array, which takes as long as decoding."""
        while self._position < frame:
            if not self._pending:
                decoded = next(self._frames, None)
                if decoded is None:
                    return
                if self._position + decoded.samples <= frame:
                    self._position += decoded.samples
                    continue
                self._pending = [_samples(decoded)]
            left_out = min(self._pending[0].shape[1], frame - self._position)
            self._position += left_out
            self._pending[0] = self._pending[0][:, left_out:]
            if not self._pending[0].shape[1]:
                del self._pending[0]


def _tag_of(stream: AudioStream) -> str:
    """The four letters by which a container calls a codec; nothing where they are none, as in AVI and ASF."""
    with suppress(UnicodeDecodeError):
        return stream.codec_context.codec_tag
    return ""


def _kind_of_mpeg(header: bytes) -> tuple[int, int, bool]:
    """Version and layer, sample rate, and whether there is one channel: what stays the same in a file of one kind."""
    return header[1] & 0x1E, header[2] & 0x0C, header[3] >> 6 == 3


def _first_samples(frame: av.AudioFrame, length: int) -> av.AudioFrame:
    """The first samples of a frame of floats, as a frame."""
    values = length if frame.format.is_planar else length * len(frame.layout.channels)
    samples = np.ascontiguousarray(frame.to_ndarray()[:, :values], dtype=np.float32)
    cut = av.AudioFrame.from_ndarray(samples, frame.format.name, frame.layout.name)
    cut.sample_rate, cut.pts = frame.sample_rate, frame.pts
    return cut


def _samples(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
    samples = frame.to_ndarray().astype(np.float32, copy=False)
    return samples if frame.format.is_planar else samples.reshape(frame.samples, -1).T


def _not_audio(path: Path) -> AudioFileError:
    suffix = path.suffix.lower()
    if suffix in _LISTS:
        return AudioFileError(f"{path} is not a readable audio file but a list of files; name those.")
    if suffix in _ARCHIVES:
        return AudioFileError(f"{path} is not a readable audio file but an archive; unpack it first.")
    return AudioFileError(f"{path} is not a readable audio file, or its header is damaged; convert it to WAV or FLAC.")
