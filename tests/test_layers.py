"""The map of CONTRIBUTING.md: imports go downwards only."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = sorted(path.stem for path in (ROOT / "apollo").glob("[a-z]*") if path.name != "py.typed")


def layers() -> list[set[str]]:
    """The rooms as CONTRIBUTING.md orders them, the highest first."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    stated = re.search(r"Imports go downwards only: (.+?)\.", text.replace("\n", " "))
    assert stated
    return [set(re.findall(r"\w+", layer)) for layer in stated[1].split("→")]


def imported(room: str) -> set[str]:
    """Every other room that a room imports, at the top of a file, inside a function or for types alone."""
    found = set()
    path = ROOT / "apollo" / room
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file} imports by a relative name"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found.update(name.split(".")[1] for name in names if name.startswith("apollo."))
    return found & set(ROOMS) - {room}


def test_every_room_has_its_place() -> None:
    assert set(ROOMS) <= set().union(*layers())


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_downwards_only(room: str) -> None:
    order = layers()
    place = next(number for number, layer in enumerate(order) if room in layer)
    allowed = set().union(*order[place + 1 :]) - ({"nn"} if room == "audio" else set())
    assert imported(room) <= allowed
