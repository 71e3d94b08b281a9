"""What programs see of the page, and what it refuses."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from apollo.cli.web import ask_password, parse_size
from apollo.errors import ApolloError
from apollo.web.serve import check_host


@pytest.mark.slow
def test_client_gets_what_the_command_gives_to_the_bit(
    server: Any, example: Path, restored: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp3"
    broken.write_text("no music")
    client = Client(server.address, verbose=False, analytics_enabled=False, download_files=tmp_path)
    files, report = client.predict(
        [handle_file(str(example)), handle_file(str(broken))], "default", 1, None, 1, "flac", False, api_name="/restore"
    )
    assert [Path(file).read_bytes() for file in files] == [restored.read_bytes()]
    assert [song["status"] for song in report] == ["restored", "failed"]
    assert report[0]["target"] == "dodgems-beat.restored.flac"
    assert report[1]["message"].startswith("broken.mp3 is not a readable audio")
    assert str(server.temporary) not in json.dumps(report)
    for arguments, sentence in (
        (("default", 1, 5, 1, "flac", False), "keep_below must be"),
        (("no such model", 1, None, 1, "flac", False), "no such model"),
    ):
        with pytest.raises(AppError, match=sentence):
            client.predict([handle_file(str(broken))], *arguments, api_name="/restore")
    # Fields that somebody has cleared mean their defaults.
    _, report = client.predict([handle_file(str(broken))], None, 1, None, 1, None, False, api_name="/restore")
    assert (report[0]["status"], report[0]["target"]) == ("failed", "broken.restored.flac")


@pytest.mark.slow
def test_files_of_this_machine_are_none_of_a_visitors_business(server: Any, example: Path) -> None:
    data = {
        "data": [[{"path": str(example), "meta": {"_type": "gradio.FileData"}}], "default", 1, None, 1, "flac", False]
    }
    request = urllib.request.Request(
        f"{server.address}/gradio_api/call/restore",
        json.dumps(data).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{server.address}/gradio_api/call/restore/{event}") as answer:
        assert b"event: error" in answer.read()
    for address in ("apollo/x/y", "apollo/../../etc/passwd", f"gradio_api/file={example}", "apollo/%2e%2e/secret"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{server.address}/{address}")
        assert refused.value.code in (403, 404)


@pytest.mark.slow
def test_password_is_asked_for_and_large_uploads_are_refused(
    start_server: Callable[..., Any], example: Path, tmp_path: Path
) -> None:
    (tmp_path / "temporary").mkdir()
    server = start_server(tmp_path / "temporary", "--auth", "me", "--max-size", "50kB", APOLLO_PASSWORD="öpen")
    try:
        with pytest.raises(Exception, match=r"401|[Ll]og ?in|[Aa]uth"):
            Client(server.address, verbose=False, analytics_enabled=False)
        client = Client(server.address, auth=("me", "öpen"), verbose=False, analytics_enabled=False)
        shutil.copy(example, tmp_path / "large.mp3")
        with pytest.raises(Exception, match="size"):
            client.predict([handle_file(str(tmp_path / "large.mp3"))], api_name="/restore")
    finally:
        assert server.stop() == 0
    assert "EVERYBODY" not in (tmp_path / "errors.txt").read_text()


@pytest.mark.parametrize("text", ["", "big", "-3GB", "0", "2TB", "1e9"])
def test_sizes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ApolloError, match="--max-size is a size"):
        parse_size(text)


def test_an_address_of_another_machine_is_refused_at_once() -> None:
    check_host("127.0.0.1")
    with pytest.raises(ApolloError, match=r"192\.0\.2\.1 cannot be used \(.+\): choose another --host"):
        check_host("192.0.2.1")  # of no machine (RFC 5737)


def test_a_password_that_nobody_can_type_is_asked_for_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    def prompt(*words: object, **options: object) -> str:
        raise typer.Abort

    monkeypatch.setattr(typer, "prompt", prompt)
    with pytest.raises(ApolloError, match="APOLLO_PASSWORD"):
        ask_password()
