"""`apollo compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apollo.cli.options import Overwrite
from apollo.cli.terminal import check_suffix, counting, say
from apollo.errors import ApolloError
from apollo.foreign import shown
from apollo.storage import at_hand, here, place


def compare(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="A recording, such as an MP3.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The same music, such as its restored version.")],
    output: Annotated[Path, typer.Option("-o", "--output", parser=here, metavar="HTML", help="The page to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Make a page to hear and see two versions of a recording: in sync, equally loud, and in a blind test.

    The page is one file that needs no network. Up to five minutes of stereo are stored exactly (16 bits), longer
    recordings as Opus at 96 kbit/s.
    """
    from apollo.atomic import make_folder, refuse_existing, replacing, unwritable
    from apollo.audio.inspection import Inspection
    from apollo.player import compare as compared
    from apollo.player import data_uri, look_at, page

    check_suffix(output, ".html", "--output")
    if not overwrite:
        refuse_existing(output)

    def inspected(path: Path) -> Inspection:
        with counting(f"Reading {path.name}") as progress:
            return look_at(path, lambda done, total: progress(int(done), int(total or 0), "s"))

    one, other = place(before), place(after)
    names = shown(one.name), shown(other.name)
    with at_hand(one) as first, at_hand(other) as second:
        found = compared(inspected(first), inspected(second), data_uri, (*names, "difference"), light=True)
    coded = "" if found.lossless else " The recording is long, so its sound is stored as Opus at 96 kbit/s."
    title = f"{names[0]} and {names[1]}"
    text = page(title, title, f"A and B play in sync; D is their difference.{coded}", found.player)
    make_folder(output.parent)
    try:
        with replacing(output, overwrite) as temporary:
            temporary.write_bytes(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise ApolloError(unwritable(output, error)) from None
    say(f"{output}: {found.seconds:.1f} s of {before} and {after}, {len(text) / 1e6:.1f} MB")
