"""The container, compose file and Space: what they copy and call is there."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from apollo.cli import app, main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile and what follows them."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.split("\n"))]


def of(instructions: list[tuple[str, str]], wanted: str) -> list[str]:
    return [rest for name, rest in instructions if name == wanted]


def test_container_copies_what_is_there_and_sent_to_the_builder(dockerfile: list[tuple[str, str]]) -> None:
    known = {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"}
    assert {name for name, _ in dockerfile} == known
    sent = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split("\n") if line.startswith("!")}
    sources = [source for rest in of(dockerfile, "COPY") for source in rest.split()[:-1]]
    assert sources
    assert all((ROOT / source).exists() and source in sent for source in sources)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert {"pyproject.toml", *re.findall(r'^readme = "(.+)"', project, re.M)} <= set(sources)


def test_container_runs_the_page_as_a_user_without_rights(dockerfile: list[tuple[str, str]]) -> None:
    assert of(dockerfile, "USER")[-1] not in ("root", "0")
    assert f"useradd --create-home --uid 1000 {of(dockerfile, 'USER')[-1]}" in of(dockerfile, "RUN")[0]
    [check] = of(dockerfile, "HEALTHCHECK")
    python, option, program = json.loads(check.partition("CMD ")[2])
    assert (python, option) == ("python", "-c")
    compile(program, "HEALTHCHECK", "exec")
    [port] = of(dockerfile, "EXPOSE")
    assert f":{port}/" in program
    command, verb, *options = json.loads(of(dockerfile, "ENTRYPOINT")[-1])
    assert (command, verb) == ("apollo", "web")
    group: Any = typer.main.get_command(app)
    given = group.commands["web"].make_context("web", list(options)).params
    assert (given["host"], given["port"]) == ("0.0.0.0", int(port))


def test_compose_builds_and_publishes_what_the_container_has(dockerfile: list[tuple[str, str]]) -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert set(compose) == {"services", "volumes"}
    for service in compose["services"].values():
        assert (ROOT / service["build"]["context"] / "Dockerfile").is_file()
        assert set(service["build"]["args"]) <= {rest.partition("=")[0] for rest in of(dockerfile, "ARG")}
        for published in service["ports"]:
            address, _, inside = published.rpartition(":")
            assert address.startswith("127.0.0.1:")
            assert inside in of(dockerfile, "EXPOSE")
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(compose["volumes"])


def test_space_runs_from_its_own_copy_with_what_the_page_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    [dependencies] = re.findall(r"^dependencies = \[(.*?)^\]", project, re.M | re.S)
    [web] = re.findall(r"^web = \[(.*?)\]", project, re.M)
    lines = (ROOT / "spaces" / "requirements.txt").read_text().splitlines()
    needed = [line for line in lines if line and not line.startswith(("#", "--"))]
    assert needed == re.findall(r'"(.+?)"', dependencies + web)

    front = yaml.safe_load((ROOT / "spaces" / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert (front["sdk"], (ROOT / "spaces" / front["app_file"]).is_file()) == ("gradio", True)
    assert f"gradio=={front['sdk_version']}\n" in (ROOT / "constraints.txt").read_text()
    served: list[Any] = []
    monkeypatch.setattr("apollo.web.serve", lambda settings, started: served.append(settings))
    runpy.run_path(str(shutil.copy(ROOT / "spaces" / front["app_file"], tmp_path)))
    assert (served[0].host, served[0].port) == ("0.0.0.0", 7860)


def test_share_reaches_gradio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gradio = pytest.importorskip("gradio")
    given: dict[str, Any] = {}

    def launch(blocks: object, **options: Any) -> tuple[None, str, str]:
        given.update(options)
        raise KeyboardInterrupt

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(gradio.Blocks, "launch", launch)
    monkeypatch.setattr(gradio.Blocks, "close", lambda blocks, verbose: None)
    for options, shared in (([], False), (["--share"], True)):
        monkeypatch.setattr(sys, "argv", ["apollo", "web", "--no-browser", *options])
        with pytest.raises(SystemExit):
            main()
        assert given["share"] is shared
        assert ("EVERYBODY" in capsys.readouterr().err) is shared  # nobody was asked for a password
