"""Models on the Hugging Face hub are fetched once and read like any other file; the hub here is a local stand-in."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import torch

from apollo.checkpoints import load_model
from apollo.checkpoints.hub import KNOWN, HubModel, parse

GOLDEN = Path(__file__).parents[1] / "golden"
UPSTREAM = (GOLDEN / "apollo-tiny.upstream.bin").read_bytes()
MSST = (GOLDEN / "apollo-tiny.msst.ckpt").read_bytes()
EVIDENCE = "evidence-of-code-that-was-run"
# A pickle that runs a command when it is opened by pickle.load.
PLANTED = f"cposix\nsystem\n(Vtouch {EVIDENCE}\ntR.".encode()
COMMIT = {"main": "a" * 40, "v1": "b" * 40}

# Prints a line for each name, the sum of all weights or the error; then what `apollo models` says.
SCRIPT = """
import sys
from apollo import load_model
from apollo.cli import main
from apollo.errors import ModelFileError
load_model("default")
assert not {"huggingface_hub", "sympy", "torch._dynamo"} & set(sys.modules)
for name in sys.argv[1:]:
    try:
        print(sum(float(tensor.double().sum()) for tensor in load_model(name).state_dict().values()))
    except ModelFileError as error:
        print("Error:", error)
sys.argv[1:] = ["models"]
main()
"""


def scaled(content: bytes) -> bytes:
    """A model like another, with weights that differ."""
    file = io.BytesIO()
    state = torch.load(io.BytesIO(content), weights_only=True)["state_dict"]
    torch.save({name: tensor if "_freq" in name else 2 * tensor for name, tensor in state.items()}, file)
    return file.getvalue()


# model → revision → file → content
Models = dict[str, dict[str, dict[str, bytes]]]
MODELS: Models = {
    "someone/two": {"main": {"a.ckpt": UPSTREAM, "folder/b.ckpt": MSST}, "v1": {"a.ckpt": scaled(MSST)}},
    "someone/planted": {"main": {"model.ckpt": PLANTED}},
    "someone/words": {"main": {"README.md": b"text"}},
    "someone/gated": {"main": {"model.ckpt": MSST}},
}


class Hub(BaseHTTPRequestHandler):
    """The few answers of the hub's HTTP interface that fetching a model needs."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = unquote(self.path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            revision = "/".join(parts[5:]) or "main"
            self.answer("/".join(parts[2:4]), revision, None)
        else:
            self.answer("/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def answer(self, model: str, revision: str, file: str | None) -> None:
        revision = next((name for name, commit in COMMIT.items() if commit == revision), revision)
        if model not in MODELS:
            return self.send(404, error="RepoNotFound")
        if model == "someone/gated":
            return self.send(403, error="GatedRepo")
        if revision not in MODELS[model]:
            return self.send(404, error="RevisionNotFound")
        files = MODELS[model][revision]
        if file is None:
            siblings = [{"rfilename": name} for name in files]
            return self.send(200, json.dumps({"id": model, "sha": COMMIT[revision], "siblings": siblings}).encode())
        if file not in files:
            return self.send(404, error="EntryNotFound")
        return self.send(200, files[file], commit=COMMIT[revision])

    def send(self, status: int, body: bytes = b"", error: str = "", commit: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        if error:
            self.send_header("X-Error-Code", error)
        if commit:
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def paper(predecessors_files: dict[str, bytes]) -> bytes:
    return predecessors_files["the paper's serialize()"]


@pytest.fixture(scope="module")
def hub(paper: bytes, predecessors_files: dict[str, bytes]) -> Iterator[ThreadingHTTPServer]:
    for name in KNOWN.values():
        model, _, file = name.partition(":")
        MODELS[model] = {"main": {file: paper, "README.md": b"text"}}
    MODELS["someone/trained"] = {"main": {"best.ckpt": predecessors_files["MSST's training"]}}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def asked(run_python: Callable[..., Any], endpoint: str, folder: Path, *names: str) -> list[str]:
    """The lines that the script prints with a hub, and its cache in a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    result = run_python("-c", SCRIPT, *names, env=environment, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def weights(content: bytes, folder: Path) -> float:
    path = folder / "expected.ckpt"
    path.write_bytes(content)
    return sum(float(tensor.double().sum()) for tensor in load_model(path).state_dict().values())


def test_models_are_fetched_once_by_any_name_and_refused_like_any_other_file(
    hub: ThreadingHTTPServer, tmp_path: Path, paper: bytes, run_python: Callable[..., Any]
) -> None:
    found = {
        "JusperLee/Apollo": paper,
        **dict.fromkeys(KNOWN, paper),
        "someone/trained": MODELS["someone/trained"]["main"]["best.ckpt"],
        "someone/two:folder/b.ckpt": MSST,
        "someone/two@v1": MODELS["someone/two"]["v1"]["a.ckpt"],
        f"someone/two@{COMMIT['v1']}:a.ckpt": MODELS["someone/two"]["v1"]["a.ckpt"],
    }
    refused = {
        "someone/two": "several model files (a.ckpt, folder/b.ckpt): choose one, such as someone/two:a.ckpt",
        "someone/two:c.ckpt": "no file 'c.ckpt': it has a.ckpt, folder/b.ckpt",
        "someone/two@v9": "no revision 'v9'",
        "someone/words": "has no model file",
        "someone/nothing": "neither a file someone/nothing nor a Hugging Face model",
        "someone/gated": "gated",
        "someone/planted": "would run posix.system",
    }
    expected = [weights(content, tmp_path) for content in found.values()]
    lines = asked(run_python, f"http://127.0.0.1:{hub.server_port}", tmp_path, *found, *refused)
    assert [float(line) for line in lines[: len(found)]] == expected
    for line, words in zip(lines[len(found) :], refused.values(), strict=False):
        assert line.startswith("Error: ")
        assert words in line
    assert not list(tmp_path.rglob(EVIDENCE))

    # The hub is gone: what was fetched is there, what was not is not.
    lines = asked(run_python, "http://127.0.0.1:1", tmp_path, *found, "someone/absent")
    assert [float(line) for line in lines[: len(found)]] == expected
    assert "cannot be fetched and is not in the cache" in lines[len(found)]
    listed = [line for line in lines[len(found) + 1 :] if line.startswith(("default", "paper"))]
    assert [" yes " in line for line in listed] == [True, True]


def test_what_is_a_file_or_can_only_be_one_is_no_hub_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "JusperLee").mkdir()
    (tmp_path / "JusperLee" / "Apollo").write_bytes(MSST)
    monkeypatch.chdir(tmp_path)
    assert load_model("JusperLee/Apollo").config["layer"] == 2
    for path in (
        "last.ckpt",
        "exps/last.ckpt",
        "/a/b",
        "./a/b",
        "a/b/c",
        "C:/a",
        "models/x.SAFETENSORS",
        "a/b@",
        "a/b:",
    ):
        assert parse(path) is None, path
    assert parse("a/b") == HubModel("a/b", "main", None)
    assert parse("a/b@refs/pr/1:f/x.bin") == HubModel("a/b", "refs/pr/1", "f/x.bin")
