"""The damage that training teaches to undo: a codec with options drawn afresh for every crop."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from apollo.audio import degrade

BITRATES = (24000, 32000, 48000, 64000, 96000, 128000)


class RandomCodec:
    """Puts waveforms through MP3.

    Args:
        sample_rate: Of the waveforms, in Hz.
        bitrate: In bit/s, such as 64000, or `"random"` for one of `BITRATES` a crop.
        compression: LAME's quality from 0 (best, slow) to 9, or `"random"` for the fast one that training can afford.
    """

    def __init__(
        self,
        sample_rate: int,
        bitrate: int | Literal["random"] = "random",
        compression: int | Literal["random"] = "random",
    ) -> None:
        for name, value, lowest in (("bitrate", bitrate, 8000), ("compression", compression, 0)):
            if value != "random" and not (isinstance(value, int) and value >= lowest):
                raise ValueError(f"{name} must be 'random' or a whole number from {lowest}, not {value!r}")
        self.sample_rate = sample_rate
        self.bitrate = bitrate
        self.compression = compression

    def __call__(self, waveform: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Encode and decode `(channels, samples)`; the result is aligned and as long."""
        bitrate = int(rng.choice(BITRATES)) if self.bitrate == "random" else int(self.bitrate)
        compression = None if self.compression == "random" else int(self.compression)
        return degrade(waveform, self.sample_rate, codec="mp3", bitrate=bitrate, compression_level=compression)
