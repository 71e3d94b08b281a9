"""Validation pairs on disk: `<root>/<any name>/{original, degraded}`, one folder a song."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from apollo.audio.files import read
from apollo.data.crops import Crop
from apollo.errors import DataError


class ValidationPairs(Dataset[Crop]):
    """Whole songs beside their damaged versions, read one at a time.

    Args:
        root: Folder of song folders.
        original: File name of the original in each.
        degraded: File name of the damaged version.
        sample_rate: That all of them must have, in Hz.

    Raises:
        DataError: If the folder is missing, holds no song, or a song lacks one of its two files.
    """

    def __init__(self, root: Path, original: str, degraded: str, sample_rate: int) -> None:
        if not root.is_dir():
            raise DataError(f"there is no folder {root}: datas.valid_dir must hold one folder a song")
        folders = sorted(path for path in root.iterdir() if path.is_dir())
        if not folders:
            raise DataError(f"{root} holds no folders: give one folder a song, with {original} and {degraded} in it")
        for folder in folders:
            for name in (original, degraded):
                if not (folder / name).is_file():
                    raise DataError(f"{folder} lacks {name}: put it there, or name it in datas.valid_*")
        self.pairs = [(folder / original, folder / degraded) for folder in folders]
        self.sample_rate = sample_rate

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int) -> Crop:
        """Read pair `number`; mono is made stereo.

        Raises:
            DataError: If the two differ in shape, or have another sample rate.
        """
        paths = self.pairs[number]
        waveforms = []
        for path in paths:
            waveform, rate = read(path)
            if rate != self.sample_rate:
                raise DataError(f"{path} has {rate} Hz, not {self.sample_rate}: resample it, or change datas.sr")
            waveforms.append(np.repeat(waveform, 2, axis=0) if len(waveform) == 1 else waveform[:2])
        if waveforms[0].shape != waveforms[1].shape:
            raise DataError(
                f"{paths[0]} has {waveforms[0].shape[1]} samples and {paths[1].name} {waveforms[1].shape[1]}: "
                "validation pairs must be equally long"
            )
        original, degraded = waveforms
        level = max(float(np.abs(original).max()), float(np.abs(degraded).max()), 1e-9)
        return Crop(original=torch.from_numpy(original / level), degraded=torch.from_numpy(degraded / level))
