"""From configuration to crops: one module for each kind of data that people have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from apollo.audio import MARGIN
from apollo.data.crops import Crops, FixedCrops
from apollo.data.degradation import RandomCodec
from apollo.data.folders import MusicFolder, Track, find_tracks
from apollo.data.layouts import Found, join, song_folders, two_folders
from apollo.data.loading import CropModule
from apollo.data.mixing import open_stems
from apollo.data.pairs import PairCrops, WholePairs, open_pairs
from apollo.data.shards import ShardCrops, Shards, StoredCrops
from apollo.data.stems import StemFolder
from apollo.errors import ConfigError, refuse_unknown

SIDES = ("original", "codec")  # what `stems` may hold
ROOTS = ("dir", "original_format", "codec_format")  # what `train` and `valid` may
VALID_CROPS = 24
HELD_OUT = 20  # one track in so many is kept for validation where no other music is given


class DataModule(CropModule):
    """Music in folders, in the layouts and by the keys of the published training codes.

    What to train on is one of

    - `original_dir` with `codec.enable: true`: clean music, damaged on the fly;
    - `original_dir` and `codec_dir`: pairs of files in two folders;
    - `train`: pairs in one or more roots, laid out as `dataset_type` says.

    What to validate on is pairs in `valid_dir` or `valid`. Where clean music is damaged on the fly and neither is
    given, one track in twenty is held out, at least one, and damaged the same way.

    Args:
        original_dir: Folder of clean music.
        codec_dir: Folder of its damaged versions, under the same names.
        codec_format: Ending of their names; any when not given.
        valid_dir: Folder of validation songs, one folder each.
        valid_original: Name of the original in each.
        valid_codec: Name of the damaged version.
        codec: `enable`, and `options` of `RandomCodec`.
        dataset_type: 1: one folder a song; 2: two folders.
        stems: Names of the two sides, `original` and `codec`: of files for type 1, of folders for type 2.
        train: `dir`, one root or a list, and optionally `original_format` and `codec_format`.
        valid: Likewise.
        sr: Sample rate in Hz.
        segments: Length of a crop in seconds.
        num_steps: Batches in an epoch.
        batch_size: Crops in a batch.
        num_workers: Processes that make crops.
        pin_memory: Whether batches are put where a GPU can fetch them.
        seed: Of all randomness.

    Raises:
        ConfigError: If the keys describe no data.
        DataError: If the data are missing or cannot be used.
    """

    def __init__(
        self,
        original_dir: str | None = None,
        codec_dir: str | None = None,
        codec_format: str | None = None,
        valid_dir: str | None = None,
        valid_original: str = "original.wav",
        valid_codec: str = "codec.wav",
        codec: Mapping[str, Any] | None = None,
        dataset_type: int | None = None,
        stems: Mapping[str, str] | None = None,
        train: Mapping[str, Any] | None = None,
        valid: Mapping[str, Any] | None = None,
        sr: int = 44100,
        segments: float = 3,
        num_steps: int = 1000,
        batch_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(sr, segments, num_steps, batch_size, num_workers, pin_memory)
        for key, block, known in (
            ("codec", codec, ("enable", "options")),
            ("stems", stems, SIDES),
            ("train", train, ROOTS),
            ("valid", valid, ROOTS),
        ):
            refuse_unknown(block or {}, known, f"datas.{key}.")
        damage = None
        if codec and codec.get("enable"):
            damage = random_codec(sr, codec.get("options") or {}, "datas.codec.options")
        validation = None
        if valid is not None:
            validation = roots("valid", valid, dataset_type, stems or {})
        elif valid_dir is not None:
            validation = song_folders(Path(valid_dir), valid_original, valid_codec)
        if validation is not None:
            self.validation = WholePairs(open_pairs(validation), sr)
        elif damage is None:
            raise ConfigError("datas lacks valid_dir (or valid): give pairs to validate on")

        if train is not None:
            pairs = open_pairs(roots("train", train, dataset_type, stems or {}))
        elif original_dir is None:
            raise ConfigError("datas lacks original_dir (or train): give the folder of the music to train on")
        elif damage is not None:
            tracks = find_tracks(Path(original_dir))
            if validation is None:
                tracks, held_out = hold_out(tracks)
                unheard = Crops(MusicFolder(held_out, sr), damage, self.samples, seed)
                self.validation = FixedCrops(unheard, VALID_CROPS)
            self.training = Crops(MusicFolder(tracks, sr), damage, self.samples, seed)
            return
        elif codec_dir is None:
            raise ConfigError("datas lacks codec_dir: give the damaged versions, or set datas.codec.enable=true")
        else:
            pairs = open_pairs(two_folders(Path(original_dir), Path(codec_dir), codec_format=codec_format or ""))
        self.training = PairCrops(pairs, self.samples, sr, seed)


def random_codec(sample_rate: int, options: Mapping[str, Any], key: str) -> RandomCodec:
    """The codec that a block of options describes.

    Raises:
        ConfigError: If it describes none; the message names the key.
    """
    refuse_unknown(options, list(signature(RandomCodec).parameters)[1:], f"{key}.")
    try:
        return RandomCodec(sample_rate, **options)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def roots(key: str, block: Mapping[str, Any], kind: int | None, names: Mapping[str, str]) -> Found:
    """Look for the pairs that `datas.train` or `datas.valid` describes.

    Raises:
        ConfigError: If the block describes none.
    """
    folders = [block["dir"]] if isinstance(block.get("dir"), str) else list(block.get("dir") or ())
    if not folders:
        raise ConfigError(f"datas.{key} lacks dir: give one folder or a list of them")
    if kind not in (1, 2):
        raise ConfigError(f"datas.dataset_type must be 1 (one folder a song) or 2 (two folders), not {kind!r}")
    sides = [str(names.get(side, side)) for side in SIDES]
    endings = [str(block.get(f"{side}_format") or "").lstrip(".") for side in SIDES]
    if kind == 2:
        found = [two_folders(Path(root) / sides[0], Path(root) / sides[1], *endings) for root in folders]
    else:
        files = [f"{side}.{ending}" if ending else side for side, ending in zip(sides, endings, strict=True)]
        found = [song_folders(Path(root), *files) for root in folders]
    return join(found)


def hold_out(tracks: Sequence[Track]) -> tuple[list[Track], list[Track]]:
    """Keep every twentieth track apart, from the first.

    Raises:
        ConfigError: If there is one track only.
    """
    if len(tracks) < 2:
        raise ConfigError("there is one file to train on and none to validate on: give datas.valid_dir, or more music")
    return [t for n, t in enumerate(tracks) if n % HELD_OUT], [t for n, t in enumerate(tracks) if n % HELD_OUT == 0]


class StemDataModule(CropModule):
    """Songs in stems, mixed and damaged on the fly, for training and for validation.

    Args:
        train_dir: Folder of songs: `<song>/<class>[_n].flac`.
        valid_dir: Another, for validation.
        mixing: Options of `StemFolder`.
        codec: Options of `RandomCodec`.
        peak: Lowest and highest peak of a crop in dBFS.
        mono: Share of crops whose two channels are two mono pieces.
        valid_crops: How many crops to validate on.
        sr: Sample rate in Hz.
        segments: Length of a crop in seconds.
        num_steps: Batches in an epoch.
        batch_size: Crops in a batch.
        num_workers: Processes that make crops.
        pin_memory: Whether batches are put where a GPU can fetch them.
        seed: Of all randomness.
    """

    def __init__(
        self,
        train_dir: str,
        valid_dir: str,
        mixing: dict[str, Any] | None = None,
        codec: dict[str, Any] | None = None,
        peak: Sequence[float] = (-12.0, 0.0),
        mono: float = 0.0,
        valid_crops: int = 24,
        sr: int = 44100,
        segments: float = 3,
        num_steps: int = 1000,
        batch_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(sr, segments, num_steps, batch_size, num_workers, pin_memory)
        levels = (float(peak[0]), float(peak[-1]))
        damage = random_codec(sr, codec or {}, "datas.codec")
        refuse_unknown(mixing or {}, list(signature(StemFolder).parameters)[2:], "datas.mixing.")

        def crops(folder: str) -> Crops:
            try:
                stems = StemFolder(Path(folder), sr, **(mixing or {}))
            except ValueError as error:
                raise ConfigError(f"datas.mixing.{error}") from None
            return Crops(stems, damage, self.samples, seed, levels, mono)

        self.training = crops(train_dir)
        self.validation = FixedCrops(crops(valid_dir), valid_crops)


class ShardDataModule(CropModule):
    """Crops made once by `apollo data prepare`, for networks that train faster than codecs make crops.

    Crops have one channel: networks restore every channel on its own.

    Args:
        train_dir: Folder of shards.
        valid_dir: Another, for validation.
        peak: Lowest and highest level in dBFS that a crop's full scale is brought to.
        valid_crops: How many crops to validate on, at most.
        sr: Sample rate in Hz.
        segments: Length of a crop in seconds.
        num_steps: Batches in an epoch.
        batch_size: Crops in a batch.
        num_workers: Processes that read crops.
        pin_memory: Whether batches are put where a GPU can fetch them.
        seed: Of all randomness.
    """

    def __init__(
        self,
        train_dir: str,
        valid_dir: str,
        peak: Sequence[float] = (-12.0, 0.0),
        valid_crops: int = 24,
        sr: int = 44100,
        segments: float = 3,
        num_steps: int = 1000,
        batch_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(sr, segments, num_steps, batch_size, num_workers, pin_memory)
        levels = (float(peak[0]), float(peak[-1]))
        self.training = ShardCrops(Shards(Path(train_dir), sr), self.samples, seed, levels)
        self.validation = StoredCrops(Shards(Path(valid_dir), sr), valid_crops)


class StemStoreDataModule(CropModule):
    """The paper's data: stems in an HDF5 store, or in folders, mixed and damaged on the fly; validation on pairs.

    The keys are those of the paper's code.

    Args:
        train_dir: Store made by `apollo data stems`, or folder of songs in stems: `<song>/<class>[_n].flac`.
        eval_dir: Folder of validation songs, one folder each, with `ori_wav` and `codec_wav` files.
        codec_type: The codec: mp3, aac, opus or vorbis.
        codec_options: Options of `RandomCodec`.
        sr: Sample rate in Hz.
        segments: Length of a crop in seconds.
        num_stems: The most stems in a mix.
        snr_range: Lowest and highest gain of a stem in dB.
        num_samples: Crops in an epoch.
        batch_size: Crops in a batch.
        num_workers: Processes that make crops.
        pin_memory: Whether batches are put where a GPU can fetch them.
        seed: Of all randomness.
    """

    def __init__(
        self,
        train_dir: str,
        eval_dir: str,
        codec_type: str = "mp3",
        codec_options: Mapping[str, Any] | None = None,
        sr: int = 44100,
        segments: float = 3,
        num_stems: int = 8,
        snr_range: Sequence[int] = (-10, 10),
        num_samples: int = 1000,
        batch_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ) -> None:
        if not isinstance(num_samples, int) or num_samples < 1:
            raise ConfigError(f"datas.num_samples must be a whole number from 1, not {num_samples!r}")
        super().__init__(sr, segments, max(1, num_samples // max(1, batch_size)), batch_size, num_workers, pin_memory)
        codec = random_codec(sr, {"formats": [codec_type], **(codec_options or {})}, "datas.codec_options")
        self.validation = WholePairs(open_pairs(song_folders(Path(eval_dir), "ori_wav", "codec_wav")), sr)
        stems = open_stems(Path(train_dir), sr, num_stems, snr_range, samples=self.samples + 2 * MARGIN)
        self.training = Crops(stems, codec, self.samples, seed)
