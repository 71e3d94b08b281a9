"""YAML made to hang, to fill memory or to read what is none of its business ends in one sentence."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from apollo.checkpoints.exporting import model_options
from apollo.errors import ConfigError
from apollo.training.recipe import parse, read_config

LAUGHS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in pairwise("abcdefghij"))
TEXTS = {
    "a scalar": "5",
    "a list": "- 1\n- 2",
    "nothing": "",
    "no UTF-8": b"\xff\xfe\x00",
    "a control character": "exp: {name: \x00}",
    "5000 digits": "seed: " + "9" * 5000,
    "hexadecimal digits": "seed: 0x" + "f" * 4000,
    "sexagesimal digits": "seed: 1" + ":59" * 2000,
    "a long text": "licence: " + "x" * 10_000,
    "an anchor in itself": "exp: &a {name: *a}",
    "a key that holds itself": "? &a [*a]\n: 1",
    "billions of laughs": LAUGHS,
    "merged laughs": "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nc: &c [*b, *c]",
    "lists without end": "exp: " + "[" * 100_000,
    "blocks without end": "".join(" " * n + "a:\n" for n in range(400)),
    "a date that is none": "licence: !!timestamp 2024-13-45",
    "an object": "exp: !!python/object/apply:os.system [touch evidence]",
    "a large file": "# " + "x" * 1_000_000,
    "a secret": "exp: {name: '${oc.env:HOME}'}",
    "a secret with a default": "exp: {name: '${oc.env:HOME,x}'}",
    "a decoder": "exp: {name: '${oc.decode:[1]}'}",
    "a reference in a reference": "exp: {dir: name, name: '${exp.${exp.dir}}'}",
    "an open reference": "exp: {name: '${exp.dir'}",
    "a reference to itself": "exp: {name: '${exp.name}'}",
    "references in a circle": "exp: {name: '${exp.dir}', dir: '${exp.name}'}",
    "a block in itself": "exp: {name: '${exp}'}",
    "references that laugh": "exp:\n  a0: x\n" + "".join(f"  a{n + 1}: '{f'${{exp.a{n}}}' * 9}'\n" for n in range(12)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_such_yaml_is_refused_with_one_sentence(tmp_path: Path, name: str) -> None:
    path, text = tmp_path / "config.yaml", TEXTS[name]
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    readers = [parse]
    if "reference" not in name and "secret" not in name and name not in ("a decoder", "a block in itself"):
        readers.append(model_options)
    for read in readers:
        with pytest.raises(ConfigError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1000
        assert "unicode string" not in str(caught.value)


@pytest.mark.parametrize(
    "override", ["seed=" + "9" * 5000, "exp.name=${oc.env:HOME}", "exp=" + "[" * 10_000, "exp.name=&a [*a]"]
)
def test_such_overrides_are_refused_likewise(tmp_path: Path, override: str) -> None:
    (tmp_path / "config.yaml").write_text("exp: {name: run}")
    with pytest.raises(ConfigError):
        parse(tmp_path / "config.yaml", [override])


def test_references_to_other_keys_are_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("exp: {dir: a, name: b}\nlogger: [{name: '${exp.dir}/${exp.name}'}, '${logger[0].name}']\nseed: 1")
    config = read_config(path, ["exp.dir=c"])
    assert config.logger[0].name == config.logger[1] == "c/b"
