"""The published commands mean ours, and what of them is not needed is told once."""

from __future__ import annotations

from pathlib import Path

import pytest

from apollo.cli.predecessors import export_words, restore_words, train_words

RESTORE = ["restore", "--force", "--overwrite"]


@pytest.mark.parametrize(
    ("typed", "words", "told"),
    [
        ("--in_wav=a.wav --out_wav=b.wav", "-o b.wav -- a.wav", ""),
        (
            "--checkpoint m.ckpt --input a --chunk-seconds 10 --overlap-seconds 2 --chunk-batch-size 4",
            "-m m.ckpt --chunk 10 --batch 4 -- a",
            "--overlap-seconds 2 is ignored",
        ),
        (
            "-c apollo.yaml -m m.ckpt -i a -o b --segments=10 --overlap=0.5 --batch_size=2",
            "-m m.ckpt -o b --chunk 10 --batch 2 -- a",
            "-c apollo.yaml is ignored: a model file",
        ),
        (
            "--in_dir a --out_dir b --crossover 4000 --dry_wet 0.8",
            "-o b --keep-below 4000 --mix 0.8 -- a",
            "",
        ),
        ("-mm.ckpt -ia -o=b --in-wav c --device cuda", "-m m.ckpt -o b --device cuda -- a c", ""),
        ("--config=a.yaml --input a --dry_run", "--dry-run -- a", "--config=a.yaml is ignored: a model file"),
        ("-m m.ckpt -- --overlap", "-m m.ckpt -- --overlap", ""),
    ],
)
def test_restoring_as_the_predecessors_do(
    typed: str, words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore_words(typed.split()) == [*RESTORE, *words.split()]
    error = capsys.readouterr().err
    assert told in error
    assert bool(told) == bool(error)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "-c configs/apollo.yaml"),
        ("datas.batch_size=2", "-c configs/apollo.yaml datas.batch_size=2"),
        ("--conf_dir=a.yaml -m last.ckpt", "-c a.yaml -m last.ckpt"),
        ("--conf-dir a.yaml --print_config", "-c a.yaml --print-config"),
        ("-ca.yaml datas.codec_dir=a_b", "-c a.yaml datas.codec_dir=a_b"),
        ("-c a.yaml --init_from m.bin", "-c a.yaml --init-from m.bin"),
        ("--config a.yaml --resume_from=last.ckpt", "-c a.yaml -m last.ckpt"),
        ("--from_msst=a_b.yaml", "--from-msst=a_b.yaml"),
    ],
)
def test_training_as_the_predecessors_do(typed: str, words: str) -> None:
    assert train_words(typed.split()) == ["train", *words.split()]


def test_the_default_configuration_lies_beside_the_script(tmp_path: Path) -> None:
    assert train_words([], tmp_path) == ["train", "-c", str(tmp_path / "configs" / "apollo.yaml")]


def test_exporting_for_msst_as_the_predecessors_do(capsys: pytest.CaptureFixture[str]) -> None:
    export = ["export", "msst", "--overwrite"]
    assert export_words(["-c", "a", "-m", "b"]) == [*export, "-c", "a", "-m", "b"]
    assert not capsys.readouterr().err
    assert export_words(["-m", "b", "-d", "out"]) == [*export, "-m", "b", "-o", "out"]
    assert "-d out is read as -o out" in capsys.readouterr().err
    assert export_words(["-m", "b", "-d", "x", "-o", "out"]) == [*export, "-m", "b", "-o", "out"]
    assert "-d x is ignored" in capsys.readouterr().err
    assert export_words(["--output=out", "-dx", "-m=b"]) == [*export, "-o", "out", "-m", "b"]
    assert "-d x is ignored" in capsys.readouterr().err
    assert export_words(["-d", "-m", "b"]) == [*export, "-m", "b"]
    assert "-d is ignored" in capsys.readouterr().err
