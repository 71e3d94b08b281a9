"""Generated attacks on what opens models, configurations and stores.

`pytest -m attack -s` is the long form, as of those on the command line. Each attack must work or be refused in one
sentence, within 10 s of processor time and 1.5 GB.
"""

from __future__ import annotations

import io
import json
import os
import pickletools
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from apollo.checkpoints import load_model, to_published
from apollo.data.store import StemStore
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.training.recipe import parse

SHORT, LONG = 20, int(os.environ.get("ATTACKS", "2000"))  # attacks of each kind
SECONDS = 10.0  # of this process's own time, for each
KILOBYTES = 1_500_000

MODEL = Apollo(44100, 20, 16, 1)
WHOLE = save(
    {name: tensor.contiguous() for name, tensor in MODEL.state_dict().items()}, {"config": json.dumps(MODEL.config)}
)
HEADER = int.from_bytes(WHOLE[:8], "little")

numbers = st.one_of(st.integers(), st.integers(-2, 50), st.sampled_from([2**31, 2**62, 10**30]), st.floats())
texts = st.text(max_size=20)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
names = st.sampled_from([*MODEL.config, "config", "output"])


@pytest.fixture(params=[SHORT, pytest.param(LONG, marks=pytest.mark.attack)], ids=["short", "long"])
def attack(request: pytest.FixtureRequest) -> Callable[[st.SearchStrategy[Any], Callable[[Any], object]], None]:
    """Try many generated things, each of which must work or be refused in one sentence, within the limits."""
    resource = pytest.importorskip("resource")

    def run(strategy: st.SearchStrategy[Any], opened: Callable[[Any], object]) -> None:
        tried = 0

        @settings(
            max_examples=request.param,
            deadline=None,
            database=None,
            derandomize=request.param == SHORT,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def each(generated: Any) -> None:
            nonlocal tried
            tried += 1
            before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            refusal = ""
            try:
                opened(generated)
            except ApolloError as error:
                refusal = str(error)
            assert "\n" not in refusal
            assert time.process_time() - began < SECONDS
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < KILOBYTES

        each()
        print(f"{request.node.name}: {tried} attacks")  # noqa: T201 (shown by -s)

    return run


Attack = Callable[[st.SearchStrategy[Any], Callable[[Any], object]], None]


def test_safetensors_headers(attack: Attack, tmp_path: Path) -> None:
    header: dict[str, Any] = json.loads(WHOLE[8 : 8 + HEADER])
    entry = st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from(["F32", "F16", "BF16", "F64", "I8", "BOOL", "F8_E4M3", "F4", "C64", ""]),
            "shape": st.lists(numbers, max_size=5) | values,
            "data_offsets": st.lists(numbers, max_size=3) | values,
        },
    )
    changes = st.dictionaries(st.sampled_from(sorted(header)) | texts, entry | values, min_size=1, max_size=3)

    def opened(change: dict[str, Any]) -> None:
        made = {
            name: {**header[name], **new} if isinstance(new, dict) and name in header else new
            for name, new in change.items()
        }
        text = json.dumps({**header, **made}).encode()
        path = tmp_path / "model.safetensors"
        path.write_bytes(len(text).to_bytes(8, "little") + text + WHOLE[8 + HEADER :])
        load_model(path)

    attack(changes, opened)


def test_stated_options(attack: Attack, tmp_path: Path) -> None:
    def opened(change: dict[str, Any]) -> None:
        path = tmp_path / "model.pt"
        torch.save({"state_dict": MODEL.state_dict(), "config": {**MODEL.config, **change}}, path)
        load_model(path)

    attack(st.dictionaries(names, values | st.lists(numbers, max_size=5), min_size=1, max_size=3), opened)


def test_pickles_of_random_instructions(attack: Attack, tmp_path: Path) -> None:
    """Programs for the stack machine, in the archive that a model comes in."""
    known = [
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"cposix\nsystem\n",
        b"cbuiltins\nbytearray\n",
        b"ctorch\nFloatStorage\n",
    ]
    known += [
        b"ccollections\nOrderedDict\n",
        b"X\x07\0\0\0storage",
        b"X\x0d\0\0\0BN.0.0.weight",
        b"X\x01\0\0\x000",
        b"K\x04",
    ]
    step = st.sampled_from([code.code.encode("latin-1") for code in pickletools.opcodes] + known * 4)
    program = st.lists(
        st.tuples(step, st.binary(max_size=3)).map(lambda pair: pair[0] + pair[1][:1]) | step, max_size=60
    )

    def opened(steps: list[bytes]) -> None:
        path = tmp_path / "model.bin"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("m/data.pkl", b"\x80\x02" + b"".join(steps) + b".")
            archive.writestr("m/data/0", bytes(16))
        load_model(path)

    attack(program, opened)


def test_damaged_checkpoints(attack: Attack, tmp_path: Path) -> None:
    file = io.BytesIO()
    torch.save({"state_dict": to_published(MODEL), "config": {"sr": 44100, "layer": 1}}, file)
    whole = file.getvalue()
    places = st.integers(0, 60_000) | st.integers(len(whole) - 60_000, len(whole) - 1)  # the pickle, and the directory
    changes = st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8)

    def opened(change: list[tuple[int, int]]) -> None:
        content = bytearray(whole)
        for place, value in change:
            content[place] = value
        path = tmp_path / "last.ckpt"
        path.write_bytes(content)
        load_model(path)

    attack(changes, opened)


def test_yaml(attack: Attack, tmp_path: Path) -> None:
    parts = [
        "exp:",
        "name:",
        "- ",
        "&a ",
        "*a",
        "<<: ",
        "{",
        "}",
        "[",
        "]",
        "${exp.name}",
        "${oc.env:HOME}",
        "${",
        "!!python/none",
    ]
    parts += [
        "!!timestamp ",
        "2024-13-45",
        "0x" + "f" * 200,
        "9" * 200,
        "\n",
        "  ",
        ": ",
        ", ",
        "? ",
        "|\n",
        "'",
        '"',
        "seed: ",
        "\0",
    ]
    text = st.lists(st.sampled_from(parts) | texts, max_size=40).map("".join)

    def opened(content: str) -> None:
        path = tmp_path / "config.yaml"
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        parse(path)

    attack(text, opened)


def test_hdf5_stores(attack: Attack, tmp_path: Path) -> None:
    kinds = st.sampled_from(["f4", "f8", "i2", "u1", "S3", "c8", "?", "V4", h5py.ref_dtype, h5py.string_dtype()])
    shapes = st.lists(st.sampled_from([0, 1, 2, 600]), max_size=4) | st.just([1, 2, 600])
    scale = st.one_of(
        st.none(), st.floats(), st.integers(-(2**63), 2**63 - 1), st.lists(st.floats(), max_size=3), st.just("x")
    )
    fill = st.sampled_from([0, 1, 255])

    def opened(made: tuple[Any, list[int], Any, int]) -> None:
        kind, shape, factor, value = made
        path = tmp_path / "bass" / "sample0.hdf5"
        path.parent.mkdir(exist_ok=True)
        with h5py.File(path, "w") as file:
            data = file.create_dataset("data", shape, kind)
            if data.dtype.kind in "fiu" and 0 < data.size <= 600 * 600:  # larger ones are stated, and take no room
                data[...] = value
            if factor is not None:
                data.attrs["scale"] = factor
        assert np.isfinite(StemStore(tmp_path, 100).stem(np.random.default_rng(0), 50)).all()

    attack(st.tuples(kinds, shapes, scale, fill), opened)
