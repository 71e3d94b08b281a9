"""`apollo models`."""

from __future__ import annotations

from apollo.cli.terminal import say


def models() -> None:
    """List models with a name of their own, and whether they are downloaded."""
    from importlib import resources

    from rich.table import Table

    from apollo.checkpoints.hub import KNOWN, fetched, parse
    from apollo.cli.screen import Screen

    shipped = resources.files("apollo.checkpoints") / "default.safetensors"
    size = f"{len(shipped.read_bytes()) / 1e6:.1f} MB" if shipped.is_file() else ""
    table = Table("name", "licence", "size", "here", "what it is", box=None, pad_edge=False, header_style="bold")
    table.add_row("default", "MIT", size, "yes" if size else "no", "comes with Apollo: small, for MP3 at 44.1 kHz")
    paper = parse(KNOWN["paper"])
    assert paper is not None
    table.add_row(
        "paper",
        "its authors': see its page",  # share-alike or non-commercial; only its page can say for good
        "66.2 MB",
        "yes" if paper.file in fetched(paper) else "on demand",
        f"the paper's model, https://huggingface.co/{paper.model}",
    )
    Screen().print(table, soft_wrap=True)
    say(
        "",
        "Other models: -m FILE, or -m OWNER/NAME, OWNER/NAME@REVISION or OWNER/NAME:FILE from the Hugging Face hub.",
        "`hf cache ls` lists what was downloaded from there.",
    )
