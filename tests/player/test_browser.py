"""The player in a real browser: what is heard, sample by sample, and what keys do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from apollo.player import Sound, data_uri, element, page
from apollo.player.comparison import flac
from apollo.player.tiles import png

RATE = 8_000
SAMPLES = 5 * RATE

# A context that computes as fast as it can and stops where it is told to, so that what is heard does not depend on how
# busy this machine is.
RECORD = """
const [seconds, steps, done] = arguments;
const player = document.querySelector("apollo-player"), engine = player.engine;
class Recorder extends OfflineAudioContext {
  constructor({ sampleRate }) { super(1, seconds * sampleRate, sampleRate); window.recorder = this; }
  resume() { return this.going ? super.resume() : Promise.resolve(); }
  close() {}
}
window.AudioContext = Recorder;
const fill = async () => {
  for (let more = 0; engine.next !== null && more < 4; more++) {
    await engine.decode(Math.floor(engine.next / engine.chunk));
    engine.pump();
  }
};
(async () => {
  engine.open();
  await engine.play();
  await fill();
  const begun = Math.round(engine.base * engine.rate), heard = [];
  for (let tick = 1; tick < seconds * 4; tick++) {
    recorder.suspend(tick / 4).then(async () => {
      if (steps[tick]) await eval(steps[tick])(player);
      heard.push(engine.position);
      await fill();
      recorder.resume();
    });
  }
  recorder.going = true;
  const sound = await recorder.startRendering();
  engine.stop();
  done([begun, [...sound.getChannelData(0)], heard]);
})().catch((error) => done(String(error.stack)));
"""


@pytest.fixture(scope="module")
def sounds() -> np.ndarray:
    """Two sounds whose samples say where they are: 16-bit numbers that count up, in two ranges."""
    counted = np.arange(SAMPLES) % 8_192
    return (np.stack([counted + 1, 3 * counted + 2]) / 32_768).astype(np.float32)


@pytest.fixture(scope="module")
def address(sounds: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> str:
    made = []
    for number, sound in enumerate(sounds):
        chunks = [data_uri("audio/flac", flac(part[None], RATE)) for part in np.split(sound, 5)]
        picture = data_uri("image/png", png(np.full((16, 32), number / 2)))
        made.append(Sound(f"sound {number}", chunks, [picture], 32, cutoff_hz=3000, spectrum=[-20.0, -40.0]))
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page("a page", "a page", "", element(made, RATE, SAMPLES, RATE / 2, RATE)), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def shared_browser(open_browser: Callable[..., WebDriver]) -> WebDriver:
    return open_browser()


@pytest.fixture
def browser(shared_browser: WebDriver, address: str) -> WebDriver:
    shared_browser.get(address)
    return shared_browser


def record(browser: WebDriver, seconds: int, steps: dict[int, str]) -> tuple[np.ndarray, list[int]]:
    """What is heard from the first sample on, in 16-bit numbers, and where the player said it was at every quarter."""
    found: Any = browser.execute_async_script(RECORD, seconds, {str(tick): step for tick, step in steps.items()})
    assert not isinstance(found, str), found
    begun, heard, places = found
    return np.array(heard)[begun:] * 32_767, places  # Chromium gives 1 for the largest number of 16 bits


def test_switching_keeps_the_very_sample_across_chunks(browser: WebDriver, sounds: np.ndarray) -> None:
    a, b = sounds * 32_768
    steps = {2: "(p) => p.choose(0)", 8: "(p) => p.choose('D')", 14: "(p) => p.choose(1)"}
    heard, places = record(browser, 5, steps)
    expected = {(0, 2): b, (2, 8): a, (8, 14): b - a, (14, 18): b}
    fade = round(0.07 * RATE)
    for (first, last), sound in expected.items():
        # Switching takes a moment, and the recording began a moment after the clock.
        here = slice(first * RATE // 4 + fade * (first > 0), last * RATE // 4 - fade)
        assert np.abs(heard[here] - sound[here]).max() < 0.01, (first, last)
    # While it fades, both are heard in parts that add up: nothing between them, no gap.
    for switch, one, other in ((2, b, a), (14, b - a, b)):
        here = slice(switch * RATE // 4 - fade, switch * RATE // 4 + fade)
        low, high = np.minimum(one, other)[here], np.maximum(one, other)[here]
        assert np.all(heard[here] >= low - 1)
        assert np.all(heard[here] <= high + 1)
    # The clock stands still at multiples of 128 samples only.
    assert np.all(np.abs(np.diff(places) - RATE / 4) <= 128)


def test_loop_plays_its_selection_again_and_again(browser: WebDriver, sounds: np.ndarray) -> None:
    browser.execute_script("document.querySelector('apollo-player').setLoop([4000, 13000])")
    heard, _ = record(browser, 4, {})
    looped = np.concatenate([sounds[1, 4000:13000]] * 4)[: len(heard)] * 32_768
    seams = np.abs((np.arange(len(heard)) + 200) % 9_000 - 200) <= 30  # which are faded
    assert np.abs(heard - looped)[~seams[: len(heard)]].max() < 0.01
    assert np.abs(heard[9_000]) < 200
    assert "B" in browser.find_element(By.CSS_SELECTOR, ".switch [aria-pressed=true]").text


def test_keys_do_what_the_page_says(browser: WebDriver) -> None:
    view = browser.find_element(By.CSS_SELECTOR, ".scroller")

    def state(expression: str) -> Any:
        return browser.execute_script(
            f"const p = document.querySelector('apollo-player'), e = p.engine; return {expression}"
        )

    for key, chosen in (("a", 0), ("d", "D"), ("B", 1), ("1", 0), (Keys.ARROW_DOWN, 1), (Keys.ARROW_UP, 0), ("x", 0)):
        view.send_keys(key)
        assert state("p.chosen") == chosen
        pressed = browser.find_elements(By.CSS_SELECTOR, ".switch [aria-pressed=true]")
        assert len(pressed) == 1
    view.send_keys(Keys.ARROW_RIGHT)
    assert state("e.place") == RATE / 4
    view.send_keys("[", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, "]")
    assert state("e.loop") == [RATE / 4, 3 * RATE / 4]
    view.send_keys("0", "+")
    assert state("[e.loop, p.zoom]") == [None, 2]
    view.send_keys("-", "-")
    assert state("p.zoom") == 1
    view.send_keys(" ")
    browser.execute_async_script(
        "const done = arguments[0], e = document.querySelector('apollo-player').engine;"
        "(function wait() { e.playing ? done() : setTimeout(wait, 20); })()"
    )
    assert browser.find_element(By.CSS_SELECTOR, ".play").get_attribute("aria-label") == "Stop"
    view.send_keys(" ")
    assert state("e.playing") is False


def test_pictures_have_a_time_axis_and_a_scale(browser: WebDriver) -> None:
    def times() -> list[str]:
        return [mark.get_attribute("textContent") or "" for mark in browser.find_elements(By.CSS_SELECTOR, ".axis i")]

    assert times() == ["0 s", "1 s", "2 s", "3 s", "4 s"]
    browser.execute_script("document.querySelector('apollo-player').setZoom(2)")
    assert times()[:3] == ["0.0 s", "0.5 s", "1.0 s"]
    scale = browser.find_element(By.CSS_SELECTOR, ".scale").text
    assert "−90 dB" in scale
    assert "0 dB" in scale
    assert [mark.text for mark in browser.find_elements(By.CSS_SELECTOR, ".tick")] == []  # up to 4 kHz there is none


def test_blind_test_by_keyboard_gives_score_and_p_value(browser: WebDriver) -> None:
    browser.find_element(By.CSS_SELECTOR, ".blind summary").click()
    view = browser.find_element(By.CSS_SELECTOR, ".scroller")
    for right, sentence in ((10, "10 of 10 right, p = 0.00098"), (6, "6 of 10 right, p = 0.38")):
        browser.find_element(By.CSS_SELECTOR, ".setup button").click()
        assert browser.find_element(By.CSS_SELECTOR, ".result").text == ""
        assert browser.find_element(By.CSS_SELECTOR, ".picture").is_displayed()
        for number in range(10):
            assert f"Round {number + 1} of 10" in browser.find_element(By.CSS_SELECTOR, ".asked").text
            view.send_keys("a", "x", "b", "d", "x")
            assert browser.execute_script("return document.querySelector('apollo-player').chosen") == "X"
            assert browser.find_elements(By.CSS_SELECTOR, "figure.heard") == []  # which would give X away
            secret = browser.execute_script("return document.querySelector('apollo-player').test.secret")
            view.send_keys(str(1 + (secret if number < right else 1 - secret)))
        assert browser.find_element(By.CSS_SELECTOR, ".result").text.startswith(sentence)
    browser.find_element(By.CSS_SELECTOR, ".setup button").click()
    view.send_keys("1")
    browser.find_elements(By.CSS_SELECTOR, ".asked button")[-1].click()
    assert "Ended early" in browser.find_element(By.CSS_SELECTOR, ".result").text


def test_mouse_seeks_selects_and_chooses(browser: WebDriver) -> None:
    from selenium.webdriver import ActionChains

    first = browser.find_element(By.CSS_SELECTOR, ".picture")
    ActionChains(browser).move_to_element(first).click().perform()
    place, chosen = browser.execute_script(
        "const p = document.querySelector('apollo-player'); return [p.engine.place, p.chosen]"
    )
    assert place == pytest.approx(SAMPLES / 2, rel=0.01)
    assert chosen == 0
    quarter = first.size["width"] // 4
    ActionChains(browser).move_to_element(first).click_and_hold().move_by_offset(quarter, 5).release().perform()
    loop = browser.execute_script("return document.querySelector('apollo-player').engine.loop")
    assert loop == pytest.approx([SAMPLES / 2, 3 * SAMPLES / 4], rel=0.01)


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_phone_shows_all_within_its_width(
    open_browser: Callable[..., WebDriver], address: str, language: str, tmp_path: Path
) -> None:
    browser = open_browser(language)
    try:
        size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(address)
        browser.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        assert browser.execute_script("return document.documentElement.scrollWidth") == 360
        summary = browser.find_element(By.CSS_SELECTOR, ".blind summary").text
        assert summary.startswith("Blind test" if language == "en" else "盲听测试")
        unnamed = browser.execute_script(
            "return [...document.querySelectorAll('button, input, select')].filter((e) => e.checkVisibility()"
            "&& !(e.getAttribute('aria-label') || e.textContent || e.closest('label'))).length"
        )
        assert unnamed == 0
    finally:
        browser.quit()


CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgb = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const light = (colour) => {
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = rgb(colour).map((v) => linear(v / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (rgb(colour)[3] === 255) return colour;
  }
  return "white";
};
return [...document.querySelectorAll("button, small, .hint, .time, summary, figcaption b, label, h1, .lead")]
  .filter((e) => e.checkVisibility() && e.textContent.trim())
  .map((e) => {
    const [one, other] = [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => b - a);
    return [(one + 0.05) / (other + 0.05), e.className + " " + e.textContent];
  }).filter(([ratio]) => ratio < 4.5);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser: WebDriver, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert browser.execute_script(CONTRAST) == []
