"""The page and the viewer in a real browser: what a person does with them. Run by the section `browser` of `.ci/run`."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest
from made_call import NAME, span, spans, write_call
from opentelemetry.sdk.trace import TracerProvider

import voicespan
from voicespan.cli import view
from voicespan.report import find, page
from voicespan.report.server import Viewer

BROWSER = os.environ.get("VOICESPAN_TEST_BROWSER")
if not BROWSER:
    pytest.skip("VOICESPAN_TEST_BROWSER names no Chromium", allow_module_level=True)

from playwright.sync_api import sync_playwright  # noqa: E402


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # The tests run as root in a container, which Chromium's sandbox does not like.
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        started = playwright.chromium.launch(executable_path=BROWSER, args=options)
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Opens a URL; nothing may be wrong in the page, and nothing be asked for that is elsewhere."""
    wrong, pages = [], []

    def opened(url, *, width=1200, height=900, javascript=True):
        shown = browser.new_page(viewport={"width": width, "height": height}, java_script_enabled=javascript)
        pages.append(shown)
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        shown.goto(url)
        if (javascript and "/call/" in url) or (url.startswith("file:") and javascript):
            shown.wait_for_selector("body[data-ready]", timeout=20_000)
        return shown

    yield opened
    for shown in pages:
        shown.close()
    assert wrong == []


@pytest.fixture
def shown(opened, call, tmp_path):
    (tmp_path / "call.html").write_bytes(page.report(find.read(call)))
    return opened(f"file://{tmp_path}/call.html")


def current(shown):
    return shown.evaluate("document.getElementById('audio').currentTime")


def is_paused(shown):
    return shown.evaluate("document.getElementById('audio').paused")


def wait_until(done):
    """The page's policy lets nothing be evaluated again and again inside it."""
    for _ in range(200):
        if done():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def test_a_word_is_heard_when_it_is_clicked_and_lights_up_while_it_sounds(shown):
    word = shown.locator("#said [data-start]", has_text="window")
    start = float(word.get_attribute("data-start"))
    word.click()
    shown.wait_for_selector(".now")
    assert start <= current(shown) < start + 1
    lit = shown.evaluate("""() => new Promise(done => {
        const audio = document.getElementById("audio");
        const look = () => {
            const now = document.querySelector(".now");
            if (!audio.paused && now) done([audio.currentTime, +now.dataset.start, +now.dataset.end]);
            else requestAnimationFrame(look);
        };
        look();
    })""")
    assert lit[1] - 0.1 <= lit[0] <= lit[2] + 0.1


def test_keys_seek_and_play(shown):
    shown.locator("#lanes").focus()
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("ArrowRight")
    assert current(shown) == pytest.approx(2, abs=0.05)
    shown.keyboard.press("ArrowLeft")
    assert current(shown) == pytest.approx(1, abs=0.05)
    shown.keyboard.press(" ")
    wait_until(lambda: not is_paused(shown))
    shown.keyboard.press(" ")
    wait_until(lambda: is_paused(shown))


def test_a_click_on_the_time_line_seeks_and_shows_the_span(shown):
    lanes = shown.locator("#lanes")
    box = lanes.bounding_box()
    # The recording begins a second after the conversation: nine seconds in all.
    shown.mouse.click(box["x"] + box["width"] * (1 + 3.5) / 9, box["y"] + 60)
    assert current(shown) == pytest.approx(3.5, abs=0.3)
    before = lanes.screenshot()
    shown.mouse.wheel(0, -400)
    shown.wait_for_timeout(200)
    assert lanes.screenshot() != before
    shown.locator("#errors button").click()
    assert "no such table" in shown.locator("#detail").inner_text()


def test_what_a_caller_said_never_runs(shown):
    assert "owned" not in shown.title()
    assert shown.locator("#said li").count() == 3
    assert "document.title='owned'" in shown.locator("#said").inner_text()
    assert shown.locator("img").count() == 0


def test_without_scripts_and_in_a_narrow_window_it_can_be_read(opened, call, tmp_path):
    (tmp_path / "call.html").write_bytes(page.report(find.read(call)))
    plain = opened(f"file://{tmp_path}/call.html", javascript=False, width=360)
    assert plain.locator("#said li").first.inner_text().startswith("0:01.0 user Is a table free")
    assert plain.evaluate("document.documentElement.scrollWidth") <= 361


def test_a_call_of_an_hour_is_ready_soon(opened, folder, tmp_path):
    several = spans()[:-1]
    hour = [
        span(each["name"], 1_000 + number * 10 + index, start := number * 6 + 1, start + 2)
        | {"attributes": each["attributes"]}
        for number in range(700)
        for index, each in enumerate(several)
    ]
    call = write_call(folder, written=[*hour, spans()[-1]])
    began = time.perf_counter()
    written = page.report(find.read(call))
    assert time.perf_counter() - began < 15
    (tmp_path / "call.html").write_bytes(written)
    began = time.perf_counter()
    opened(f"file://{tmp_path}/call.html")
    assert time.perf_counter() - began < 15


def test_a_running_call_grows_before_ones_eyes(opened, folder):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(voicespan.FolderSpanProcessor(folder))
    conversation = voicespan.Conversation(tracer_provider=provider, thread_id="growing")
    assert provider.force_flush(10_000)
    [name] = [path.name.removeprefix(".") for path in folder.iterdir() if path.is_dir()]
    with Viewer(folder, tidy=lambda: view.finish(folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            shown = opened(f"{server.url}call/{name}")
            assert shown.locator("#running").is_visible()
            with conversation.use():
                said = provider.get_tracer("voicespan").start_span("output_transcription")
                said.set_attribute(
                    "gen_ai.completion",
                    json.dumps({"messages": [{"role": "assistant", "content": "Good evening <b>you</b>"}]}),
                )
                said.end()
            shown.locator("#said", has_text="Good evening <b>you</b>").wait_for(timeout=20_000)
            conversation.end()
            assert provider.force_flush(10_000)
            shown.locator("#running").wait_for(state="detached", timeout=20_000)
        finally:
            server.shutdown()
            thread.join()
    provider.shutdown()


def test_five_hundred_calls_in_the_list(opened, folder, call):
    for number in range(499):
        other = folder / f"20260920T14{number // 60:02}{number % 60:02}{NAME[15:]}"
        other.mkdir()
        (other / "conversation.json").write_text(json.dumps({"thread_id": f"call {number}", "metadata": {}}))
    with Viewer(folder, tidy=lambda: None) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            shown = opened(server.url)
            assert shown.locator("#calls a").count() == 500
            shown.locator("input[name=q]").fill("booking-7")
            shown.keyboard.press("Enter")
            shown.wait_for_url("**q=booking-7")
            assert shown.locator("#calls a").count() == 1
        finally:
            server.shutdown()
            thread.join()


def test_what_is_heard_is_in_view_however_far_the_page_is_zoomed_in(shown):
    shown.mouse.move(1000, 250)
    for _ in range(6):
        shown.mouse.wheel(0, -400)
    lanes = shown.locator("#lanes")

    def in_view(seconds):
        return float(lanes.get_attribute("data-from")) <= seconds <= float(lanes.get_attribute("data-to"))

    assert not in_view(1.2)
    shown.click("#said [data-start] >> nth=0")
    wait_until(lambda: in_view(1.2))


def test_the_list_has_its_figures_in_view_whatever_a_thread_is_called(opened, call, folder):
    (call / "conversation.json").write_text(
        json.dumps({"thread_id": "x" * 400, "metadata": {"turn_count": 7, "status": "completed"}})
    )
    server = Viewer(folder, tidy=lambda: None)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        listed = opened(server.url)
        assert listed.locator("text=turns").bounding_box()["x"] < 900
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
