"""From configuration to crops: one module for each kind of data that people have."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, TypedDict

from torch.utils.data import Subset

from apollo.audio import MARGIN
from apollo.data.crops import Crops
from apollo.data.degradation import RandomCodec
from apollo.data.folders import MusicFolder, Track, find_tracks
from apollo.data.layouts import Found, join, song_folders, two_folders
from apollo.data.loading import CropModule
from apollo.data.mixing import gain_range, open_stems
from apollo.data.pairs import PairCrops, WholePairs, open_pairs
from apollo.data.shards import ShardCrops, Shards
from apollo.data.stems import Mixing, StemFolder
from apollo.errors import ConfigError, refuse_unknown
from apollo.storage import Url, place

log = logging.getLogger(__name__)


class Damage(TypedDict, total=False):
    """What `codec` may hold."""

    enable: bool
    options: Mapping[str, Any] | None


class Sides(TypedDict, total=False):
    """What `stems` may hold."""

    original: str
    codec: str


class Roots(TypedDict, total=False):
    """What `train` and `valid` may hold."""

    dir: str | list[str]
    original_format: str | None
    codec_format: str | None


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
        loading: As `CropModule` takes it.

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
        codec: Damage | None = None,
        dataset_type: int | None = None,
        stems: Sides | None = None,
        train: Roots | None = None,
        valid: Roots | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        blocks: list[tuple[str, Mapping[str, Any] | None, type]] = [
            ("codec", codec, Damage),
            ("stems", stems, Sides),
            ("train", train, Roots),
            ("valid", valid, Roots),
        ]
        for key, block, kind in blocks:
            refuse_unknown(block or {}, kind.__annotations__, f"datas.{key}.")
        self.damage: RandomCodec | None = None
        if codec and codec.get("enable"):
            self.damage = random_codec(self.sample_rate, codec.get("options") or {}, "datas.codec.options")
        self.find_valid: Callable[[], Found[Path]] | None = None
        if valid is not None:
            self.find_valid = roots("valid", valid, dataset_type, stems or {})
        elif valid_dir is not None:
            self.find_valid = partial(song_folders, on_disk("valid_dir", valid_dir), valid_original, valid_codec)
        elif self.damage is None or train is not None:
            raise ConfigError("datas lacks valid_dir (or valid): give pairs to validate on")

        self.find_train: Callable[[], Found[Path]] | None = None
        if train is not None:
            self.find_train = roots("train", train, dataset_type, stems or {})
        elif original_dir is None:
            raise ConfigError("datas lacks original_dir (or train): give the folder of the music to train on")
        elif self.damage is None:
            if codec_dir is None:
                raise ConfigError("datas lacks codec_dir: give the damaged versions, or set datas.codec.enable=true")
            folders = on_disk("original_dir", original_dir), on_disk("codec_dir", codec_dir)
            self.find_train = partial(two_folders, *folders, codec_format=codec_format or "")
        self.original = None if original_dir is None else on_disk("original_dir", original_dir)
        self.open()

    def open(self) -> None:
        """Find the music, in pairs or to be damaged."""
        if self.find_valid is not None:
            self.validation = WholePairs(open_pairs(self.find_valid()), self.sample_rate)
        if self.find_train is not None:
            self.training = PairCrops(open_pairs(self.find_train()), self.samples, self.sample_rate, self.seed)
            return
        assert self.damage is not None
        assert self.original is not None
        tracks = find_tracks(self.original)
        if self.find_valid is None:
            tracks, held_out = hold_out(tracks)
            self.validation = Subset(self._damaged_on_the_fly(held_out, self.damage), range(VALID_CROPS))
        self.training = self._damaged_on_the_fly(tracks, self.damage)

    def _damaged_on_the_fly(self, tracks: Sequence[Track], damage: RandomCodec) -> Crops:
        return Crops(MusicFolder(tracks, self.sample_rate), damage, self.samples, self.seed)


def random_codec(sample_rate: int, options: Mapping[str, Any], key: str) -> RandomCodec:
    """The codec that a block of options describes; raises ConfigError, which names the key, if it describes none.

    Published configurations also give `complexity` and `vbr` as words, which the published code reads and does not use.
    """
    idle = [name for name in ("complexity", "vbr") if isinstance(options.get(name), str) or name == "complexity"]
    if idle := [name for name in idle if name in options]:
        log.warning("%s.%s: ignored, as the published code does", key, f" and {key}.".join(idle))
        options = {name: value for name, value in options.items() if name not in idle}
    refuse_unknown(options, list(signature(RandomCodec).parameters)[1:], f"{key}.")
    try:
        return RandomCodec(sample_rate, **options)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def roots(key: str, block: Roots, kind: int | None, names: Sides) -> Callable[[], Found[Path]]:
    """What looks for the pairs of `datas.train` or `datas.valid`; raises ConfigError if the block describes none."""
    given = block.get("dir") or []
    folders = [given] if isinstance(given, str) else given
    if not folders:
        raise ConfigError(f"datas.{key} lacks dir: give one folder or a list of them")
    if kind not in (1, 2):
        raise ConfigError(f"datas.dataset_type must be 1 (one folder per song) or 2 (two folders), not {kind!r}")
    sides = [names.get("original", "original"), names.get("codec", "codec")]
    endings = [(ending or "").lstrip(".") for ending in (block.get("original_format"), block.get("codec_format"))]
    places = [on_disk(f"{key}.dir", folder) for folder in folders]
    if kind == 2:
        return lambda: join([two_folders(root / sides[0], root / sides[1], *endings) for root in places])
    files = [f"{side}.{ending}" if ending else side for side, ending in zip(sides, endings, strict=True)]
    return lambda: join([song_folders(root, *files) for root in places])


def on_disk(key: str, folder: str) -> Path:
    """A folder of this machine; raises ConfigError if it is in a store."""
    found = place(str(folder))
    if isinstance(found, Url):
        raise ConfigError(
            f"datas.{key} is {found}, and music is read from this machine alone: copy it here, or make shards of it "
            "('apollo data prepare'), which may lie in a store"
        )
    return found


def peaks(given: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest peak of crops; raises ConfigError unless there are one or two, in this order."""
    if not 1 <= len(given) <= 2 or given[0] > given[-1]:
        raise ConfigError(f"datas.peak must be the lowest and the highest peak in dBFS, not {given}")
    return float(given[0]), float(given[-1])


def hold_out(tracks: Sequence[Track]) -> tuple[list[Track], list[Track]]:
    """Keep every twentieth track apart, from the first; raises ConfigError if there is one track only."""
    if len(tracks) < 2:
        raise ConfigError("there is one file to train on and none to validate on: give datas.valid_dir, or more music")
    return [t for n, t in enumerate(tracks) if n % HELD_OUT], [t for n, t in enumerate(tracks) if n % HELD_OUT == 0]


class StemDataModule(CropModule):
    """Songs in stems, mixed and damaged on the fly, for training and for validation.

    Args:
        train_dir: Folder of songs: `<song>/<class>[_n].flac`.
        valid_dir: Another, for validation.
        mixing: Options of `Mixing`.
        codec: Options of `RandomCodec`.
        peak: Lowest and highest peak of a crop in dBFS.
        mono: Share of crops whose two channels are two mono pieces.
        valid_crops: How many crops to validate on.
        loading: As `CropModule` takes it.
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
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        self.levels = peaks(peak)
        self.damage = random_codec(self.sample_rate, codec or {}, "datas.codec")
        if not 0 <= mono <= 1:
            raise ConfigError(f"datas.mono must be a number from 0 to 1, not {mono}")
        self.mono = mono
        refuse_unknown(mixing or {}, list(signature(Mixing).parameters), "datas.mixing.")
        try:
            self.mixing = Mixing(**(mixing or {}))
        except ValueError as error:
            raise ConfigError(f"datas.mixing.{error}") from None
        self.train_dir, self.valid_dir = on_disk("train_dir", train_dir), on_disk("valid_dir", valid_dir)
        self.valid_crops = valid_crops
        self.open()

    def open(self) -> None:
        """Find the songs."""
        self.training = self._crops(self.train_dir)
        self.validation = Subset(self._crops(self.valid_dir), range(self.valid_crops))

    def _crops(self, folder: Path) -> Crops:
        stems = StemFolder(folder, self.sample_rate, self.mixing)
        return Crops(stems, self.damage, self.samples, self.seed, self.levels, self.mono)


class ShardDataModule(CropModule):
    """Crops made once by `apollo data prepare`, for networks that train faster than codecs make crops.

    Crops have one channel: networks restore every channel on its own.

    Args:
        train_dir: Folder of shards, or its URL: then only what a batch needs is fetched, when it is needed.
        valid_dir: Another, for validation.
        peak: Lowest and highest level in dBFS that a crop's full scale is brought to.
        valid_crops: How many crops to validate on, at most.
        loading: As `CropModule` takes it.
    """

    def __init__(
        self,
        train_dir: str,
        valid_dir: str,
        peak: Sequence[float] = (-12.0, 0.0),
        valid_crops: int = 24,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        self.levels = peaks(peak)
        self.train_dir, self.valid_dir, self.valid_crops = place(train_dir), place(valid_dir), valid_crops
        self.streams = isinstance(self.train_dir, Url) or isinstance(self.valid_dir, Url)
        self.open()

    def open(self) -> None:
        """Find the shards."""
        self.training = ShardCrops(Shards(self.train_dir, self.sample_rate), self.samples, self.seed, self.levels)
        stored = Shards(self.valid_dir, self.sample_rate)
        self.validation = Subset(stored, range(min(self.valid_crops, len(stored))))


class StemStoreDataModule(CropModule):
    """The paper's data: stems in an HDF5 store, or in folders, mixed and damaged on the fly; validation on pairs.

    The keys are those of the paper's code.

    Args:
        train_dir: Store made by `apollo data stems`, or folder of songs in stems: `<song>/<class>[_n].flac`.
        eval_dir: Folder of validation songs, one folder each, with `ori_wav` and `codec_wav` files.
        codec_type: The codec: mp3, aac, opus or vorbis.
        codec_options: Options of `RandomCodec`.
        num_stems: The most stems in a mix.
        snr_range: Lowest and highest gain of a stem in dB.
        num_samples: Crops in an epoch.
        loading: As `CropModule` takes it, but for `num_steps`.
    """

    def __init__(
        self,
        train_dir: str,
        eval_dir: str,
        codec_type: str = "mp3",
        codec_options: Mapping[str, Any] | None = None,
        num_stems: int = 8,
        snr_range: Sequence[int] = (-10, 10),
        num_samples: int = 1000,
        **loading: Any,
    ) -> None:
        if not isinstance(num_samples, int) or num_samples < 1:
            raise ConfigError(f"datas.num_samples must be a whole number from 1, not {num_samples!r}")
        if "num_steps" in loading:
            raise ConfigError("datas.num_steps is not known here: num_samples says how many crops an epoch has")
        super().__init__(**loading)
        self.num_steps = max(1, num_samples // self.batch_size)
        options = {"formats": [codec_type], **(codec_options or {})}
        self.damage = random_codec(self.sample_rate, options, "datas.codec_options")
        self.gains = gain_range(num_stems, snr_range)
        self.num_stems = num_stems
        self.train_dir, self.eval_dir = on_disk("train_dir", train_dir), on_disk("eval_dir", eval_dir)
        self.open()

    def open(self) -> None:
        """Find the stems, and the pairs to validate on."""
        rate, reach = self.sample_rate, self.samples + 2 * MARGIN
        self.validation = WholePairs(open_pairs(song_folders(self.eval_dir, "ori_wav", "codec_wav")), rate)
        stems = open_stems(self.train_dir, rate, self.num_stems, self.gains, samples=reach)
        self.training = Crops(stems, self.damage, self.samples, self.seed)
