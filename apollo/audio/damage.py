"""How much of a file FFmpeg cannot decode: where, and for how many seconds."""

from __future__ import annotations

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet

# Containers that state how long their sound lasts; of others FFmpeg guesses it from the bitrate.
_STATE_LENGTHS = {"asf", "avi", "caf", "flv", "matroska", "mov", "nut", "w64", "wav", "wtv", "wv"}
# Those whose stated length is right although everything that was found was decoded.
_RELIABLE = {"flv", "matroska", "wv"}
# Those whose time stamps tell of what is lost between two packets.
_KEEP_TIME = {"asf", "flv", "matroska", "mpeg", "mpegts", "nut", "ogg", "wtv"}
_NOTABLE = 0.1  # seconds: time stamps are rounded, in WTV and ASF by some hundredths
_SURPRISING = 0.5  # seconds: lengths may be those of whole packets
_LONGEST = 600.0  # seconds: clocks jump by more where broadcasts are joined


class Damage:
    """Adds up what is lost of a stream while it is decoded from its start.

    Args:
        container: FFmpeg's name of it.
        stream: What is decoded.

    Attributes:
        places: Seconds lost, by where in seconds.
        packets: How many could not be decoded.
    """

    def __init__(self, container: str, stream: AudioStream) -> None:
        self.places: dict[float, float] = {}
        self.packets = 0
        self._container = container.split(",")[0]
        self._stream = stream
        self._start: int | None = None  # time stamp of the first frame
        self._due: float | None = None  # seconds at which the next one should stand
        self._since: float | None = None  # seconds at which the packets that fail just now began
        self._heard = 0.0
        self._gaps: list[float] = []  # places that time stamps told of
        self._size, self._seconds = 0, 0.0  # of packets that were decoded

    def failed(self, packet: Packet[AudioStream]) -> None:
        """A packet could not be decoded."""
        self.packets += 1
        if self._since is None:
            self._since = float(((packet.pts or 0) - (self._start or 0)) * (packet.time_base or 0))
        # What FFmpeg gives as one packet of MP3 is all the bytes up to the next frame that it can make out.
        is_mp3 = self._stream.codec_context.codec.canonical_name == "mp3"
        by_size = packet.size * self._seconds / self._size if self._size and is_mp3 else 0.0
        self._add(self._since, max(_duration(packet), by_size))

    def decoded(self, packet: Packet[AudioStream]) -> None:
        """A packet was decoded, and its frames have been heard."""
        self._size, self._seconds = self._size + packet.size, self._seconds + _duration(packet)
        self._since = None

    def heard(self, frame: AudioFrame) -> None:
        """A frame was decoded."""
        seconds = frame.samples / frame.sample_rate
        self._heard += seconds
        if frame.pts is None or frame.time_base is None:
            return
        self._start = frame.pts if self._start is None else self._start
        at = float((frame.pts - self._start) * frame.time_base)
        if self._due is not None and self._container in _KEEP_TIME and _NOTABLE < at - self._due < _LONGEST:
            place = self._due if self._since is None else self._since
            if place not in self.places:
                self._gaps.append(place)
            self._add(place, max(0.0, at - self._due - self.places.get(place, 0.0)))
        self._due = at + seconds

    def jumped(self) -> None:
        """Decoding goes on somewhere else."""
        self._due = self._since = None

    def ended(self, stated: float, broken: bool) -> None:
        """Nothing follows: what is missing of the length that the container states is lost.

        Sound whose packets have no headers, such as raw AAC in a WAV, comes in too few of them.

        Args:
            stated: Length in seconds of what should be there, by the container; 0 where that is not known.
            broken: Whether FFmpeg had to stop.
        """
        if self._container not in _STATE_LENGTHS or not stated:
            return
        if stated - self._heard < _NOTABLE:  # then the time stamps are wrong
            for place in self._gaps:
                del self.places[place]
        missing = stated - self._heard - sum(self.places.values())
        suspected = self.places or broken
        if missing > (_NOTABLE if suspected else _SURPRISING) and (suspected or self._container in _RELIABLE):
            self._add(next(reversed(self.places), self._heard), missing)

    def _add(self, place: float, seconds: float) -> None:
        self.places[place] = self.places.get(place, 0.0) + seconds


def _duration(packet: Packet[AudioStream]) -> float:
    return float((packet.duration or 0) * (packet.time_base or 0))
