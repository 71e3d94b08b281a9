"""`apollo restore`."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from apollo.cli.options import Device, Json, Model, OptionalValue, Overwrite, Share, Track
from apollo.cli.terminal import STOPPED, note, passed_over, require
from apollo.errors import ApolloError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from apollo.audio import RawFormat
    from apollo.nn import Apollo
    from apollo.restoration import Outcome, Output, Restorer, Task

log = logging.getLogger(__name__)

PIPE = "-"
ADDRESS = re.compile(r"local|auto|ray://\S+|([\w.-]+|\[[\da-fA-F:]+\]):\d+")  # of a Ray cluster
RATES: dict[str, int | Literal["keep"] | None] = {"auto": None, "keep": "keep", "44100": 44100}


class RayAlone(OptionalValue):
    """`--ray` alone means this machine."""

    optional: ClassVar[Mapping[str, tuple[re.Pattern[str], str]]] = {"--ray": (ADDRESS, "local")}


def ray_address(address: str) -> str:
    """Read the address of a Ray cluster."""
    if not ADDRESS.fullmatch(address):
        raise ApolloError(
            f"--ray takes nothing, auto, or the address of a cluster, such as 10.0.0.1:6379, not {address!r}"
        )
    return address


def restore(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="IN", help="Audio files, folders of them, patterns, or their URLs; - for pipes."),
    ],
    output_place: Annotated[
        str | None, typer.Option("-o", "--output", metavar="OUT", help="Folder, or file, for the result.")
    ] = None,
    model: Model = "default",
    file_format: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="flac, wav, mp3, m4a or opus; flac if not given.")
    ] = None,
    bits: Annotated[
        str | None, typer.Option(metavar="BITS", help="16, 24 or, for WAV, float; 24 if not given.")
    ] = None,
    sample_rate: Annotated[
        str,
        typer.Option(
            metavar="RATE", help="keep the source's, 44100, or auto: the source's, but 44100 for files coded lower."
        ),
    ] = "auto",
    clip: Annotated[
        str,
        typer.Option(metavar="HOW", help="Above full scale: scale the volume down, clamp peaks, or write a float WAV."),
    ] = "scale",
    fill: Annotated[
        float,
        typer.Option(metavar="SHARE", help="How much lost sound is filled in: 0, most faithful, to 1, full sound."),
    ] = 1.0,
    mix: Annotated[float, typer.Option(metavar="SHARE", help="From 0, the input, to 1, the restored signal.")] = 1.0,
    keep_below: Annotated[float | None, typer.Option(metavar="HZ", help="Keep the input below this frequency.")] = None,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(metavar="PRECISION", help="auto, 32, bf16 or 16.")] = "auto",
    chunk: Annotated[
        float, typer.Option(metavar="SECONDS", help="Seconds restored at once: less takes less memory.")
    ] = 20.0,
    batch: Annotated[str, typer.Option(metavar="CHANNELS", help="Channels restored at once, or auto.")] = "auto",
    compile_it: Annotated[
        str, typer.Option("--compile", metavar="WHEN", help="on, off, or auto: for hours of audio on a GPU.")
    ] = "auto",
    track: Track = None,
    match_loudness: Annotated[
        bool, typer.Option("--match-loudness", help="Match the loudness of the source (EBU R 128).")
    ] = False,
    keep_times: Annotated[bool, typer.Option("--keep-times", help="Copy the file times of the source.")] = False,
    overwrite: Overwrite = False,
    force: Annotated[bool, typer.Option("--force", help="Restore even files with little or no damage.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and restore nothing.")] = False,
    raw: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT,RATE,CHANNELS", help="Raw samples instead of WAV through -, such as s16le,44100,2."
        ),
    ] = None,
    json_file: Json = None,
    ray: Annotated[
        str | None,
        typer.Option(
            parser=ray_address,
            metavar="[ADDRESS]",
            help="Restore many files at once on this machine or a Ray cluster.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="With --ray: files at once; default: one per GPU, or per core."),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            metavar="GPUS", min=0, help="With --ray: GPUs per worker, such as 0.5; default: 1 if there are any."
        ),
    ] = None,
    share: Share = None,
) -> None:
    """Restore music: each IN becomes a 24-bit FLAC beside it, NAME.restored.flac.

    Tags and covers are kept. Finished results and recordings without damage are skipped. The exit code is 0, 1 if
    something failed, 129, 130 or 143 if it was interrupted.
    """
    from apollo.audio import RawFormat
    from apollo.checkpoints import load_model
    from apollo.nn.memory import keep_freed_memory
    from apollo.restoration import Output, Restorer, pays_to_compile
    from apollo.storage import Place, Url, place

    if sample_rate not in RATES:
        raise ApolloError(f"--sample-rate is auto, keep or 44100, not {sample_rate!r}")
    if compile_it not in ("auto", "on", "off"):
        raise ApolloError(f"--compile is auto, on or off, not {compile_it!r}")
    if batch != "auto" and not (batch.isascii() and batch.isdecimal() and len(batch) < 10):
        raise ApolloError(f"--batch is auto or a number of channels, not {batch!r}")
    output = place(output_place) if output_place is not None else None
    if dry_run and json_file is not None:
        raise ApolloError("--json reports what was done, but --dry-run does nothing: leave out one of the two")
    if ray is None and (workers is not None or gpus is not None):
        raise ApolloError("--workers and --gpus need --ray: add it, or leave them out")
    if ray is not None:
        require("cluster", "ray")
    at_once = None if batch == "auto" else int(batch)
    kept = keep_below or None  # nothing lies below 0 Hz, which published commands give for "off"
    wanted = Output(bits, RATES[sample_rate], clip, keep_times, match_loudness)

    def build(network: Apollo, tasks: Sequence[Task] = ()) -> Restorer:
        made = Restorer(network, chunk, device, precision=precision, batch=at_once, fill=fill, mix=mix, keep_below=kept)
        if made.device.type == "cpu":
            keep_freed_memory()
        if compile_it == "on":
            made.compile()
        elif compile_it == "auto" and pays_to_compile(tasks, made.device):
            try:
                made.compile()
            except ApolloError as error:
                log.warning("continuing uncompiled: %s", error)
        return made

    if track is not None and PIPE in inputs:
        raise ApolloError("--track does not work with -: leave it out")
    if PIPE not in inputs and raw is not None:
        raise ApolloError("--raw describes what comes through a pipe: give - as the input")
    if PIPE in inputs:
        if len(inputs) > 1 or output not in (None, Path(PIPE)) or file_format not in (None, "wav"):
            raise ApolloError("- reads standard input and writes standard output: leave out other inputs and outputs")
        if json_file is not None or keep_times or share is not None or ray is not None or dry_run:
            raise ApolloError("--json, --keep-times, --dry-run, --shard and --ray do not work with -: leave them out")
        restore_through_pipe(
            model, lambda: build(load_model(model)), wanted, RawFormat.parse(raw) if raw is not None else None
        )
        return

    from apollo.audio import SUFFIXES
    from apollo.cli.json_file import json_target
    from apollo.cli.restoring import foretell, restore_with_progress
    from apollo.restoration import Settings, plan, restore_files

    report = json_target(json_file, overwrite=True)  # what is there is looked at once there is something to write
    if output == Path(PIPE):
        raise ApolloError("-o - is standard output, which works only with standard input: give - as the input")
    # Floats have but one format to go to.
    names_format = output is not None and output.suffix.lower() in SUFFIXES
    file_format = file_format or ("wav" if wanted.is_float and not names_format else None)
    others: list[Place] = []
    tasks = plan([place(name) for name in inputs], output, file_format, others.append, track)
    if keep_times and any(isinstance(end, Url) for task in tasks for end in (task.source, task.target)):
        raise ApolloError("--keep-times works only with files: objects in a store have no file times, so leave it out")
    if isinstance(output, Url):
        output.check_bucket()
    if share is not None:
        planned = len(tasks)
        tasks = share.of(tasks, lambda task: task.source.as_posix())
        note(f"Share {share}: {len(tasks)} of {planned} files")
    for task in tasks:
        wanted.for_file(task.target)
    if dry_run:
        failed = foretell(tasks, build(load_model(model)), model, wanted, overwrite, force)
    elif ray is not None and tasks:
        from apollo.cluster import Job, Workers, connected, restore_with_workers

        if any(isinstance(end, Url) and end.scheme == "memory" for task in tasks for end in (task.source, task.target)):
            raise ApolloError("memory:// belongs to one process: with --ray, name places that every worker sees")
        network = load_model(model)
        with connected(ray):
            size = Workers.fitting(workers, gpus, device == "auto" or device.startswith("cuda"))
            each = tasks[:: size.count][:1000]
            job = Job(lambda network: build(network, each), wanted, overwrite, force, model, Path.cwd())
            settings, outcomes = restore_with_workers(tasks, network, job, size)
            failed = restore_with_progress(
                tasks, lambda begin: told(outcomes, begin), settings, model, overwrite, report, f"; {size}"
            )
    else:
        made = build(load_model(model), tasks)
        failed = restore_with_progress(
            tasks,
            lambda begin: restore_files(tasks, made, wanted, overwrite, force, begin, model),
            Settings.of(made),
            model,
            overwrite,
            report,
        )
    if others:
        note(passed_over(len(others)))
    if failed:
        raise typer.Exit(1)


def told(outcomes: Generator[Outcome, None, None], begin: Callable[[Task], object]) -> Iterator[Outcome]:
    """Count each file among those begun, as it ends: nobody here sees it before."""
    with closing(outcomes):
        for outcome in outcomes:
            begin(outcome.task)
            yield outcome


def restore_through_pipe(model: str, restorer: Callable[[], Restorer], wanted: Output, raw: RawFormat | None) -> None:
    """Restore standard input into standard output, to which nothing else is written; what was done goes to stderr."""
    from apollo.cli.restoring import choice, summary
    from apollo.restoration import Settings, restore_pipe

    for name, stream in (("input", sys.stdin), ("output", sys.stdout)):
        if stream is None:
            raise ApolloError(f"standard {name} is closed: connect it to a file or to another program")
    if sys.stdout.isatty():
        raise ApolloError("- writes sound to standard output: send that to a file or to another program")
    try:
        made = restorer()
        report = restore_pipe(sys.stdin.buffer, sys.stdout.buffer, made, wanted, raw)
        sys.stdout.flush()
        note(choice(model, Settings.of(made)), summary(report), error=True)
    except KeyboardInterrupt:
        raise StoppedError("stopped before the end", 128 + STOPPED.signal) from None
    except OSError as error:
        closed = isinstance(error, BrokenPipeError)
        reason = "was closed before all was written" if closed else f"takes no more ({error.strerror})"
        raise ApolloError(f"standard output {reason}") from None
