from pathlib import Path

import numpy as np
import pytest
import torch

from apollo.audio.alignment import lag
from apollo.data import DataModule, StemDataModule
from apollo.data.crops import CropBatches, Crops, Place
from apollo.data.degradation import BITRATES, RandomCodec
from apollo.data.folders import MusicFolder, find_tracks
from apollo.data.stems import Mixing, StemFolder
from apollo.errors import DataError

RATE = 44100


def folders(music: Path) -> dict[str, str]:
    return {"original_dir": str(music / "train" / "original"), "valid_dir": str(music / "valid")}


@pytest.mark.parametrize("kind", ["music", "stems"])
def test_crops_are_stereo_equally_long_aligned_and_within_full_scale(kind: str, music: Path, stems: Path) -> None:
    source = MusicFolder(find_tracks(music / "train"), RATE) if kind == "music" else StemFolder(stems, RATE)
    crops = Crops(source, RandomCodec(RATE, bitrate=128000), RATE, seed=0)
    for number in range(6):
        crop = crops[number]
        assert crop["original"].shape == crop["degraded"].shape == (2, RATE)
        assert abs(lag(crop["original"].numpy(), crop["degraded"].numpy())) < 0.1
        assert max(crop["original"].abs().max(), crop["degraded"].abs().max()) == pytest.approx(1, abs=1e-6)


def test_a_crop_depends_on_seed_and_number_only(stems: Path) -> None:
    def crops(seed: int) -> Crops:
        return Crops(StemFolder(stems, RATE), RandomCodec(RATE), 20000, seed=seed, peak=(-12, 0))

    first, again, other = crops(1), crops(1), crops(2)
    assert torch.equal(first[5]["degraded"], again[5]["degraded"])
    assert not torch.equal(first[5]["original"], first[6]["original"])
    assert not torch.equal(first[5]["original"], other[5]["original"])


def test_workers_do_not_change_what_is_drawn(music: Path) -> None:
    def batches(workers: int) -> list[torch.Tensor]:
        data = DataModule(
            **folders(music), codec={"enable": True}, segments=0.5, num_steps=3, batch_size=2, num_workers=workers
        )
        return [batch["degraded"] for batch in data.train_dataloader()]

    for alone, shared in zip(batches(0), batches(2), strict=True):
        assert alone.shape == (2, 2, RATE // 2)
        assert torch.equal(alone, shared)


@pytest.mark.parametrize("processes", [1, 3])
def test_no_crop_comes_twice_in_a_run_whatever_interrupts_it(processes: int) -> None:
    seen: list[int] = []
    for start, end in ((0, 5), (5, 8), (8, 10), (10, 15)):  # the second epoch was interrupted after three batches
        for rank in range(processes):
            batches = list(CropBatches(5, 2, lambda: Place(start, rank, processes)))  # noqa: B023
            assert len(batches) == 5
            seen += [number for batch in batches[: end - start] for number in batch]
    assert sorted(seen) == list(range(15 * 2 * processes))


def test_processes_share_a_batch_as_one_would_have_drawn_it() -> None:
    one = list(CropBatches(4, 6))
    shares = [list(CropBatches(4, 2, lambda: Place(0, rank, 3))) for rank in range(3)]  # noqa: B023
    assert [[*a, *b, *c] for a, b, c in zip(*shares, strict=True)] == one


def test_the_bitrate_is_drawn_afresh_for_every_crop() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, 20000)).astype(np.float32) * 0.1
    codec = RandomCodec(RATE)
    cut_offs = set()
    for _ in range(12):
        spectrum = np.abs(np.fft.rfft(codec(noise, rng)[0]))
        cut_offs.add(int(np.flatnonzero(spectrum > 0.05 * spectrum.max())[-1] // 200))
    assert len(cut_offs) >= 4
    assert len(BITRATES) == 6


def test_levels_spread_over_the_range_asked_for(stems: Path) -> None:
    crops = Crops(StemFolder(stems, RATE), RandomCodec(RATE, bitrate=96000), 10000, seed=0, peak=(-12, -11))
    for number in range(4):
        assert crops[number]["original"].abs().max() <= 10 ** (-11 / 20) + 1e-6


def test_mono_crops_are_two_pieces(stems: Path) -> None:
    crop = Crops(StemFolder(stems, RATE), RandomCodec(RATE), 20000, seed=0, mono=1.0)[0]
    assert crop["original"].shape == crop["degraded"].shape == (2, 20000)
    assert not torch.equal(crop["original"][0], crop["original"][1])


def test_songs_that_are_no_folders_are_named(stems: Path) -> None:
    with pytest.raises(DataError, match="folder of songs"):
        StemFolder(stems / "first", RATE)


def test_stem_mixes_for_validation_never_change(stems: Path) -> None:
    data = StemDataModule(str(stems), str(stems), valid_crops=3, segments=0.5)
    first, second = (
        [item["degraded"] for item in data.val_dataloader()],
        [item["degraded"] for item in data.val_dataloader()],
    )
    assert len(first) == 3
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_dull_mixes_fall_towards_the_top_and_others_do_not(stems: Path) -> None:
    def share_above(hertz: float, dull: float) -> float:
        source = StemFolder(
            stems, RATE, Mixing(equalisation=0.0, speed=1.0, saturation_probability=0.0, dull_probability=dull)
        )
        power = np.zeros(2049)
        for seed in range(30):
            mix = source.draw(np.random.default_rng(seed), 4096)
            power += (np.abs(np.fft.rfft(mix * np.hanning(4096))) ** 2).sum(axis=0)
        return float(power[round(hertz / RATE * 4096) :].sum() / power.sum())

    assert share_above(6000, dull=1.0) < 0.2 * share_above(6000, dull=0.0)
