"""`apollo web`."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from apollo.cli.options import Device, Models, Overwrite
from apollo.cli.terminal import STOPPED, note, require, say, warn
from apollo.errors import ApolloError
from apollo.storage import here

PASSWORD = "APOLLO_PASSWORD"
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def web(
    context: typer.Context,
    models: Models = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen at; 0.0.0.0 accepts other machines.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=1, max=65535, help="Default: the first free one from 7860.")
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option(metavar="USER", help=f"Ask visitors for this name, and for the password in {PASSWORD} or typed."),
    ] = None,
    share: Annotated[bool, typer.Option("--share", help="Get a public address from Gradio that leads here.")] = False,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Songs restored at once; others wait.")] = 1,
    max_size: Annotated[str, typer.Option(metavar="SIZE", help="Largest upload, such as 500MB or 2GB.")] = "2GB",
    device: Device = "auto",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page in a browser.")] = False,
    static: Annotated[
        Path | None,
        typer.Option(
            parser=here, metavar="DIR", help="Serve nothing: write a folder that restores in the visitor's own browser."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Open a page to restore songs on: drop them, hear the difference, download the result.

    It runs on this machine until Ctrl-C, and nothing leaves it. Uploads and results are removed an hour after they were
    last used, and at the end.
    """
    if static is not None:
        source = context.get_parameter_source
        given = {name for name in context.params if getattr(source(name), "name", "") == "COMMANDLINE"}
        if served := sorted(given - {"models", "static", "overwrite"}):
            option = served[0].replace("_", "-")
            raise ApolloError(f"--static serves nothing, so --{option} has no effect: leave out one of the two")
        _write_site(static, models or ["default"], overwrite)
        return
    if overwrite:
        raise ApolloError("--overwrite replaces what --static finds: without it, nothing is written, so leave it out")
    require("web", "gradio")
    size = parse_size(max_size)
    password = None
    if auth is not None:
        password = os.environ.get(PASSWORD) or ask_password()
    from apollo.web import Settings, serve

    settings = Settings(host, port, tuple(models or ["default"]), auth, password, share, jobs, size, device)
    if not settings.is_private and auth is None:
        warn("EVERYBODY who reaches this address can use this machine: --auth USER asks for a password")

    def started(address: str) -> None:
        say(f"Apollo is at {address}")
        note("Ctrl-C ends it.")
        if settings.is_private and not no_browser:
            import webbrowser

            webbrowser.open(address)

    try:
        serve(settings, started)
    except KeyboardInterrupt:
        STOPPED.signal = 0  # that is how it ends
        note("Ended; uploads and results are removed.")


def ask_password() -> str:
    """Have a password typed twice; raises ApolloError if nobody is there to type one."""
    try:
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    except typer.Abort:
        raise ApolloError(f"--auth needs a password: type one in a terminal, or set {PASSWORD}") from None


def _write_site(folder: Path, models: list[str], overwrite: bool) -> None:
    """Write a folder for any web server."""
    if len(models) > 1:
        raise ApolloError(f"a folder takes one model, not {len(models)}: give one -m, and each other its own --static")
    require("export", "onnx", "onnxruntime", "onnxscript")
    from apollo.web.static import write_site

    note("exporting the network, which takes a minute or two", error=True)
    site = write_site(models[0], folder, overwrite)
    say(
        f"{folder}: {site.files} files, {site.size / 1e6:.0f} MB; the model differs from PyTorch by "
        f"{site.difference:.1e} of the peak",
        f"To try it: python -m http.server -d {shlex.quote(str(folder))}",
    )


def parse_size(text: str) -> int:
    """Read a number of bytes.

    >>> parse_size("1.5GB"), parse_size("300 k"), parse_size("20")
    (1500000000, 300000, 20)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?", text.strip().lower())
    if found is None or not float(found[1]) > 0:
        raise ApolloError(f"--max-size is a size such as 500MB or 2GB, not {text!r}")
    return int(float(found[1]) * UNITS[found[2]])
