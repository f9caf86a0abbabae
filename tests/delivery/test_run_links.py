"""One line for each conversation that is delivered, with the address at which LangSmith shows it."""

from __future__ import annotations

import logging

import pytest

from voicespan.delivery.export.run_links import pages_of
from voicespan.testing.langsmith.feedback import project_id


def said(caplog):
    return [message for message in caplog.messages if "is delivered" in message]


def deliver(agent, thread_id):
    conversation = agent.conversation(thread_id=thread_id)
    conversation.end()
    assert agent.deliver()


def asked(server):
    return [request for request in server.requests if "/sessions" in request.path]


def test_each_conversation_has_its_line_with_langsmiths_address(agent, langsmith_server, caplog):
    caplog.set_level(logging.INFO, "voicespan")
    one = agent(endpoint=f"{langsmith_server.url}/api/v1", project="calls")
    deliver(one, "first")
    deliver(one, "second\nforged line")
    assert len(asked(langsmith_server)) == 1
    first, second = said(caplog)
    runs = {run.thread_id: run.id for run in langsmith_server.roots}
    place = f"{langsmith_server.url}/o/{project_id('')}/projects/p/{project_id('calls')}/r"
    assert first == f"voicespan: conversation first is delivered: {place}/{runs['first']}"
    assert second.endswith(runs["second\nforged line"])
    assert "\n" not in second
    assert langsmith_server.api_key not in caplog.text


def test_where_the_address_is_not_known_the_line_says_where_it_went(agent, langsmith_server, caplog):
    caplog.set_level(logging.INFO, "voicespan")
    deliver(agent(), "first")
    assert said(caplog) == [
        f"voicespan: conversation first is delivered: LangSmith at {langsmith_server.traces_url}"
    ]


def test_what_nobody_reads_is_not_asked_for(agent, langsmith_server, caplog):
    caplog.set_level(logging.WARNING, "voicespan")
    deliver(agent(endpoint=f"{langsmith_server.url}/api/v1"), "first")
    assert len(langsmith_server.roots) == 1
    assert asked(langsmith_server) == []


@pytest.mark.parametrize(
    ("url", "pages"),
    [
        ("https://api.smith.langchain.com/otel/v1/traces", "https://smith.langchain.com"),
        ("https://eu.api.smith.langchain.com/otel/v1/traces", "https://eu.smith.langchain.com"),
        ("https://ls.example/api/v1/otel/v1/traces", "https://ls.example"),
        ("https://me:secret@ls.example:8443/team/api/otel/v1/traces", "https://ls.example:8443/team"),
        ("https://ls.example/otel/v1/traces", None),
        ("https://api.smith.langchain.com.evil.example/otel/v1/traces", None),
    ],
)
def test_where_langsmiths_pages_are(url, pages):
    assert pages_of(url) == pages
