import numpy as np
import pytest

from apollo.audio.fir import FIR, low_pass_kernel


@pytest.mark.parametrize("samples", [1, 500, 130_001])
@pytest.mark.parametrize("block", [997, 40_000, 200_000])
def test_filter_is_the_convolution_whatever_the_blocks(samples, block):
    given = np.random.default_rng(0).uniform(-1, 1, (2, samples)).astype(np.float32)
    kernel = low_pass_kernel(44_100, 1000, 200)
    fir = FIR(kernel, 2)
    parts = [fir.push(given[:, start : start + block]) for start in range(0, samples, block)]
    filtered = np.concatenate([*parts, fir.flush()], axis=1)
    assert filtered.shape == (2, max(0, samples - 2 * fir.reach))
    if filtered.size:
        whole = np.stack([np.convolve(channel, kernel, "valid") for channel in given.astype(np.float64)])
        assert np.allclose(filtered, whole, rtol=0, atol=1e-6)
