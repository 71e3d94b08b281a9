import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from apollo.audio.alignment import lag
from apollo.data import DataModule, StemDataModule
from apollo.data.crops import Crops, CropSampler
from apollo.data.degradation import BITRATES, RandomCodec
from apollo.data.folders import MusicFolder
from apollo.data.stems import StemFolder
from apollo.errors import ConfigError, DataError

RATE = 44100


def folders(music: Path) -> dict[str, str]:
    return {"original_dir": str(music / "train" / "original"), "valid_dir": str(music / "valid")}


@pytest.mark.parametrize("kind", ["music", "stems"])
def test_crops_are_stereo_equally_long_aligned_and_within_full_scale(kind: str, music: Path, stems: Path) -> None:
    source = MusicFolder(music / "train", RATE, 1.2) if kind == "music" else StemFolder(stems, RATE)
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


def test_no_epoch_repeats_another(music: Path) -> None:
    sampler = CropSampler(3)
    first = list(sampler)
    sampler.set_epoch(1)
    assert first + list(sampler) == list(range(6))


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


def test_unreadable_and_short_files_are_left_out_by_name(music: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        folder = MusicFolder(music / "train", RATE, 1.0)
    assert len(folder.tracks) == 3
    assert "broken.wav" in caplog.text
    assert "short.wav" in caplog.text


def test_a_truncated_file_is_left_out_before_training_starts(tmp_path: Path, music: Path) -> None:
    whole = (music / "train" / "original" / "nested ünïcode" / "b.flac").read_bytes()
    (tmp_path / "whole.flac").write_bytes(whole)
    (tmp_path / "half.flac").write_bytes(whole[: len(whole) // 2])
    assert [track.path.name for track in MusicFolder(tmp_path, RATE, 1).tracks] == ["whole.flac"]


def test_a_file_that_breaks_later_is_named(tmp_path: Path, music: Path) -> None:
    path = tmp_path / "b.flac"
    whole = (music / "train" / "original" / "nested ünïcode" / "b.flac").read_bytes()
    path.write_bytes(whole)
    folder = MusicFolder(tmp_path, RATE, 1)
    path.write_bytes(whole[:200])
    with pytest.raises(DataError, match=r"b\.flac cannot be read"):
        folder.draw(np.random.default_rng(0), RATE)


def test_mono_crops_are_two_pieces(stems: Path) -> None:
    crop = Crops(StemFolder(stems, RATE), RandomCodec(RATE), 20000, seed=0, mono=1.0)[0]
    assert crop["original"].shape == crop["degraded"].shape == (2, 20000)
    assert not torch.equal(crop["original"][0], crop["original"][1])


def test_missing_data_are_named(music: Path, stems: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        MusicFolder(tmp_path / "nowhere", RATE, 1)
    with pytest.raises(DataError, match="no readable audio"):
        MusicFolder(tmp_path, RATE, 1)
    with pytest.raises(DataError, match=r"shorter than a crop of 60\.0 s"):
        MusicFolder(music, RATE, 60)
    with pytest.raises(DataError, match="folder of songs"):
        StemFolder(stems / "first", RATE)
    with pytest.raises(ConfigError, match=r"codec\.enable=true"):
        DataModule(**folders(music))
    with pytest.raises(DataError, match=r"lacks codec\.mp3"):
        DataModule(**folders(music), codec={"enable": True}, valid_codec="codec.mp3")


def test_stem_mixes_for_validation_never_change(stems: Path) -> None:
    data = StemDataModule(str(stems), str(stems), valid_crops=3, segments=0.5)
    first, second = (
        [item["degraded"] for item in data.val_dataloader()],
        [item["degraded"] for item in data.val_dataloader()],
    )
    assert len(first) == 3
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
