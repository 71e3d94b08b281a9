"""The folder that restores in the visitor's own browser, served as any web server would."""

from __future__ import annotations

import base64
import functools
import io
import re
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait
from typer.testing import CliRunner

from apollo import load_model
from apollo.checkpoints import save_model
from apollo.cli import app
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.restoration import Restorer
from apollo.web import static

FILL = 0.5
CHUNK_SECONDS = 4  # less than half of the song


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network, which as the default one has no blocks but a fill, and changes what it is given."""
    torch.manual_seed(1)
    network = Apollo(win=40, feature_dim=16, layer=0, output="residual", fill={"channels": 8, "dilations": [1, 2]})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_model(network.eval(), path)
    return path


@pytest.fixture(scope="module")
def site(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        static.fetch_runtime()
    except ApolloError as error:
        pytest.skip(f"THE STATIC PAGE WAS NOT TRIED: {error}")
    folder = tmp_path_factory.mktemp("static") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(static, "CHUNK_SECONDS", CHUNK_SECONDS)
        static.write_site(str(model), folder)
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def status(browser: WebDriver, pattern: str) -> None:
    """Wait until the page says so; no machine is too slow."""
    WebDriverWait(browser, 1200).until(
        lambda _: re.search(pattern, browser.find_element(By.ID, "status").text), f"{pattern} was never said"
    )


def sound(browser: WebDriver, selector: str) -> Any:
    """The samples of the files that elements lead to, one after the other, `(samples, channels)`."""
    texts = browser.execute_async_script(
        """const [selector, done] = arguments;
        const text = async (node) => {
          const reader = new FileReader();
          reader.readAsDataURL(await (await fetch(node.src || node.href)).blob());
          await new Promise((resolve) => { reader.onload = resolve; });
          return reader.result.split(",")[1];
        };
        Promise.all([...document.querySelectorAll(selector)].map(text)).then(done);""",
        selector,
    )
    files = [io.BytesIO(base64.b64decode(text)) for text in texts]
    return np.concatenate([soundfile.read(file, dtype="float32", always_2d=True)[0] for file in files])


@pytest.mark.slow
def test_browser_restores_as_the_engine_does_even_after_a_cancel(
    open_browser: Callable[..., WebDriver], address: str, model: Path, example: Path, tmp_path: Path
) -> None:
    browser = open_browser(downloads=tmp_path)
    count = """Object.defineProperty(navigator, "hardwareConcurrency", { value: 2 });
      window.started = 0;
      window.Worker = class extends Worker { constructor(...given) { super(...given); window.started += 1; } };"""
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": count})
    browser.get(address)
    browser.execute_script(
        "const s = document.querySelector('#share'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))", FILL
    )
    browser.find_element(By.ID, "song").send_keys(str(example))
    browser.execute_script(
        """const by = (id) => document.getElementById(id);
        new MutationObserver((_, observer) => {
          if (!by("status").textContent.startsWith("Loading")) return;
          observer.disconnect();
          by("cancel").click();
        }).observe(by("status"), { childList: true });
        by("restore").click();"""
    )
    status(browser, "Cancelled")
    browser.find_element(By.ID, "restore").click()
    status(browser, "s of audio restored")
    assert browser.execute_script("return window.started") % 2 == 0  # a worker for each channel, in either run
    fetched = "return performance.getEntriesByType('resource').filter(({ name }) => name.includes('model.onnx')).length"
    assert browser.execute_script(fetched) <= 1  # the network was kept

    given = sound(browser, "apollo-player figure:first-of-type audio").T
    expected = Restorer(load_model(model), fill=FILL)(np.ascontiguousarray(given), 44100)
    heard = sound(browser, "apollo-player figure:nth-of-type(2) audio").T
    browser.find_element(By.ID, "download").click()
    path = tmp_path / f"{example.stem}.restored.wav"
    WebDriverWait(browser, 600).until(lambda _: path.exists())
    downloaded, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate == 44100
    assert given.shape[1] > 2 * CHUNK_SECONDS * rate
    peak = np.abs(expected).max()
    assert np.abs(expected - given).max() > 0.01 * peak
    assert np.abs(downloaded.T - expected).max() <= 1e-4 * peak
    assert (heard == downloaded.T).all()

    # It is played, fits a phone, and asks nobody else for anything.
    browser.find_element(By.CSS_SELECTOR, "apollo-player .play").click()
    WebDriverWait(browser, 600).until(lambda _: browser.find_elements(By.CSS_SELECTOR, "apollo-player.playing"))
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    asked = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith((f"{address}/", f"blob:{address}/")) for name in asked)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    browser.quit()


@pytest.mark.slow
def test_broken_file_is_said_in_the_language_of_the_browser(
    open_browser: Callable[..., WebDriver], address: str, tmp_path: Path
) -> None:
    (tmp_path / "broken <b>.mp3").write_text("no music")
    browser = open_browser("zh-CN")
    browser.get(address)
    browser.find_element(By.ID, "song").send_keys(str(tmp_path / "broken <b>.mp3"))
    assert browser.find_element(By.ID, "restore").text == "还原"
    browser.find_element(By.ID, "restore").click()
    status(browser, "此浏览器无法读取 broken <b>.mp3")
    assert browser.find_element(By.ID, "restore").is_enabled()
    browser.quit()


def test_nothing_is_replaced_unasked(tmp_path: Path, run_fork: Callable[..., Any]) -> None:
    (tmp_path / "index.html").write_text("mine")
    ended = run_fork("-m", "apollo", "web", "--static", tmp_path)
    assert ended.returncode != 0
    assert re.fullmatch(r"Error: .*index\.html exists already: use --overwrite.*\n", ended.stderr.split("\n", 1)[1])
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--static", "site", "--port", "8000"], "--port has no effect"),
        (["--static", "site", "-m", "one", "-m", "two"], "a folder takes one model"),
        (["--static", __file__], "is a file"),
        (["--overwrite"], "--static"),
    ],
)
def test_what_means_nothing_is_refused(options: list[str], said: str) -> None:
    ended = CliRunner().invoke(app, ["web", *options])
    assert said in str(ended.exception)


@pytest.mark.parametrize("registry", ["http://127.0.0.1:9", "file:///etc"])
def test_registry_that_cannot_be_asked_is_one_sentence(
    registry: str, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", registry)
    with pytest.raises(ApolloError, match="NPM_CONFIG_REGISTRY"):
        static.fetch_runtime.__wrapped__()


def test_other_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / static.PACKAGE
    package.parent.mkdir(parents=True)
    package.write_bytes(b"another")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"http://127.0.0.1:{server.server_port}/")
        with pytest.raises(ApolloError, match="is not the package"):
            static.fetch_runtime.__wrapped__()
        server.shutdown()
