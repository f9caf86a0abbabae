"""`shutdown` and `force_flush` raise nothing, whatever stands around them, and say what is true."""

from __future__ import annotations

import io
import logging
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor


class Behind(SpanProcessor):
    """Stands behind ours."""

    closed = False

    def shutdown(self):
        self.closed = True


class WriteOnly:
    """The usual recipe that sends standard error to a log."""

    def write(self, text):
        pass

    def flush(self):
        pass


class Broken(io.StringIO):
    """A terminal that went away."""

    def isatty(self):
        return True

    def write(self, text):
        raise OSError(5, "Input/output error")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize(
    "stderr", [WriteOnly(), closed(), Broken(), None], ids=["recipe", "closed", "gone", "none"]
)
def test_whatever_standard_error_is_everything_is_delivered_and_who_stands_behind_is_reached(
    agent, langsmith_server, monkeypatch, stderr
):
    voice = agent()
    behind = Behind()
    voice.provider.add_span_processor(behind)
    monkeypatch.setattr("sys.stderr", stderr)
    voice.conversation().end()
    voice.provider.shutdown()
    assert behind.closed
    assert len(langsmith_server.roots) == 1


def test_a_failure_of_ours_does_not_keep_the_others_from_being_reached(agent, monkeypatch):
    monkeypatch.setattr("voicespan.runtime.guard.reraise", False)
    voice = agent()
    behind = Behind()
    voice.provider.add_span_processor(behind)
    voice.conversation().end()
    pipeline = voice.processor._pipeline
    monkeypatch.setattr(pipeline, "flush", lambda _: 1 / 0)
    monkeypatch.setattr(pipeline, "shutdown", lambda *_: 1 / 0)
    assert voice.processor.force_flush() is False
    voice.provider.shutdown()
    pipeline.stop()
    assert behind.closed


def test_a_finaliser_may_end_a_span_in_the_middle_of_our_own_code(agent, langsmith_server):
    """A garbage collection may close a generator, whose span ends wherever the collector was."""
    voice = agent()
    conversation = voice.conversation()
    inside = trace.set_span_in_context(trace.NonRecordingSpan(conversation._root.span.get_span_context()))
    conversation.end()
    assert voice.deliver()
    voice.conversation().end()
    late = voice.provider.get_tracer("the-app").start_span("late", context=inside)
    traces = voice.processor._traces
    tidy_up = traces._tidy_up
    traces._tidy_up = lambda now: (late.end(), tidy_up(now))
    opening = threading.Thread(target=lambda: voice.conversation().end(), daemon=True)
    opening.start()
    opening.join(10)
    assert not opening.is_alive()
    assert voice.deliver()
    assert "late" in {run.name for run in langsmith_server.runs}


@pytest.mark.parametrize("lock", ["scheduler", "http"])
def test_a_signal_handler_delivers_in_the_middle_of_our_own_code(agent, langsmith_server, lock):
    """Where its thread holds a lock of ours it still sees what is left, and no more waits than that."""
    voice = agent()
    voice.conversation().end()
    assert voice.deliver()
    pipeline = voice.processor._pipeline
    handled = threading.Event()

    def interrupted():
        with getattr(pipeline, lock)._lock:
            pipeline.scheduler.hurry()
            pipeline.http.progress()
            assert pipeline.left() == 0
        handled.set()

    threading.Thread(target=interrupted, daemon=True).start()
    assert handled.wait(5)


class Terminal(io.StringIO):
    """Shows what would stand on a terminal."""

    def __init__(self):
        super().__init__()
        self.shows_progress = threading.Event()

    def isatty(self):
        return True

    def write(self, text):
        super().write(text)
        if "sending 1 conversation" in text:
            self.shows_progress.set()


def test_nothing_is_said_where_nothing_is_sent(agent, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    voice = agent()
    voice.conversation()
    voice.processor.shutdown()
    assert terminal.getvalue() == ""


def test_a_line_of_the_log_begins_where_no_progress_stands(agent, langsmith_server, monkeypatch):
    terminal = Terminal()
    handler = logging.StreamHandler(terminal)
    logger = logging.getLogger("voicespan")
    logger.addHandler(handler)
    monkeypatch.setattr("sys.stderr", terminal)
    try:
        voice = agent()
        langsmith_server.fail(hang="answer", times=1)
        voice.conversation().end()
        waiting = threading.Thread(target=voice.processor.shutdown)
        waiting.start()
        assert terminal.shows_progress.wait(5)
        logger.warning("a line of the log")
        langsmith_server.release()
        waiting.join()
    finally:
        logger.removeHandler(handler)
    before = terminal.getvalue().split("a line of the log")[0]
    assert before.rsplit("\r", 1)[1] == ""
    assert not logger.filters


def test_what_no_disk_took_is_lost_and_the_last_line_says_so(manual, langsmith_server, monkeypatch, caplog):
    voice = manual(langsmith_server)
    monkeypatch.setattr(voice.pipeline.spool, "_choose", lambda: None)
    langsmith_server.down()
    voice.finish(voice.conversation())
    voice.send()
    monkeypatch.setattr(voice.pipeline, "_deliver_until", lambda *_, **__: False)
    voice.processor.shutdown()
    url = langsmith_server.traces_url
    assert (
        f"voicespan: 1 conversation is lost: in memory, not sent to LangSmith at {url} (no answer: "
        in caplog.text
    )
    assert "send with" not in caplog.text


def test_what_is_on_the_disk_waits_there_and_the_last_line_says_how_to_send_it(
    manual, langsmith_server, monkeypatch, caplog, spool_dir
):
    voice = manual(langsmith_server)
    langsmith_server.down()
    voice.finish(voice.conversation())
    voice.send()
    monkeypatch.setattr(voice.pipeline, "_deliver_until", lambda *_, **__: False)
    voice.processor.shutdown()
    assert f"voicespan: 1 conversation waits in {spool_dir}; send with: voicespan recover" in caplog.text
    assert "lost" not in caplog.text
