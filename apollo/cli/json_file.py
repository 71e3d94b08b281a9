"""`--json FILE`: results for programs, in a file or alone on standard output."""

from __future__ import annotations

import os

import typer

from apollo.atomic import make_folder, refuse_existing, unwritable
from apollo.cli.terminal import MANNER, check_suffix, outlet
from apollo.errors import ApolloError
from apollo.foreign import shown_in_json
from apollo.storage import Place, Url, place, replacing


def json_target(name: str | None, overwrite: bool, new_folder: bool = False) -> Place | None:
    """The file that `--json` names, checked before any work; None where there is none to write.

    With `-`, standard output is for the results alone: everything else that is told goes to standard error. Raises
    ApolloError if no such file can be written.
    """
    MANNER.only_json = name == "-"
    if name is None or MANNER.only_json:
        return None
    target = place(name)
    check_suffix(target, ".json", "--json")
    if isinstance(target, Url):
        return target
    if target.is_dir():
        raise ApolloError(f"{target} is a folder: give --json a file")
    if not overwrite:
        refuse_existing(target)
    if new_folder:
        make_folder(target.parent)
    if not os.access(target.parent, os.W_OK):
        raise ApolloError(f"{target} cannot be written: give --json a file in a folder that you may write to")
    return target


def write_json(content: object, target: Place | None, overwrite: bool = True) -> None:
    """Write results whole where `json_target` says, a file or standard output; raises ApolloError if it cannot be."""
    if MANNER.only_json:
        with outlet():
            typer.echo(shown_in_json(content, indent=2))
    elif target is not None:
        try:
            with replacing(target, overwrite) as temporary:
                temporary.write_text(shown_in_json(content, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ApolloError(unwritable(target, error)) from None
