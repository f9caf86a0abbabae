"""`pytest --voicespan-report=DIR`: a failed test leaves a page of each of its conversations."""

from __future__ import annotations

from pathlib import Path

import pytest

# What is imported first in a run inside of this process is gone after it, and a later one would have half of it anew.
import voicespan.delivery.parts
import voicespan.openai_realtime
import voicespan.report.find
import voicespan.report.page
import voicespan.testing.assertions
import voicespan.tracing.cascade.pipeline  # noqa: F401
from voicespan.tracing import tracer

pytest_plugins = ["pytester"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "test_restaurant_agent.py"
#: As an application's own suite: a provider for each test, which ends with it.
SUITE = """
import gc
import pytest
from opentelemetry.sdk.trace import TracerProvider
import voicespan

@pytest.fixture
def provider():
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider
    provider.shutdown()

def hold(provider, thread_id, says, *, ends=True):
    conversation = voicespan.Conversation(tracer_provider=provider, thread_id=thread_id)
    with conversation.llm(model="m", messages=[]) as llm:
        llm.output(says)
    if ends:
        conversation.end()
    return conversation
"""


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "5")

    def run(tests, *arguments):
        pytester.makepyfile(test_an_agents_call=SUITE + tests)
        # As its entry point has it loaded.
        result = pytester.runpytest_inprocess("-p", "voicespan.report.pytest_plugin", *arguments)
        return result, sorted((pytester.path / "pages").glob("*"))

    return run


def test_a_failed_test_leaves_a_page_and_a_passed_one_none(run):
    result, pages = run(
        """
def test_passes(provider):
    hold(provider, "fine", "Good evening")

@pytest.mark.parametrize("who", ["a/b", "c"])
def test_fails(provider, who):
    hold(provider, who, f"Hello {who}")
    hold(provider, "second", "Hello again")
    assert who == "c"
""",
        "--voicespan-report=pages",
    )
    result.assert_outcomes(passed=2, failed=1)
    assert [page.name for page in pages] == [
        "test_an_agents_call.py-test_fails-a-b-2.html",
        "test_an_agents_call.py-test_fails-a-b.html",
    ]
    second, first = (page.read_text() for page in pages)
    assert "<title>a/b</title>" in first
    assert "<title>second</title>" in second
    result.stdout.fnmatch_lines(["*conversations of failed tests*", "*test_fails-a-b*.html"])


def test_a_call_that_still_runs_is_there_as_far_as_it_came(run):
    result, [page] = run(
        """
open_calls = []

def test_fails(provider):
    open_calls.append(hold(provider, "still running", "Good evening", ends=False))
    raise AssertionError

def test_fails_without_a_call():
    raise AssertionError
""",
        "--voicespan-report=pages",
    )
    result.assert_outcomes(failed=2)
    assert "<title>still running</title>" in page.read_text()
    assert ">running<" in page.read_text()


def test_what_fails_as_it_is_torn_down_leaves_one_as_well(run):
    result, [page] = run(
        """
@pytest.fixture
def hung_up():
    yield
    hold(TracerProvider(shutdown_on_exit=False), "at the end", "Goodbye")
    # What a test has made is gone before the page is written.
    gc.collect()
    raise OSError

def test_passes(hung_up):
    pass
""",
        "--voicespan-report=pages",
    )
    result.assert_outcomes(passed=1, errors=1)
    assert "<title>at the end</title>" in page.read_text()


def test_without_the_option_nothing_is_kept(run):
    result, pages = run("""
def test_fails(provider):
    hold(provider, "x", "Good evening")
    kept = [each for each in provider._active_span_processor._span_processors if "Folder" in type(each).__name__]
    assert kept, "none"
""")
    result.assert_outcomes(failed=1)
    assert pages == []
    assert tracer._watcher is None


def test_the_example_is_a_whole_test(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(test_an_agents_call=EXAMPLE.read_text(encoding="utf-8"))
    arguments = ("-p", "voicespan.report.pytest_plugin", "--voicespan-report=pages")
    pytester.runpytest_inprocess(*arguments).assert_outcomes(passed=1)
    assert not (pytester.path / "pages").exists()
