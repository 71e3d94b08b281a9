"""How much of a file FFmpeg cannot decode: where, and for how many seconds."""

from __future__ import annotations

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet

# Containers that state how long their sound lasts; of others FFmpeg guesses it from the bitrate.
_STATE_LENGTHS = {"asf", "avi", "caf", "flv", "matroska", "mov", "rm", "w64", "wav", "wtv", "wv"}
# Those whose stated length is right although everything that was found was decoded.
_RELIABLE = {"flv", "matroska", "rm", "wtv", "wv"}
# Those whose time stamps tell of what is lost between two packets: how many seconds of it, at least, as they are
# rounded or set carelessly. Smaller gaps than _NOTABLE count only where the stated length agrees or none is stated.
_KEEP_TIME = {"mpeg": 0.01, "mpegts": 0.01, "ogg": 0.01, "nut": 0.01}
_KEEP_TIME |= {"asf": 0.02, "flv": 0.02, "matroska": 0.02, "rm": 0.02, "wtv": 0.02}
_OF_A_FRAME = 0.75  # likewise, as a share of the frame behind it
# Those with FLAC whose frames lie in them as they were made, and whose time stamps say little of them.
_FRAMES = {"asf", "avi", "flac", "w64", "wav", "wtv"}
# Streams of frames without a container, all of whose bytes are sound; what FFmpeg gives as one packet of MP3 is all of
# them up to the next frame that it can make out.
_BARE = {"aac", "ac3", "amr", "amrnb", "amrwb", "dts", "eac3", "mp3", "truehd"}
_NOTABLE = 0.1  # seconds; where nothing else tells of damage twice as many, as lengths may be those of whole packets
_ROUNDED = 0.01  # seconds by which stated lengths are rounded
_SURPRISING = 0.5  # seconds: decoders may leave out some of the first and last packets
_LONGEST = 600.0  # seconds: clocks jump by more where broadcasts are joined


class Damage:
    """Adds up what is lost of a stream while it is decoded from its start.

    Args:
        container: FFmpeg's name of it.
        stream: What is decoded.

    Attributes:
        places: Seconds lost, by where in seconds.
        packets: How many could not be decoded.
        by_frames: Whether what is lost shows in the numbers of the frames: see `lost`.
    """

    def __init__(self, container: str, stream: AudioStream) -> None:
        self.places: dict[float, float] = {}
        self.packets = 0
        self._container = container.split(",")[0]
        self.by_frames = stream.codec_context.codec.canonical_name == "flac" and self._container in _FRAMES
        self._start: int | None = None  # time stamp of the first frame
        self._due: float | None = None  # seconds at which the next one should stand
        self._since: float | None = None  # seconds at which the packets that fail just now began
        self._heard = self._last = 0.0  # seconds, of all frames and of the last one
        self._gaps: dict[float, float] = {}  # seconds that only time stamps tell of, by their places
        self._size, self._seconds = 0, 0.0  # of packets that were decoded
        self._bare = self._container in _BARE
        self._end: int | None = None  # the byte after the last packet

    def failed(self, packet: Packet[AudioStream]) -> None:
        """A packet could not be decoded."""
        self._follow(packet)
        self.packets += 1
        if self._since is None:
            self._since = float(((packet.pts or 0) - (self._start or 0)) * (packet.time_base or 0))
        # What FFmpeg gives as one packet of MP3 is all the bytes up to the next frame that it can make out.
        by_size = self._seconds_of(packet.size) if self._bare else 0.0
        self._add(self._since, max(_duration(packet), by_size))

    def decoded(self, packet: Packet[AudioStream]) -> None:
        """A packet was decoded, and its frames have been heard."""
        if not packet.size:  # with which the decoder was told of the end
            return
        self._follow(packet)
        self._size, self._seconds = self._size + packet.size, self._seconds + _duration(packet)
        self._since = None

    def lost(self, place: float, seconds: float) -> None:
        """Exactly this is lost, whatever was thought of the packets that failed just now."""
        if self._since is not None:
            self.places.pop(self._since, None)
        self.places[place] = seconds

    def heard(self, frame: AudioFrame) -> None:
        """A frame was decoded."""
        seconds = frame.samples / frame.sample_rate
        self._heard, self._last = self._heard + seconds, seconds
        if frame.pts is None or frame.time_base is None:
            return
        self._start = frame.pts if self._start is None else self._start
        at = float((frame.pts - self._start) * frame.time_base)
        least = _KEEP_TIME.get(self._container)
        if self._due is not None and least is not None and not self.by_frames:
            gap = at - self._due
            if max(least, _OF_A_FRAME * seconds) < gap < _LONGEST:
                place = self._due if self._since is None else self._since
                if place not in self.places:
                    self._gaps[place] = gap
                self._add(place, max(0.0, gap - self.places.get(place, 0.0)))
        self._due = at + seconds

    def jumped(self) -> None:
        """Decoding goes on somewhere else."""
        self._due = self._since = self._end = None

    def ended(self, stated: float, broken: bool, may_fail: bool, gap: float | None) -> None:
        """Nothing follows: what is missing of the length that the container states is lost.

        Sound whose packets have no headers, such as raw AAC in a WAV, comes in too few of them.

        Args:
            stated: Length in seconds of what should be there, by the container; 0 where that is not known.
            broken: Whether FFmpeg had to stop.
            may_fail: Whether the last packet is not all there, or no sound: that it fails is no damage then.
            gap: Where bytes were passed over, as a share of the file.
        """
        if may_fail and self._since is not None:
            self.places.pop(self._since, None)
        if self.by_frames:
            missing = stated - self._heard - sum(self.places.values())
            if self._container == "flac" and missing > _NOTABLE:
                end = self._heard + sum(self.places.values()) if self._since is None else self._since
                self._add(end, missing)
            return
        if self._container not in _STATE_LENGTHS:
            # A decoder may take a damaged packet for the end, and make nothing of all that follow.
            if (silent := self._seconds - self._heard) > _SURPRISING + self._heard / 1_000:
                self._add(self._heard, silent)
            return
        if not stated:
            return
        # Where more was heard than these leave, the time stamps are wrong: first the small gaps, then all of them.
        for least in (_NOTABLE, _LONGEST):
            if sum(self._gaps.values()) > 2 * (stated - self._heard) + _ROUNDED:
                for place in [place for place, gap in self._gaps.items() if gap < least]:
                    del self._gaps[place], self.places[place]
        missing = stated - self._heard - sum(self.places.values())
        if gap is not None and missing > _ROUNDED:
            # Of ADPCM, AVI may state lengths that are none at all.
            self._add(gap * self._heard, missing if missing < self._heard + _LONGEST else self._last)
            return
        suspected = self.places or broken
        if missing > (_NOTABLE if suspected else 2 * _NOTABLE) and (suspected or self._container in _RELIABLE):
            self._add(next(reversed(self.places), self._heard), missing)

    def is_short_of(self, stated: float) -> bool:
        """Whether clearly less was heard than a stated length that may be guessed from the bitrate."""
        return self._heard < 0.9 * stated

    @property
    def ends_in_failure(self) -> bool:
        """Whether the last packet of a stream without a container could not be decoded."""
        return self._bare and self._since is not None

    def _follow(self, packet: Packet[AudioStream]) -> None:
        """What lies between two packets of a stream without a container is lost."""
        if not self._bare or packet.pos is None:
            return
        if self._end is not None and packet.pos > self._end:
            place = self._heard if self._since is None else self._since
            self._add(place, self._seconds_of(packet.pos - self._end))
        self._end = packet.pos + packet.size

    def _seconds_of(self, size: int) -> float:
        """How long so many bytes last, by what was decoded so far."""
        return size * self._seconds / self._size if self._size else 0.0

    def _add(self, place: float, seconds: float) -> None:
        self.places[place] = self.places.get(place, 0.0) + seconds


def _duration(packet: Packet[AudioStream]) -> float:
    return float((packet.duration or 0) * (packet.time_base or 0))
