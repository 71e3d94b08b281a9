"""An S3 that lives in this process, has a bucket that is closed, and may be told to kill who talks to it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import fsspec
import numpy as np
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from apollo.audio import degrade, write
from apollo.checkpoints import save_model
from apollo.cli import main
from apollo.nn import Apollo

SECRET = "not-to-be-told"


@dataclass
class Store:
    """A stand-in for S3.

    Attributes:
        address: Where it listens.
        client: Talks to it.
        watched: How the names of those objects end whose uploads matter.
        victim: Number of a process that is killed in the middle of such an upload; 0 for none.
        spared: How many such uploads come before that one.
        uploads: Which of them were uploaded, or begun.
        downloads: Which objects were read as a whole.
    """

    address: str = ""
    client: Any = None
    watched: str = ".flac"
    victim: int = 0
    spared: int = 0
    uploads: list[str] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)

    def fill(self, folder: Path, prefix: str = "") -> None:
        """Store all files of a folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.put("music", f"{prefix}{path.relative_to(folder).as_posix()}", path.read_bytes())

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Store an object."""
        self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def get(self, bucket: str, key: str) -> bytes:
        """Read an object."""
        return bytes(self.client.get_object(Bucket=bucket, Key=key)["Body"].read())

    def keys(self, bucket: str) -> list[str]:
        """Everything in a bucket."""
        return [found["Key"] for found in self.client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def watched(store: Store, inner: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The server: it grants no "100 Continue", nobody may enter the bucket `closed`, and who has sent half of a result
    may be killed.
    """

    def application(environment: dict[str, Any], respond: Callable[..., Any]) -> Iterable[bytes]:
        if environment["PATH_INFO"].startswith("/closed"):
            respond("403 Forbidden", [("Content-Type", "text/xml")])
            return [] if environment["REQUEST_METHOD"] == "HEAD" else [b"<Error><Code>AccessDenied</Code></Error>"]
        if "HTTP_EXPECT" in environment and "aiobotocore" in environment["HTTP_USER_AGENT"]:  # it might wait for ever
            respond("417 Expectation Failed", [])
            return []
        whole = "HTTP_RANGE" not in environment and "list-type" not in environment["QUERY_STRING"]
        if environment["REQUEST_METHOD"] == "GET" and whole:
            store.downloads.append(environment["PATH_INFO"])
        if environment["REQUEST_METHOD"] == "PUT" and environment["PATH_INFO"].endswith(store.watched):
            store.uploads.append(environment["PATH_INFO"])
            if store.victim and len(store.uploads) > store.spared:
                victim, store.victim = store.victim, 0
                environment["wsgi.input"].read(1000)
                os.kill(victim, signal.SIGKILL)
                respond("400 Bad Request", [])
                return []
        return inner(environment, respond)

    return application


@contextmanager
def serving() -> Iterator[Store]:
    """Run the server."""
    store = Store()
    server = make_server("127.0.0.1", 0, watched(store, DomainDispatcherApplication(create_backend_app)), threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    store.address = f"http://127.0.0.1:{server.port}"
    store.client = boto3.client(
        "s3",
        endpoint_url=store.address,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key=SECRET,
    )
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def server() -> Iterator[Store]:
    """One server for all tests."""
    with serving() as store:
        yield store


@pytest.fixture
def store(server: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    """An S3 with the empty bucket `music`, to which the environment leads."""
    for name, value in {
        "AWS_ENDPOINT_URL": server.address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.client.create_bucket(Bucket="music")
    server.uploads.clear()
    server.watched, server.spared = ".flac", 0
    yield server
    for key in server.keys("music"):
        server.client.delete_object(Bucket="music", Key=key)
    server.client.delete_bucket(Bucket="music")


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run a verb; nothing may stay in the temporary folder, in the user's cache, or of what is secret."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def verb(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["apollo", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        output = capsys.readouterr()
        assert not list((tmp_path / "tmp").glob("apollo-*"))
        for text in (output.out, output.err):
            assert "not-to-be-told" not in text
            # Lightning names the files that it works on.
            assert words[0] == "train" or str(tmp_path / "tmp") not in text
        return int(left.value.code or 0), output.out, output.err

    return verb


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three short recordings that MP3 has damaged."""
    folder = tmp_path_factory.mktemp("songs")
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 30_000)).astype(np.float32)
    (folder / "disc 2").mkdir()
    for number, name in enumerate(("a.wav", "b.flac", "disc 2/歌 é.flac")):
        write(folder / name, degrade(np.roll(noise, 999 * number), 44100, "mp3", 64_000), 44100, tags={"title": name})
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that changes what it is given."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(Apollo(win=100, feature_dim=16, layer=1), path)
    return path
