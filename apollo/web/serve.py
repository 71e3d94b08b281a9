"""Starting the page, and taking everything away when it ends."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from apollo.atomic import temporary_folder
from apollo.errors import ApolloError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from apollo.nn import Apollo
    from apollo.restoration import Restorer
    from apollo.web.job import Wish
    from apollo.web.workspace import Workspace

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """How the page is served."""

    host: str = "127.0.0.1"  # the address that it listens at; 127.0.0.1 is this machine alone
    port: int | None = None  # of that address; None is the first free one from 7860 on
    models: tuple[str, ...] = ("default",)  # on offer; the first is chosen
    user: str | None = None  # who may enter, with a password; None lets in everybody who reaches the address
    password: str | None = None  # of the user
    share: bool = False  # whether to ask Gradio for a public address that leads here
    jobs: int = 1  # how many songs are restored at once
    max_size: int = 2_000_000_000  # of one upload, in bytes
    device: str = "auto"  # where to compute

    @property
    def is_private(self) -> bool:
        """Whether nobody but the owner of this machine can reach it."""
        return self.host in LOOPBACK and not self.share


def serve(settings: Settings, started: Callable[[str], None] = lambda address: None) -> None:
    """Serve the page until the process is interrupted.

    Args:
        settings: How.
        started: Called with the page's address once it can be opened.

    Raises:
        ApolloError: If a model cannot be loaded, or the address cannot be listened at.
    """
    # Gradio asks when it is imported. Nothing of what happens here is anybody's business.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    from apollo.checkpoints import load_model

    network = lru_cache(maxsize=3)(load_model)
    for model in settings.models:
        network(model)
    check_host(settings.host)
    with temporary_folder() as folder:
        from apollo.web.workspace import Workspace

        workspace = Workspace(folder)
        os.environ["GRADIO_TEMP_DIR"] = str(workspace.uploads)
        import gradio as gr

        from apollo.player import script, style
        from apollo.web.page import Page
        from apollo.web.words import translations

        for name in ("httpx", "httpcore", "uvicorn", "asyncio"):
            logging.getLogger(name).setLevel(logging.ERROR)
        i18n = gr.I18n(en=translations("en"), zh=translations("zh"), **{"zh-CN": translations("zh")})
        page = Page(workspace, _restorers(network, settings), settings.models, settings.is_private, settings.jobs, i18n)
        css = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
        player = style().replace("apollo-player", "apollo-player:not(#_)")  # Gradio's own rules for buttons give way
        fonts = ["system-ui", "sans-serif"]
        stopped = threading.Event()
        threading.Thread(target=workspace.keep_clean, args=(stopped,), daemon=True).start()
        try:
            _, local, public = page.blocks.launch(
                server_name=settings.host,
                server_port=settings.port,
                share=settings.share,
                auth=(settings.user, settings.password or "") if settings.user is not None else None,
                prevent_thread_lock=True,
                quiet=True,
                show_error=True,
                max_file_size=settings.max_size,
                app_kwargs={"routes": [_route(workspace)], "docs_url": None, "redoc_url": None},
                footer_links=["api"],
                ssr_mode=False,
                _frontend=False,  # it is there; else Gradio gives up on a machine too busy to answer it within 3 s
                i18n=i18n,
                theme=gr.themes.Base(font=fonts, font_mono=["ui-monospace", "monospace"]),
                head=f"<style>{player}\n{css}</style><script>{script()}</script>",
            )
            started(public or local)
            while True:
                time.sleep(3600)
        except OSError as error:
            raise ApolloError(
                f"{settings.host}{f':{settings.port}' if settings.port else ''} cannot be used ({error}): "
                "choose another --port or --host"
            ) from None
        finally:
            stopped.set()
            page.stop_all()
            page.blocks.close(verbose=False)


def check_host(host: str) -> None:
    """Refuse an address that is not this machine's, for which Gradio would try a hundred ports.

    Raises:
        ApolloError: If nothing can listen at it.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as trial:
            trial.bind(address)
    except OSError as error:
        raise ApolloError(f"{host} cannot be used ({error.strerror}): choose another --host") from None


def _restorers(network: Callable[[str], Apollo], settings: Settings) -> Callable[[Wish], Restorer]:
    """Makes restorers as `apollo restore` does, around networks that all jobs share."""
    from apollo.nn.memory import keep_freed_memory
    from apollo.restoration import Restorer

    def restorer(wish: Wish) -> Restorer:
        made = Restorer(
            network(wish.model), device=settings.device, fill=wish.fill, mix=wish.mix, keep_below=wish.keep_below
        )
        if made.device.type == "cpu":
            keep_freed_memory()
        return made

    return restorer


def _route(workspace: Workspace) -> object:
    """Where the player and the links of a job find their files; its token, which nobody can guess, lets them in."""
    from starlette.responses import FileResponse, PlainTextResponse
    from starlette.routing import Route

    def fetch(request: Request) -> Response:
        room = workspace.find(request.path_params["token"])
        served = room.fetch(request.path_params["name"]) if room is not None else None
        if served is None or not served.path.is_file():
            return PlainTextResponse("This is no longer here: restore it again.", 404)
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=3600"}
        return FileResponse(served.path, filename=served.download, headers=headers)

    return Route("/apollo/{token}/{name:path}", fetch)
