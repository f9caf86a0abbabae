"""`voicespan demo --to URL` and `--open`: the call in a backend of one's own, and in a browser."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from opentelemetry.sdk.trace import TracerProvider

from voicespan.cli.demo import elsewhere
from voicespan.report import find
from voicespan.report.received import Received
from voicespan.report.server import Viewer


@pytest.fixture
def receiving(tmp_path):
    """A backend, and the folder of what it takes."""
    folder = tmp_path / "received"
    folder.mkdir(mode=0o700)
    server = Viewer(folder, tidy=lambda: None, received=Received(folder, tidy=lambda: None))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server, folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_call_is_in_both(voicespan, receiving, tmp_path):
    server, received = receiving
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o700)
    folder = tmp_path / "demo"
    arguments = ("--to", server.url, "--open", "--folder", str(folder))
    finished = voicespan("demo", "--fast", *arguments, BROWSER=f"{browser} %s")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert f"spans are at {server.url}v1/traces." in finished.stdout
    [call] = find.calls(received)
    there, here = find.read(call), find.read(find.find("last", folder))
    assert {span.span_id for span in there.everything} == {span.span_id for span in here.everything}
    assert there.recording == here.recording
    # Ids of the demo are the ones that people look for.
    assert here.name.split("-")[1] in finished.stdout
    opened = Path(unquote(urlsplit((tmp_path / "opened").read_text().strip()).path))
    assert opened == folder / "call.html"
    assert here.thread_id in opened.read_text()


@pytest.mark.parametrize("url", ["ftp://x", "nowhere", "http://"])
def test_what_is_no_url_is_refused(url):
    assert elsewhere.why_not(url) == f"--to takes an http or https URL, and not {url}"


def test_it_is_refused_before_the_call(voicespan):
    finished = voicespan("demo", "--to", "nowhere")
    assert (finished.returncode, finished.stdout) == (2, "")


def test_a_backend_that_takes_nothing_is_named(receiving):
    server, _ = receiving
    server.received = None
    refused = elsewhere.Backend(server.url)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(refused.processor())
    provider.get_tracer("demo").start_span("call").end()
    provider.shutdown()
    assert not refused.took_all
    assert refused.outcome == f"{server.url}v1/traces did not take 1 of 1 spans."
