"""The page in a real browser, as a new user meets it. Screenshots in `docs/web.md` are taken here where asked for."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from apollo.audio import write

pytestmark = pytest.mark.slow
PICTURES = os.environ.get("APOLLO_PICTURES")  # a folder for screenshots, such as docs


def wait(browser: WebDriver, selector: str, text: str = "") -> Any:
    """The element when it is there, with this text in it; no machine is too slow."""

    def found(_: WebDriver) -> Any:
        elements = browser.find_elements(By.CSS_SELECTOR, selector)
        return next((element for element in elements if text in (element.get_attribute("textContent") or "")), False)

    return WebDriverWait(browser, 1200, ignored_exceptions=[Exception]).until(found, selector)


def drop(browser: WebDriver, server: Any, *songs: Path) -> None:
    browser.get(server.address)
    wait(browser, "#songs input[type=file]").send_keys("\n".join(map(str, songs)))
    for song in songs:
        wait(browser, "#songs .file-preview", song.stem)
    browser.find_element(By.CSS_SELECTOR, "#restore").click()


def save_picture(browser: WebDriver, name: str) -> None:
    """A screenshot in 256 colours, a quarter of the size."""
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    picture.quantize(256).save(Path(str(PICTURES)) / name, optimize=True)


def requested(browser: WebDriver) -> set[str]:
    """The hosts that the browser has asked for anything."""
    hosts = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found = re.match(r"https?://([^/]+)", message["params"]["request"]["url"])
            hosts |= {found[1]} if found else set()
    return hosts


def test_song_is_dropped_heard_and_taken_home(
    open_browser: Callable[..., WebDriver], server: Any, example: Path, restored: Path, tmp_path: Path
) -> None:
    browser = open_browser(downloads=tmp_path)
    drop(browser, server, example)
    player = wait(browser, "apollo-player.live")
    wait(browser, "#status", "Restored 1 of 1.")

    # Hear it: the sound comes chunk by chunk from the page.
    player.find_element(By.CSS_SELECTOR, ".play").click()
    wait(browser, "apollo-player.playing")
    places = browser.execute_async_script(
        "const done = arguments[0], e = document.querySelector('apollo-player').engine, first = e.position;"
        "(function wait() { e.position > first ? done([first, e.position]) : setTimeout(wait, 20); })()"
    )
    assert places[1] > places[0]
    view = player.find_element(By.CSS_SELECTOR, ".scroller")
    for key, name in (("a", "dodgems-beat.mp3"), ("d", "Difference"), ("b", "dodgems-beat.restored.flac")):
        view.send_keys(key)
        assert name in player.find_element(By.CSS_SELECTOR, ".switch [aria-pressed=true]").text
    if PICTURES:
        browser.set_window_size(1280, 1420)
        save_picture(browser, "web.png")

    # Be sure: ten rounds by keyboard.
    player.find_element(By.CSS_SELECTOR, ".blind summary").click()
    player.find_element(By.CSS_SELECTOR, ".setup button").click()
    for _ in range(10):
        view.send_keys("a", "b", "x", "1")
    result = player.find_element(By.CSS_SELECTOR, ".result").text
    assert re.match(r"\d+ of 10 right, p = [\d.]+ \(([✓✗] ?){10}\)", result)

    # Take it: what `apollo restore` gives, to the bit.
    browser.find_element(By.CSS_SELECTOR, "#results a").click()
    downloaded = tmp_path / restored.name
    WebDriverWait(browser, 600).until(lambda _: downloaded.exists())
    assert downloaded.read_bytes() == restored.read_bytes()

    # A phone shows all of it, and nothing ever went anywhere else.
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    if PICTURES:
        size["height"] = 1500
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        save_picture(browser, "web-phone.png")
    assert requested(browser) == {server.address.removeprefix("http://")}
    browser.quit()


def test_visitors_wait_for_one_another_and_may_cancel(
    open_browser: Callable[..., WebDriver], server: Any, tmp_path: Path
) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 600 * 16_000))
    write(tmp_path / "long.mp3", noise, 16_000, bitrate=32_000)
    (tmp_path / "broken <b>.mp3").write_text("no music")
    first, second = open_browser(), open_browser("zh-CN")
    drop(first, server, tmp_path / "long.mp3")
    wait(first, "#status", "× real time")
    drop(second, server, tmp_path / "broken <b>.mp3")
    wait(second, "#status", "1/1")  # its place in the queue
    first.find_element(By.CSS_SELECTOR, "#cancel").click()
    wait(first, "#status", "Cancelled.")
    wait(second, "#status", "已还原 0 / 1。")
    message = wait(second, "#results .failed", "失败").text
    assert re.search(r"broken.*\.mp3 is not a readable audio", message)
    assert "/" not in message.replace("broken <b>.mp3", "")
    assert second.find_element(By.CSS_SELECTOR, "#restore").text == "还原"
    for browser in (first, second):
        browser.quit()
