"""The packets of a track as FFmpeg's demuxers give them, and what they tell of how a file ends."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from apollo.audio.damage import Damage
from apollo.audio.endings import break_in_avi, is_part_of_frame, nut_lacks_sound
from apollo.audio.stated_sizes import missing_share
from apollo.errors import AudioFileError

_LARGEST = 1 << 22  # bytes of a packet: at 16 kbit/s half an hour, which as samples takes 700 MB
_SMALLEST = 188  # bytes of a packet of a transport stream


class Packets:
    """The packets of a track from where its container stands; at their end, `damage` is told what is missing.

    `from_start` says whether the container stood at its start, and `cut` whether the last frame is not all there. All
    raise AudioFileError where FFmpeg cannot go on.
    """

    def __init__(self, path: Path, container: InputContainer, stream: AudioStream, damage: Damage) -> None:
        self.from_start = True
        self.cut = False
        self._path = path
        self._container = container
        self._stream = stream
        self._damage = damage
        self._kind = container.format.name
        self._codec = stream.codec_context.codec.canonical_name

    @property
    def without_headers(self) -> bool:
        """Whether the frames are those of AAC with nothing between them, of which FFmpeg does not know the borders."""
        return self._kind in ("wav", "w64") and self._codec == "aac" and bool(self._stream.codec_context.extradata)

    def __iter__(self) -> Iterator[av.Packet[AudioStream]]:
        """The packets from here on, and an empty one at the end, on which a decoder gives what it has kept."""
        broken = False
        first, last = b"", None
        try:
            for packet in self._joined() if self.without_headers else self._demuxed():
                if packet.size:
                    first, last = first or bytes(packet)[:2], packet
                elif packet.buffer_ptr:  # an empty packet, as FLAC in NUT ends with, is not the end
                    continue
                yield packet
        except av.InvalidDataError:  # what follows is no sound, such as tags
            broken = True
            yield self._packet()
        except av.FFmpegError as error:
            raise damaged(self._path, str(error)) from None
        alone = len(self._container.streams) == 1
        if last is not None:
            self.cut = self._is_cut(first, last, alone)
        if self.from_start:
            no_sound = last is not None and not any(bytes(last))  # such as the zeros that a half-finished download has
            self._judge_length(alone, broken, self.cut or no_sound)

    def _demuxed(self) -> Iterator[av.Packet[AudioStream]]:
        """As they lie in the file; FFmpeg wants to be asked again after 64 KiB of a transport stream without any."""
        for _ in range(self._path.stat().st_size // _SMALLEST + 1):
            try:
                yield from self._container.demux(self._stream)
                return
            except av.BlockingIOError:
                pass

    def _joined(self) -> Iterator[av.Packet[AudioStream]]:
        """All packets as one, in which the decoder finds the borders of the frames; as they are if that is too large.

        If the decoder fails, they follow as they are.
        """
        packets = (packet for packet in self._demuxed() if packet.size)
        held: list[av.Packet[AudioStream]] = []
        size, failures = 0, self._damage.packets
        for packet in packets:
            held.append(packet)
            if (size := size + packet.size) > _LARGEST:
                break
        if held and size <= _LARGEST:
            yield self._packet(b"".join(map(bytes, held)))
        if size > _LARGEST or self._damage.packets > failures:
            yield from held
            yield from packets
        yield self._packet()

    def _packet(self, content: bytes = b"") -> av.Packet[AudioStream]:
        packet = cast("av.Packet[AudioStream]", av.Packet(content) if content else av.Packet())
        packet.stream = self._stream
        return packet

    def _is_cut(self, first: bytes, last: av.Packet[AudioStream], alone: bool) -> bool:
        """Whether a file ends within its last packet; `first` is what the first one begins with."""
        content = bytes(last)
        if last.is_corrupt or is_part_of_frame(content, self._codec, first):
            return True
        if self._damage.ends_in_failure and content[:1] == first[:1]:
            return True
        if self._kind != "nut" or not alone or last.pos is None:
            return False
        return nut_lacks_sound(self._path, last.pos + last.size)

    def _judge_length(self, alone: bool, broken: bool, may_fail: bool) -> None:
        """Tell of what is missing of the length that the container states, if FFmpeg came to the end from the start."""
        stated = Fraction(self._container.duration or 0, av.time_base) if alone else Fraction(0)
        if self._stream.duration is not None:
            stated = self._stream.duration * (self._stream.time_base or Fraction(0))
        share = missing_share(self._path)
        stated /= 1 + Fraction(share)
        place = break_in_avi(self._path) if self._kind == "avi" else None
        # At damage, the decoder of frames without headers stops in silence.
        broken = broken or (self.without_headers and self._damage.is_short_of(float(stated)))
        self._damage.ended(float(stated), broken, may_fail or share > 0, place)


def damaged(path: Path, reason: str) -> AudioFileError:
    """The error for a file that FFmpeg cannot read to its end."""
    return AudioFileError(f"{path} is damaged and cannot be read to its end ({reason.rstrip('.')}); copy it again.")
