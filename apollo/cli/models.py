"""`apollo models`."""

from __future__ import annotations

from apollo.cli.terminal import say


def models() -> None:
    """List models that are known by name, and those that were fetched before."""
    from importlib import resources

    from rich.table import Table

    from apollo.checkpoints.hub import KNOWN, cached_models
    from apollo.cli.screen import Screen

    resource = resources.files("apollo.checkpoints") / "default.safetensors"
    shipped = resource.is_file()
    cached = cached_models()
    here = {model.name for model in cached}
    table = Table("name", "licence", "size", "here", "what it is", box=None, pad_edge=False, header_style="bold")
    size = megabytes(len(resource.read_bytes())) if shipped else ""
    table.add_row("default", "MIT", size, "yes" if shipped else "no", "comes with Apollo: small, for MP3 at 44.1 kHz")
    table.add_row(
        "paper",
        "its authors': see its page",  # share-alike or non-commercial; only its page can say for good
        megabytes(4 * 16_539_308),
        "yes" if KNOWN["paper"] in here else "on demand",
        f"that of the paper, https://huggingface.co/{KNOWN['paper'].partition(':')[0]}",
    )
    Screen().print(table, soft_wrap=True)
    if cached:
        say("", "Fetched before, and read without a connection:")
        for model in cached:
            say(f"  {model.name}  {megabytes(model.size)}  {model.path}")
    say(
        "",
        "Any other: -m FILE, or -m OWNER/NAME, OWNER/NAME@REVISION or OWNER/NAME:FILE from the Hugging Face hub.",
    )


def megabytes(size: int) -> str:
    """Say a number of bytes.

    >>> megabytes(1_330_632)
    '1.3 MB'
    """
    return f"{size / 1e6:.1f} MB"
