"""What the doctor says where this process leaves delivery to `voicespan deliver`."""

from __future__ import annotations

import io
import threading

import pytest

from voicespan.cli import recover
from voicespan.cli.deliver import Delivery
from voicespan.cli.doctor import destination, send, spool
from voicespan.cli.doctor.findings import Mark
from voicespan.delivery.deliverer.deliverer import Deliverer
from voicespan.delivery.destination.keys import Keys
from voicespan.delivery.destination.privacy import Privacy
from voicespan.delivery.spool.settings import SpoolSettings
from voicespan.runtime.clock import SYSTEM


@pytest.fixture
def keyless(langsmith):
    return {"LANGSMITH_ENDPOINT": langsmith.url, "VOICESPAN_DELIVERY": "spool"}


@pytest.fixture
def delivering(langsmith, environ):
    """A deliverer in a thread."""
    found = {**environ, "LANGSMITH_ENDPOINT": langsmith.url, "LANGSMITH_API_KEY": langsmith.api_key}
    work = Delivery(
        Deliverer(SpoolSettings.from_environment(found), Keys(found), Privacy(), SYSTEM),
        grace=5.0,
        out=io.StringIO(),
    )
    thread = threading.Thread(target=work.watch)
    thread.start()
    yield
    work.end()
    thread.join(10)


def test_where_it_goes_is_said_and_nobody_is_asked(look, keyless, langsmith):
    found = look(destination.look, LANGSMITH_PROJECT="calls", **keyless)
    assert {finding.mark for finding in found.values()} <= {Mark.OK, Mark.NOTE}
    assert "voicespan deliver" in found["destination.url"].text
    assert langsmith.url in found["destination.url"].text
    assert found["destination.project"].facts["project"] == "calls"
    assert langsmith.requests == []


def test_a_key_that_is_not_needed_is_said(look, keyless):
    found = look(destination.look, LANGCHAIN_API_KEY="sécret", **keyless)
    assert found["destination.key"].mark is Mark.WARNING
    assert "LANGCHAIN_API_KEY" in found["destination.key"].text
    assert "sécret" not in found["destination.key"].text


def test_a_test_conversation_is_followed_until_the_deliverer_has_sent_it(
    look, keyless, langsmith, delivering
):
    found = look(send.look, **keyless)["send.conversation"]
    assert found.mark is Mark.OK
    assert [root.id for root in langsmith.roots] == [found.facts["run_id"]]


def test_where_no_deliverer_runs_that_is_said(look, keyless, langsmith, monkeypatch, capsys):
    monkeypatch.setattr(send, "_DELIVERER_SECONDS", 0)
    found = look(send.look, **keyless)["send.conversation"]
    assert found.mark is Mark.PROBLEM
    assert "is voicespan deliver running" in found.advice
    waiting = look(spool.look, **keyless)["spool.waiting"]
    assert waiting.mark is Mark.WARNING
    assert "voicespan deliver --once" in waiting.advice
    # Seen from an environment with the key, which `recover` would send from.
    key = {"LANGSMITH_ENDPOINT": langsmith.url, "LANGSMITH_API_KEY": langsmith.api_key}
    assert look(spool.look, VOICESPAN_DELIVERY="", **key)["spool.handed_over"].mark is Mark.NOTE
    assert recover.recover() == 3
    assert "for voicespan deliver" in capsys.readouterr().out
    assert langsmith.requests == []
