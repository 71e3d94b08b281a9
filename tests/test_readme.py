"""Both READMEs say the same, and what they point at is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGLISH, CHINESE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))


def commands(text: str) -> list[str]:
    """What a reader may type: commands in fences and in the text, and Python without its comments."""
    fences = re.findall(r"^```(?:sh|python)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line.split("  #")[0].rstrip() for fence in fences for line in fence.splitlines() if line.strip()]
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return lines + re.findall(r"`((?:apollo|pip|python) [^`]+)`", outside)


def test_both_languages_have_the_same_commands() -> None:
    assert len(commands(ENGLISH)) > 10
    assert sorted(commands(CHINESE)) == sorted(commands(ENGLISH))


def test_both_languages_have_the_same_numbers() -> None:
    table = re.compile(r"<!-- written by .*?-->\n(.*?)<!-- end -->", re.DOTALL)
    assert table.findall(CHINESE) == table.findall(ENGLISH)


def test_each_links_to_the_other_in_its_first_line() -> None:
    assert "README.zh-CN.md" in ENGLISH.splitlines()[0]
    assert "README.md" in CHINESE.splitlines()[0]


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page, so that links may lead to them."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = (
        re.sub(r"[`*]", "", heading).strip().lower() for heading in re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    )
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page",
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("[a-z]*/README.md")],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_what_is_linked_is_there(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")) if "://" not in link]
    missing = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    assert not missing
