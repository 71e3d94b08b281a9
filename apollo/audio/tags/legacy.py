"""Text whose code page nobody wrote down: ID3v1, ID3v2 that says Latin-1 and means another, RIFF INFO.

The bytes of a whole file are judged together. The best code page is the one in which letters stand in words as letters
do: of one script, small ones behind capitals, no signs within, and not accents alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

# In the order of preference where they read equally well. Those that Windows and Macs of the time wrote.
_CODE_PAGES = ("cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp932", "gbk", "euc_kr", "big5", "koi8_r")
_JUDGED = 4096  # bytes: more do not make it surer
_COMMON_HAN = (0xB0A1, 0xD7F9)  # GB 2312, level 1: what is in daily use
_COMMON_BIG5 = (0xA440, 0xC67E)  # likewise
_HANGUL = (0xB0A1, 0xC8FE)  # KS X 1001


def decode_legacy(pieces: Sequence[bytes]) -> tuple[list[str], str | None]:
    """Decode pieces of text of one file that are in one unknown code page.

    Gives the texts, and the code page that was guessed: None where there was nothing to guess, since all is ASCII,
    UTF-8, or what Western Windows writes.
    """
    try:
        return [piece.decode("utf-8") for piece in pieces], None
    except UnicodeDecodeError:
        pass
    telling = b" ".join(piece for piece in pieces if not piece.isascii())
    best = max(_CODE_PAGES, key=lambda name: _likeness(telling, name))  # the first of equals
    return [piece.decode(best, "replace") for piece in pieces], None if best == "cp1252" else best


def _likeness(text: bytes, code_page: str) -> float:
    """How much like words a text is in a code page; 1 for flawless."""
    try:
        letters = text[:_JUDGED].decode(code_page)
    except UnicodeDecodeError as error:
        if error.start < min(len(text), _JUDGED) - 1:
            return -2.0 if code_page != "cp1252" else -1.0
        letters = text[:_JUDGED].decode(code_page, "ignore")
    points, judged = 0.0, 0
    previous = " "
    for letter in letters:
        if not letter.isascii():
            judged += 1
            points += _value(previous, letter, code_page)
        elif letter.isalpha() and not previous.isascii() and previous.isalpha() and _script(previous) != "LATIN":
            points -= 0.5
        previous = letter
    return points / max(1, judged)


def _value(previous: str, letter: str, code_page: str) -> float:
    if not letter.isalpha():
        usual = letter in "«»„“”’‘–—…°№、。「」・～！（）" and code_page != "koi8_r"
        return 0.3 if usual else -1.0
    script = _script(letter)
    if script in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL"):
        return _value_of_ideograph(letter, script, code_page)
    if previous.isalpha() and _script(previous) != script:
        return -1.0
    if previous.isalpha() and previous.islower() and letter.isupper():
        return -1.0
    if script == "LATIN" and not previous.isascii() and previous.isalpha():
        return -0.5  # two accents in a row are rare in any language
    if letter in "ªºµƒ":
        return -0.5
    return 1.0 if script in ("LATIN", "CYRILLIC", "GREEK") else -1.0


def _value_of_ideograph(letter: str, script: str, code_page: str) -> float:
    coded = int.from_bytes(letter.encode(code_page), "big")
    if coded < 0x100:
        return -0.5  # halfwidth katakana: what anything looks like in Shift JIS
    if script in ("HIRAGANA", "KATAKANA"):
        return 1.0 if code_page == "cp932" else 0.2
    low, high = {
        "gbk": _COMMON_HAN, "euc_kr": _HANGUL, "big5": _COMMON_BIG5, "cp932": (0x889F, 0x9872)
    }.get(code_page, (0, 0))  # fmt: skip
    # Korean read as Chinese is common Chinese as well, but hardly ever is Chinese all Hangul.
    return (0.96 if code_page == "euc_kr" else 0.95) if low <= coded <= high else -0.5


def _script(letter: str) -> str:
    return unicodedata.name(letter, "?").split()[0]
