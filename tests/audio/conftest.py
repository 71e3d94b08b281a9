from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

SAMPLE_RATE = 44_100
_SAMPLE_FORMATS = {"libopus": "flt", "alac": "s16p", "adpcm_ima_wav": "s16p", "mp2": "s16"}


@pytest.fixture(scope="session")
def music() -> npt.NDArray[np.float32]:
    """Three seconds of plucked chords, a bass and brushed noise in stereo, the same in every run: (2, 132300)."""
    rng = np.random.default_rng(1)
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    left = np.zeros_like(time)
    right = np.zeros_like(time)
    since = time[: SAMPLE_RATE // 2]
    for beat, start in enumerate(range(2_000, left.size - since.size, SAMPLE_RATE // 4)):
        struck = slice(start, start + since.size)
        for note in (110.0, 220.0, 277.2, 329.6, 440.0 * (1 + beat % 3 / 8)):
            pan = 0.3 + 0.4 * rng.random()
            for harmonic in range(1, 25):
                frequency = note * harmonic * (1 + 2e-4 * harmonic**2)
                tone = np.exp(-since * (6.0 + 0.6 * harmonic)) * np.sin(2 * np.pi * frequency * since) / harmonic
                left[struck] += pan * tone
                right[struck] += (1 - pan) * tone
        brush = np.exp(-since * 40.0) * rng.standard_normal(since.size)
        left[struck] += 0.4 * brush
        right[struck] += 0.3 * brush
    waveform = np.stack([left, right])
    return (0.7 * waveform / np.abs(waveform).max()).astype(np.float32)


@pytest.fixture(scope="session")
def encode():
    """Write a waveform with an FFmpeg encoder, or with libsndfile where that is named; gives the path."""

    def encode(path, waveform, encoder, rate=SAMPLE_RATE, kbps=128, options=None, container_options=None):
        layout = "mono" if waveform.shape[0] == 1 else "stereo"
        if encoder == "libsndfile":
            with soundfile.SoundFile(path, "w", rate, waveform.shape[0], format=path.suffix[1:].upper()) as file:
                for start in range(0, waveform.shape[1], 1 << 16):
                    file.write(waveform[:, start : start + (1 << 16)].T)
            return path
        sample_format = _SAMPLE_FORMATS.get(encoder, "fltp")
        with av.open(str(path), "w", options=container_options or {}) as container:
            stream = container.add_stream(encoder, rate=rate, layout=layout, options=options or {})
            if kbps is not None:
                stream.bit_rate = 1000 * kbps
            samples = waveform.T.reshape(1, -1) if sample_format in ("flt", "s16") else waveform
            if sample_format.startswith("s16"):
                samples = np.round(32767 * np.clip(samples, -1, 1)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=sample_format, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return encode
