"""What the package imports it also declares, with bounds on both sides."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Logged to where it is installed, and named in the message where it is not.
OPTIONAL = {"wandb"}


def declared() -> dict[str, str]:
    """Every requirement in pyproject.toml but those of the contributors, by its name."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    text = text.partition("\ndev = [")[0].partition("\ndependencies = [")[2]
    found = re.findall(r'"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?([<>=!~,.\d]*)"', text)
    assert len(found) > 10
    return {name.lower().replace("_", "-"): bounds for name, bounds in found}


def imported() -> set[str]:
    """Every package that is imported anywhere in the source, by the name that it is imported by."""
    names = set()
    for path in (ROOT / "apollo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
    return names - set(sys.stdlib_module_names) - {"apollo"} - OPTIONAL


def test_what_is_imported_is_declared() -> None:
    known, distributions = declared().keys(), packages_distributions()
    for package in imported():
        names = {name.lower().replace("_", "-") for name in distributions.get(package, [package])}
        assert names & known, package


def test_every_dependency_has_an_upper_bound() -> None:
    for package, bounds in declared().items():
        assert re.fullmatch(r">=[\d.]+,<[\d.]+", bounds), package
