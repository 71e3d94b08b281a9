"""`apollo report`: what to do with reports that are there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from apollo.cli.json_file import write_json
from apollo.cli.options import Overwrite
from apollo.cli.terminal import SETTINGS, check_suffix, require, say
from apollo.errors import ApolloError
from apollo.regular import refuse_special
from apollo.storage import Place, at_hand, place, refuse_existing

app = typer.Typer(help="Work with earlier reports.", **SETTINGS)

# What a report of `apollo restore` says of each share alone. The rest is what results depend on.
OF_EACH = ("device", "chunk_seconds", "batch", "compiled", "planned", "counts", "files")


@app.command(
    epilog="Examples: apollo report merge shares/*.json -o restored.json    "
    "apollo report merge shares/*/report.json -o report/"
)
def merge(
    reports: Annotated[
        list[str],
        typer.Argument(metavar="REPORT", help="What `apollo restore --json` or `apollo evaluate -o` wrote, as JSON."),
    ],
    output_place: Annotated[
        str,
        typer.Option("-o", "--output", metavar="OUT", help="A JSON file, or the folder for an evaluation's report."),
    ],
    overwrite: Overwrite = False,
) -> None:
    """Merge the reports of several shares (--shard)."""
    paths, output = [place(report) for report in reports], place(output_place)
    contents = [read(path) for path in paths]
    if "files" in contents[0]:
        check_suffix(output, ".json", "--output")
        whole = merged_restorations(contents, paths)
        write_json(whole, output, overwrite)
        done = ", ".join(f"{number} {status}" for status, number in whole["counts"].items() if number)
        say(f"{output}: {len(whole['files'])} of {whole['planned']} files ({done or 'none'})")
        return
    require("eval", "jinja2")
    from apollo.evaluation.merging import evaluation_of, merged
    from apollo.evaluation.report import REPORTS, write_reports

    if not overwrite:
        for name in REPORTS:
            refuse_existing(output / name)
    evaluations = [evaluation_of(content, path) for content, path in zip(contents, paths, strict=True)]
    written = write_reports(merged(evaluations, paths), [], output)
    say("Report: " + ", ".join(map(str, written)))


def read(path: Place) -> dict[str, Any]:
    """The content of a report; raises ApolloError if it is none."""
    try:
        with at_hand(path) as file:
            refuse_special(file)
            content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ApolloError(f"{path} cannot be read ({error.strerror}): give reports that are JSON files") from None
    except (ValueError, RecursionError):
        raise ApolloError(
            f"{path} is not a JSON file: give what apollo restore --json or apollo evaluate wrote"
        ) from None
    if not isinstance(content, dict) or "apollo" not in content:
        raise ApolloError(f"{path} is not a report: give what apollo restore --json or apollo evaluate wrote")
    return content


def merged_restorations(contents: Sequence[Mapping[str, Any]], paths: Sequence[Place]) -> dict[str, Any]:
    """Put reports of `apollo restore` together; of a file that several name, the one that restored it counts.

    Raises ApolloError if they were not restored alike, or one is no such report.
    """
    files: dict[str, Mapping[str, Any]] = {}
    planned = doubles = 0
    alike = settings(contents[0])
    for content, path in zip(contents, paths, strict=True):
        if settings(content) != alike:
            what = next(key for key in {**alike, **settings(content)} if alike.get(key) != content.get(key))
            raise ApolloError(
                f"{path} was made with {what} {content.get(what)!r} and {paths[0]} with {alike.get(what)!r}: merge the "
                "shares of one job only"
            )
        try:
            for file in content["files"]:
                known = files.get(file["source"])
                doubles += known is not None
                if known is None or known["status"] != "restored" or file["status"] == "restored":
                    files[file["source"]] = file
            planned += int(content["planned"])
            dict(content["counts"])
        except (KeyError, TypeError, ValueError) as error:
            raise ApolloError(f"{path} is not a report of apollo restore ({error!r}): leave it out") from None
    counts = Counter(str(file["status"]) for file in files.values())
    return {
        **contents[0],
        "planned": planned - doubles,
        "counts": {status: counts[status] for status in contents[0]["counts"]},
        "files": [files[source] for source in sorted(files)],
    }


def settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the results of a report depend on."""
    return {key: value for key, value in content.items() if key not in OF_EACH}
