"""Spans that a web server's instrumentation makes of each message keep the request as their parent."""

from __future__ import annotations

import pytest
from opentelemetry import trace

import voicespan
from voicespan.tracing import server_spans
from voicespan.tracing.conversation import Conversation

SAMPLED = trace.TraceFlags(trace.TraceFlags.SAMPLED)


@pytest.fixture
def tracer(tracer_provider):
    def of(scope):
        return tracer_provider.get_tracer(scope)

    return of


@pytest.fixture
def opened(tracer_provider):
    """Opens a conversation that is current here until the test ends."""
    conversations = []

    def open_one(**arguments):
        conversation = Conversation(tracer_provider=tracer_provider, **arguments)
        conversation.attach()
        conversations.append(conversation)
        return conversation

    yield open_one
    for conversation in conversations:
        conversation.end()


@pytest.fixture
def parent_of(span_exporter):
    def find(name):
        [span] = [span for span in span_exporter.get_finished_spans() if span.name == name]
        return span.parent and span.parent.span_id

    return find


def span_id(span):
    return span.get_span_context().span_id


def end(tracer, name, **arguments):
    tracer.start_span(name, **arguments).end()


@pytest.mark.parametrize("name", sorted(server_spans.SERVERS))
def test_a_message_of_a_servers_socket_keeps_the_request_as_its_parent(name, tracer, opened, parent_of):
    server = tracer(name)
    with server.start_as_current_span("request", attributes={"http.scheme": "ws"}) as request:
        conversation = opened()
        with server.start_as_current_span("receive"):
            pass
        end(server, "at the end", context=None)
        end(tracer("app"), "work")
    assert parent_of("receive") == parent_of("at the end") == span_id(request)
    assert parent_of("work") == conversation.context.root.span_id


def test_also_inside_a_span_of_the_application_and_after_the_conversation(tracer, opened, parent_of):
    server = tracer("opentelemetry.instrumentation.asgi")
    with server.start_as_current_span("request", attributes={"http.scheme": "ws"}) as request:
        conversation = opened()
        with tracer("app").start_as_current_span("a step of the call"):
            end(server, "receive")
            conversation.end()
            end(server, "receive later")
        end(server, "receive at last")
    ids = {parent_of(name) for name in ("receive", "receive later", "receive at last")}
    assert ids == {span_id(request)}


def test_also_where_the_conversation_is_a_part_of_the_requests_trace(
    tracer, tracer_provider, opened, parent_of, monkeypatch
):
    monkeypatch.setenv("VOICESPAN_PARENT", "child")
    server = tracer("opentelemetry.instrumentation.fastapi")
    with server.start_as_current_span("request", attributes={"url.scheme": "ws"}) as request:
        conversation = opened()
        end(server, "receive")
    assert conversation.context.root.trace_id == request.get_span_context().trace_id
    assert parent_of("receive") == span_id(request)


def test_also_of_a_second_conversation_that_was_opened_in_the_first(tracer, opened, parent_of):
    server = tracer("opentelemetry.instrumentation.asgi")
    with server.start_as_current_span("request", attributes={"http.scheme": "ws"}) as request:
        opened()
        opened()
        end(server, "receive")
    assert parent_of("receive") == span_id(request)


def test_a_request_that_a_tool_makes_of_its_own_server_nests_as_before(tracer, opened, parent_of):
    server = tracer("opentelemetry.instrumentation.asgi")
    conversation = opened()
    with server.start_as_current_span("GET /table", attributes={"http.method": "GET"}) as inner:
        end(server, "GET /table http send")
    remote = trace.SpanContext(conversation.context.root.trace_id, 17, is_remote=True, trace_flags=SAMPLED)
    end(server, "by the network", context=trace.set_span_in_context(trace.NonRecordingSpan(remote)))
    assert parent_of("GET /table") == conversation.context.root.span_id
    assert parent_of("GET /table http send") == span_id(inner)
    assert parent_of("by the network") == 17


def test_without_a_request_it_is_what_it_would_be_without_voicespan(tracer, opened, parent_of):
    opened()
    end(tracer("opentelemetry.instrumentation.websockets"), "recv")
    assert parent_of("recv") is None


def test_other_servers_spans_are_as_they_were(tracer, opened, parent_of):
    """The table is whole names: somebody's own instrumentation may begin like one of them."""
    conversation = opened()
    end(tracer("opentelemetry.instrumentation.fastapi_cache"), "look up")
    assert parent_of("look up") == conversation.context.root.span_id


def test_the_sdk_is_wrapped_once_and_looks_as_before(tracer, opened, tracer_provider):
    import inspect

    opened()
    kind = type(tracer("app"))
    first = kind.start_span
    opened()
    assert kind.start_span is first
    assert list(inspect.signature(kind.start_span).parameters)[:4] == ["self", "name", "context", "kind"]
    assert first.__name__ == "start_span"
    with voicespan.conversation(), pytest.raises(TypeError):
        tracer("app").start_span()
