import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from apollo.cli import app
from apollo.data import ShardDataModule, shards
from apollo.data.crops import Crops, bitrate_of, on_one_level
from apollo.data.degradation import Degradation, Encoding, RandomCodec
from apollo.data.shards import MANIFEST, ShardCrops, Shards, prepare
from apollo.data.stems import StemFolder
from apollo.errors import DataError

RATE = 44100
SAMPLES = 5000
COUNT = 5
Arrays = dict[str, np.ndarray]
Spoil = Callable[[Path], None]


def make_crops(stems: Path, seed: int = 3) -> Crops:
    return Crops(StemFolder(stems, RATE), RandomCodec(RATE, bitrate=[32000, 64000]), SAMPLES, seed=seed, mono=0.5)


@pytest.fixture(autouse=True)
def two_crops_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 2 * 4 * SAMPLES)


@pytest.fixture(scope="module")
def made(stems: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five crops in three shards."""
    folder = tmp_path_factory.mktemp("shards") / "train"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_BYTES", 2 * 4 * SAMPLES)
        prepare(make_crops(stems), folder, COUNT, RATE, {"seed": 3})
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_stored_is_what_would_be_made(made: Path, stems: Path) -> None:
    stored, crops = Shards(made, RATE), make_crops(stems)
    assert len(stored) == COUNT
    for number in range(COUNT):
        channel = crops.channel(number)
        sides = on_one_level(channel.original, channel.degraded)
        crop = stored[number]
        for there, side in zip((crop["original"], crop["degraded"]), sides, strict=True):
            assert there.shape == (1, SAMPLES)
            assert np.abs(there.numpy() - side).max() < 1 / shards.FULL_SCALE
        assert stored.bitrates[number] == bitrate_of(channel.degradation.as_dict())
    assert set(stored.bitrates) == {32000, 64000}


def test_a_stretch_depends_on_seed_and_number_only(made: Path) -> None:
    def stretches(seed: int) -> ShardCrops:
        return ShardCrops(Shards(made, RATE), 1000, seed, (-12.0, 0.0))

    first, again, other = stretches(1), stretches(1), stretches(2)
    assert torch.equal(first[7]["degraded"], again[7]["degraded"])
    assert not torch.equal(first[7]["original"], other[7]["original"])
    assert first[7]["original"].shape == (1, 1000)
    with pytest.raises(DataError, match=r"lower datas\.segments"):
        ShardCrops(Shards(made, RATE), SAMPLES + 1, 0, (-12.0, 0.0))


@pytest.mark.parametrize("spoil", ["remove", "cut", "leave half a file"])
def test_an_interrupted_run_is_gone_on_with_to_the_same_files(spoil: str, folder: Path, stems: Path) -> None:
    whole = files(folder)
    second = folder / "00001.safetensors"
    if spoil == "remove":
        second.unlink()
    elif spoil == "cut":
        second.write_bytes(second.read_bytes()[:-10])
    else:
        second.rename(folder / ".0123abcd.part")
    with pytest.raises(DataError, match="run 'apollo data prepare' again"):
        Shards(folder, RATE)
    calls: list[tuple[int, int, str]] = []
    report = prepare(make_crops(stems), folder, COUNT, RATE, {"seed": 3}, progress=lambda *call: calls.append(call))
    assert report.kept == 2
    assert calls == [(2, 3, ""), (3, 3, "00001.safetensors")]
    assert files(folder) == whole


def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(stems: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs a limit to the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(DataError, match=r"cannot be written \(File too large\).*finished shards are kept"):
            prepare(make_crops(stems), tmp_path / "out", COUNT, RATE, {"seed": 3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(files(tmp_path / "out")) == ["shards.json"]


def test_shards_from_elsewhere_are_told(folder: Path) -> None:
    shutil.copy(folder / "00000.safetensors", folder / "00003.safetensors")
    with pytest.raises(DataError, match=r"holds 7 crops, and 5 in its shards.json: remove the files that come from"):
        Shards(folder, RATE)


def test_several_processes_make_the_same_files(made: Path, stems: Path, tmp_path: Path) -> None:
    prepare(make_crops(stems), tmp_path / "here", 2 * COUNT, RATE, {"seed": 3}, workers=2)
    there = files(tmp_path / "here")
    assert all(there[name] == content for name, content in files(made).items() if name in ("00000.safetensors",))


def test_a_folder_can_grow_but_not_change(folder: Path, stems: Path) -> None:
    before = files(folder)
    assert prepare(make_crops(stems), folder, COUNT + 2, RATE, {"seed": 3}).kept == 2
    assert files(folder)["00000.safetensors"] == before["00000.safetensors"]
    assert len(Shards(folder, RATE)) == COUNT + 2
    with pytest.raises(DataError, match=r"made with other settings \(seed differ"):
        prepare(make_crops(stems, 4), folder, COUNT + 2, RATE, {"seed": 4})
    with pytest.raises(DataError, match="was made for 7 crops"):
        prepare(make_crops(stems), folder, COUNT, RATE, {"seed": 3})


def test_a_folder_that_holds_anything_else_is_left_alone(stems: Path, tmp_path: Path) -> None:
    (tmp_path / "00000.safetensors").write_bytes(b"somebody's")
    with pytest.raises(DataError, match="give an empty folder"):
        prepare(make_crops(stems), tmp_path, COUNT, RATE, {"seed": 3})
    assert (tmp_path / "00000.safetensors").read_bytes() == b"somebody's"


def replaced(change: Callable[[Arrays], Arrays], **metadata: str) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "00000.safetensors"
        content = change(load_file(path))
        told = [Degradation(None, (Encoding("mp3", 32000),)).as_dict()] * 2
        save_file(content, path, {"degradations": json.dumps(told), **metadata})

    return spoil


def manifest(**changes: object) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / MANIFEST
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def written(name: str, content: bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return spoil


HOSTILE = {
    "no shard": written("00000.safetensors", b"not a shard"),
    "a header of 2^62 bytes": written("00000.safetensors", (1 << 62).to_bytes(8, "little") + b"{}"),
    "other samples": replaced(lambda sides: {side: rows[:, :-1] for side, rows in sides.items()}),
    "one side": replaced(lambda sides: {"original": sides["original"]}),
    "a third side": replaced(lambda sides: {**sides, "third": sides["original"]}),
    "floats": replaced(lambda sides: {side: rows.astype(np.float32) for side, rows in sides.items()}),
    "other degradations": replaced(lambda sides: sides, degradations="[{}, {}]"),
    "degradations that are no list": replaced(lambda sides: sides, degradations="3"),
    "a deep list": replaced(lambda sides: sides, degradations="[" * 100000),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "no JSON": written(MANIFEST, b"\xff{"),
    "a list": written(MANIFEST, b"[]"),
    "more crops than there are": manifest(crops=1 << 39),
    "text for a number": manifest(samples="5000"),
    "negative": manifest(samples=-1),
    "an unknown key": manifest(other=1),
    "another rate": manifest(sample_rate=48000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_shards_are_refused_in_one_sentence(name: str, folder: Path) -> None:
    HOSTILE[name](folder)
    with pytest.raises(DataError, match=r"prepare|datas\.sr") as refused:
        Shards(folder, RATE)
    assert "\n" not in str(refused.value)
    assert str(folder) in str(refused.value)


def test_a_data_module_trains_and_validates_on_them(made: Path) -> None:
    data = ShardDataModule(str(made), str(made), valid_crops=3, segments=0.1, num_steps=2, batch_size=4)
    batches = list(data.train_dataloader())
    assert [batch["degraded"].shape for batch in batches] == 2 * [(4, 1, RATE // 10)]
    assert batches[0]["bitrate"].shape == (4,)
    items = list(data.val_dataloader())
    assert [item["original"].shape for item in items] == 3 * [(1, 1, SAMPLES)]


@pytest.mark.parametrize(
    ("degradation", "bitrate"),
    [
        (Degradation(None, (Encoding("mp3", 48000),)), 48000),
        (Degradation(16000.0, (Encoding("mp3", 48000),)), 48000),
        (Degradation(None, (Encoding("mp3", vbr_quality=4.0),)), 0),
        (Degradation(None, (Encoding("opus", 48000),)), 0),
        (Degradation(None, (Encoding("mp3", 48000), Encoding("mp3", 64000))), 0),
    ],
)
def test_only_mp3_of_one_constant_bitrate_counts_as_one(degradation: Degradation, bitrate: int) -> None:
    assert bitrate_of(degradation.as_dict()) == bitrate


CONFIG = """
seed: 1
datas: {_target_: apollo.data.StemDataModule, train_dir: STEMS, valid_dir: STEMS, valid_crops: 2, segments: 0.1,
  mono: 0.5, codec: {bitrate: {32000: 1, 64000: 1}}}
"""


def test_the_command_makes_both_folders_and_goes_on_where_it_ended(stems: Path, tmp_path: Path) -> None:
    config = tmp_path / "data.yaml"
    config.write_text(CONFIG.replace("STEMS", str(stems)))
    command = ["data", "prepare", "-c", str(config), str(tmp_path / "out"), "--crops", "3", "--workers", "1"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert len(Shards(tmp_path / "out" / "train", RATE)) == 3
    assert len(Shards(tmp_path / "out" / "valid", RATE)) == 2
    again = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "finished before" in again.output
    with pytest.raises(DataError, match="made with other settings"):
        CliRunner().invoke(app, [*command, "datas.mono=0"], catch_exceptions=False, standalone_mode=False)
