"""The page as Gradio shows it, and what happens when its buttons are pressed."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from apollo.audio import FORMATS
from apollo.foreign import shown
from apollo.restoration import Restorer
from apollo.web.job import Job, Result, State, Wish
from apollo.web.words import language_of, say
from apollo.web.workspace import Room, Workspace

MOST_FILES = 200


class Page:
    """The page and the jobs that its visitors have begun.

    A visitor may name any model file or hub id (`any_model`) only where the visitor owns this machine. `translate`
    marks a word for translation by the browser's language.
    """

    def __init__(
        self,
        workspace: Workspace,
        restorer: Callable[[Wish], Restorer],
        models: Sequence[str],
        any_model: bool,
        jobs: int,
        translate: Callable[[str], Any],
    ) -> None:
        self.workspace = workspace
        self.restorer = restorer
        self.models = models
        self.any_model = any_model
        self.running: dict[Job, str | None] = {}  # and whose it is
        self.lock = threading.Lock()
        self.blocks = self._build(translate)
        self.blocks.queue(default_concurrency_limit=jobs, max_size=100)

    def _build(self, word: Callable[[str], Any]) -> gr.Blocks:
        with gr.Blocks(title="Apollo", analytics_enabled=False) as blocks:
            gr.HTML("<h1>Apollo</h1>", elem_id="apollo-title", apply_default_css=False)
            gr.Markdown(word("lead"))
            with gr.Row():
                with gr.Column(scale=1, min_width=300):
                    songs = gr.File(label=word("songs"), file_count="multiple", elem_id="songs")
                    model = gr.Dropdown(
                        list(self.models),
                        value=self.models[0],
                        label=word("model"),
                        allow_custom_value=self.any_model,
                        elem_id="model",
                    )
                    file_format = gr.Dropdown(list(FORMATS), value="flac", label=word("format"), elem_id="format")
                    with gr.Accordion(word("more"), open=False):
                        fill = gr.Slider(0, 1, value=1, step=0.01, label=word("fill"))
                        mix = gr.Slider(0, 1, value=1, step=0.01, label=word("mix"))
                        keep_below = gr.Number(None, label=word("keep_below"), minimum=0)
                        force = gr.Checkbox(False, label=word("force"))
                    with gr.Row():
                        restore = gr.Button(word("restore"), variant="primary", elem_id="restore")
                        cancel = gr.Button(word("cancel"), elem_id="cancel")
                with gr.Column(scale=2, min_width=300):
                    status = gr.HTML(elem_id="status", min_height=60, apply_default_css=False)
                    results = gr.HTML(elem_id="results", apply_default_css=False)
            choice = gr.Dropdown(label=word("hear"), visible=False, elem_id="choice")
            player = gr.HTML(elem_id="player", apply_default_css=False)
            token = gr.State("")
            files, report, run = (
                gr.File(visible=False, file_count="multiple"),
                gr.JSON(visible=False),
                gr.Button(visible=False),
            )
            wish = [songs, model, mix, keep_below, fill, file_format, force]
            pressed = restore.click(
                self.restore,
                wish,
                [status, results, choice, player, token],
                api_name="press",
                api_visibility="private",
                concurrency_id="restore",
                show_progress="minimal",
                show_progress_on=[status],
            )
            cancel.click(self.cancel, None, [status], cancels=[pressed], api_visibility="private", queue=False)
            choice.input(
                self.show, [token, choice], [player], api_visibility="private", queue=False, show_progress="hidden"
            )
            run.click(self.answer, wish, [files, report], api_name="restore", concurrency_id="restore")
            blocks.unload(self.leave)
        return blocks  # type: ignore[no-any-return]

    def restore(
        self,
        songs: list[str] | None,
        model: str | None,
        mix: float,
        keep_below: float | None,
        fill: float,
        file_format: str | None,
        force: bool,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """What the button does: tells how far it is while it works."""
        language = language_of(request.headers.get("accept-language", ""))
        cleared = gr.update(visible=False), ""
        if not songs:
            yield f"<p>{say(language, 'nothing')}</p>", "", *cleared, ""
            return
        yield "", "", *cleared, ""
        heard = False
        wish = self._wish(model, mix, keep_below, fill, file_format, force)
        with self._job(songs, wish, request.session_hash, players=True) as job:
            room = job.room
            for state in job.run():
                status, results = status_html(state, language), results_html(state, room, language)
                shown_now: tuple[Any, ...] = gr.skip(), gr.skip()
                ready = [(result.name, result.number) for result in state.results if result.number in room.players]
                if ready and (state.over or not heard):
                    choose = gr.update(choices=ready, visible=len(ready) > 1)
                    shown_now = (choose, gr.skip())
                    if not heard:
                        choose["value"] = ready[0][1]
                        shown_now = (choose, room.players[ready[0][1]])
                        heard = True
                yield status, results, *shown_now, room.token

    def answer(
        self,
        songs: list[str] | None,
        model: str | None = None,
        mix: float = 1.0,
        keep_below: float | None = None,
        fill: float = 1.0,
        file_format: str | None = None,
        force: bool = False,
        request: gr.Request = None,  # type: ignore[assignment]  # Gradio gives it
    ) -> tuple[list[str], list[dict[str, Any]]]:
        """What programs ask for: the restored files, and what became of each song."""
        if not songs:
            raise gr.Error("give a song", print_exception=False)
        wish = self._wish(model, mix, keep_below, fill, file_format, force)
        with self._job(songs, wish, request.session_hash if request else None, players=False) as job:
            *_, state = job.run()
            if state.error:
                raise gr.Error(state.error, print_exception=False)
            restored = [result.outcome.task.target for result in state.results if result.outcome.report]
            return [str(path) for path in restored], [_as_json(result) for result in state.results]

    def cancel(self, request: gr.Request) -> str:
        """Stop what this visitor has begun, or take it out of the queue."""
        self._stop(request.session_hash)
        language = language_of(request.headers.get("accept-language", ""))
        return f'<p role="status">{say(language, "cancelled")}</p>'

    def leave(self, request: gr.Request) -> None:
        """Stop what a visitor has begun who has closed the page."""
        self._stop(request.session_hash)

    def show(self, token: str, number: int | None) -> str:
        """The player of one of the results."""
        room = self.workspace.find(token)
        return room.players.get(number, "") if room is not None and number is not None else ""

    def stop_all(self) -> None:
        """Stop everything, and wait until it has stopped: the page is closing."""
        with self.lock:
            running = list(self.running)
        for job in running:
            job.cancel()
        for job in running:
            job.wait()

    def _wish(
        self, model: str | None, mix: float, keep_below: float | None, fill: float, file_format: str | None, force: bool
    ) -> Wish:
        """The options as chosen; where a visitor has cleared a field, its default."""
        return Wish(model or self.models[0], mix, keep_below or None, fill, file_format or "flac", force)

    def _stop(self, session: str | None) -> None:
        with self.lock:
            for job, owner in self.running.items():
                if owner == session:
                    job.cancel()

    @contextmanager
    def _job(self, songs: Sequence[str], wish: Wish, session: str | None, players: bool) -> Iterator[Job]:
        """A visitor's job, which can be cancelled while the block runs."""
        uploads = [Path(song).resolve() for song in songs]
        here = self.workspace.uploads.resolve()
        if len(uploads) > MOST_FILES:
            raise gr.Error(
                f"{len(uploads)} songs at once are too many: give {MOST_FILES} at most", print_exception=False
            )
        if not all(upload.is_relative_to(here) for upload in uploads):
            raise gr.Error("that is not an upload", print_exception=False)
        if not self.any_model and wish.model not in self.models:
            raise gr.Error(
                f"there is no model {shown(wish.model)!r} here: choose one of those on offer", print_exception=False
            )
        with self.workspace.room() as room:
            job = Job(room, uploads, wish, self.restorer, players)
            with self.lock:
                self.running[job] = session
            try:
                yield job
            finally:
                with self.lock:
                    del self.running[job]


def _as_json(result: Result) -> dict[str, Any]:
    """What became of a song, without where it lay."""
    found = result.outcome.as_json()
    found.update(source=result.name, target=result.outcome.task.target.name, message=result.message)
    return found


def clock(seconds: float) -> str:
    """Hours if there are any, minutes and seconds."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def status_html(state: State, language: str) -> str:
    """How far a job is."""
    if state.error:
        return f'<p class="failed" role="alert">{_text(state.error)}</p>'
    if state.cancelled:
        return f'<p role="status">{say(language, "cancelled")}</p>'
    if state.over:
        restored = sum(result.outcome.status == "restored" for result in state.results)
        return f'<p role="status">{say(language, "done", restored=restored, files=state.files)}</p>'
    head = _text(state.name)
    if state.files > 1:
        head = f"{say(language, 'file', number=state.number + 1, files=state.files)}: {head}"
    part, told = "", say(language, state.phase)
    if state.phase == "restoring" and state.total and state.done and state.elapsed:
        speed = state.done / state.elapsed
        left = clock((state.total - state.done) / speed)
        part = f' value="{state.done / state.total:.4f}"'
        told = say(language, "progress", done=state.done, total=state.total, speed=speed, left=left)
    return f'<p>{head}</p><progress aria-label="{head}"{part}></progress><p class="told">{told}</p>'


def results_html(state: State, room: Room, language: str) -> str:
    """What became of each song, with what can be downloaded."""
    if not state.results:
        return ""
    rows = "".join(f"<li>{_row(result, language)}</li>" for result in state.results)
    after = ""
    downloads = [result for result in state.results if result.download]
    if state.over and downloads:
        if len(downloads) > 1:
            after = f'<p><a class="all" href="{room.serve_all()}" download>{say(language, "download_all")}</a></p>'
        after += f'<p class="kept">{say(language, "kept")}</p>'
    return f"<ul>{rows}</ul>{after}"


def _row(result: Result, language: str) -> str:
    name, report = _text(result.name), result.outcome.report
    if report is None:
        kind = "failed" if result.outcome.status == "failed" else "undamaged"
        return f'<b>{name}</b> <span class="{kind}">{say(language, kind)}: {_text(result.message)}</span>'
    told = say(language, "restored", seconds=report.seconds, elapsed=report.elapsed, speed=report.speed)
    if report.turned_down_db >= 0.05:
        told += say(language, "turned_down", decibels=report.turned_down_db)
    if report.lost:
        told += _text(say(language, "lost", names=", ".join(report.lost)))
    if result.no_player:
        told += f"<br>{_text(say(language, 'no_player', reason=result.no_player))}"
    download = say(language, "download")
    label = f"{download}: {_text(report.target.name)}"
    link = f'<a href="{result.download}" download aria-label="{label}">{download}</a>'
    return f"<b>{name}</b> {link}<br>{told}"


def _text(foreign: str) -> str:
    return html.escape(shown(foreign))
