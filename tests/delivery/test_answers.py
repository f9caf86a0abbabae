"""Every answer of the server, and what it leads to."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from voicespan.delivery.destination.destination import resolve
from voicespan.delivery.encoding.protobuf import Message
from voicespan.delivery.export import delivery_state, http_client
from voicespan.testing import LangSmithServer


@pytest.fixture
def voice(manual):
    return manual()


@pytest.fixture
def ended(voice):
    """A conversation with two children and a recording, complete in the spool."""
    conversation = voice.conversation()
    voice.child(conversation, "input_transcription")
    voice.child(conversation, "turn_complete")
    conversation.attach_recording(b"sound" * 1000, "audio/ogg")
    voice.finish(conversation)
    return conversation


def names(spool_dir):
    return sorted(path.name for folder in spool_dir.iterdir() for path in folder.iterdir())


def statuses(server):
    return [request.status for request in server.requests]


def test_success_leaves_nothing(voice, ended, langsmith_server, spool_dir):
    voice.send()
    assert statuses(langsmith_server) == [200, 200]
    assert list(spool_dir.iterdir()) == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(voice, ended, langsmith_server, status):
    langsmith_server.fail(status=status, times=3)
    voice.send_for(60)
    assert statuses(langsmith_server) == [status, status, status, 200, 200]
    assert len(langsmith_server.runs) == 3


@pytest.mark.parametrize("stage", ["body", "answer"])
def test_a_broken_connection_is_tried_again(voice, ended, langsmith_server, stage):
    langsmith_server.fail(reset=stage, times=2)
    voice.send_for(60)
    assert len(langsmith_server.runs) == 3
    assert len(langsmith_server.roots) == 1


def test_refused_connections_are_tried_again(voice, ended, langsmith_server):
    langsmith_server.down()
    voice.send_for(3600)
    assert langsmith_server.requests == []
    langsmith_server.up()
    voice.send_for(600)
    assert len(langsmith_server.runs) == 3


def test_a_server_that_took_it_and_did_not_say_so_is_believed_at_409(
    voice, ended, langsmith_server, spool_dir
):
    langsmith_server.fail(reset="answer", stored=True, times=1)
    langsmith_server.fail(reset="answer", stored=True, times=1, after=1)
    voice.send_for(60)
    assert statuses(langsmith_server) == [None, 409, None, 409]
    assert langsmith_server.received_count(ended.run_id) == 2
    assert list(spool_dir.iterdir()) == []


def test_retry_after_is_obeyed(voice, ended, langsmith_server):
    langsmith_server.fail(status=429, headers={"Retry-After": "120"})
    voice.send_for(119)
    assert statuses(langsmith_server) == [429]
    voice.send_for(60)
    assert statuses(langsmith_server) == [429, 200, 200]


def test_retry_after_may_be_a_date(voice, ended, langsmith_server):
    # The fake clock shows 2026-01-02T03:04:05.
    langsmith_server.fail(status=503, headers={"Retry-After": "Fri, 02 Jan 2026 03:06:05 GMT"})
    voice.send_for(118)
    assert statuses(langsmith_server) == [503]
    voice.send_for(60)
    assert statuses(langsmith_server) == [503, 200, 200]


def test_a_batch_that_is_too_large_is_split_down_to_single_spans(voice, langsmith_server):
    conversation = voice.conversation()
    for number in range(7):
        voice.child(conversation, "turn_complete", **{"gen_ai.completion": f"{number}" * 3000})
    voice.finish(conversation)
    langsmith_server.max_body_bytes = 4500
    voice.send()
    assert len(langsmith_server.runs) == 8
    assert statuses(langsmith_server).count(200) == 8


def test_a_span_that_is_too_large_alone_is_set_aside_and_counted(voice, langsmith_server, spool_dir):
    conversation = voice.conversation()
    voice.child(conversation, "turn_complete", **{"gen_ai.completion": "x" * 9000})
    voice.child(conversation, "turn_complete")
    voice.finish(conversation)
    langsmith_server.max_body_bytes = 4500
    voice.send()
    [root] = langsmith_server.roots
    assert len(root.children) == 1
    assert root.metadata["dropped_spans"] == 1
    [kept] = spool_dir.iterdir()
    assert kept.name.startswith("kept-")
    assert "spans-000.journal" in names(spool_dir)


def test_a_root_that_is_too_large_goes_without_its_recording_which_is_kept(
    voice, ended, langsmith_server, spool_dir, caplog
):
    langsmith_server.max_body_bytes = 4000
    voice.send()
    [root] = langsmith_server.roots
    assert root.attachments == {}
    assert root.metadata["ls_audio_attach_status"] == "too_large"
    [kept] = spool_dir.iterdir()
    assert (kept / "attachment.ogg").read_bytes() == b"sound" * 1000
    assert (
        f"could not be attached (too_large) at LangSmith at {langsmith_server.traces_url}; it is kept in"
        in caplog.text
    )


def test_a_root_whose_words_alone_are_too_large_goes_without_them(voice, langsmith_server):
    conversation = voice.conversation()
    conversation.set_metadata(note="n")
    conversation.lifecycle.root.span.set_attribute("gen_ai.completion", "x" * 9000)
    voice.finish(conversation)
    langsmith_server.max_body_bytes = 4500
    voice.send()
    [root] = langsmith_server.roots
    assert root.outputs == {}
    assert root.metadata["transcript_omitted"] == "too_large"
    assert root.metadata["note"] == "n"


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_batch_is_set_aside_with_the_servers_words(  # noqa: PLR0917  fixtures
    voice, ended, langsmith_server, spool_dir, caplog, status
):
    # The batch, then each of its two spans alone.
    langsmith_server.fail(status=status, text="no such field: lsv2_pt_test", times=3)
    voice.send()
    [root] = langsmith_server.roots
    assert root.metadata["dropped_spans"] == 2
    [kept] = spool_dir.iterdir()
    progress = (kept / "progress.json").read_text()
    assert "no such field" in progress
    assert "lsv2_pt_test" not in progress + caplog.text
    assert (
        f"LangSmith at {langsmith_server.traces_url} refused spans ({status}: no such field: [secret])"
        in caplog.text
    )
    # What was delivered need not be kept.
    assert "attachment.ogg" not in names(spool_dir)


@pytest.mark.parametrize("status", [400, 422])
def test_a_root_that_is_refused_with_its_recording_goes_without(
    voice, ended, langsmith_server, spool_dir, status
):
    langsmith_server.fail(status=status, after=1, text="no attachments here")
    voice.send()
    [root] = langsmith_server.roots
    assert root.metadata["ls_audio_attach_status"] == "refused"
    assert "attachment.ogg" in names(spool_dir)


@pytest.mark.parametrize("status", [400, 422])
def test_a_root_that_is_refused_goes_without_its_recording_and_then_without_its_words(
    voice, ended, langsmith_server, spool_dir, status
):
    langsmith_server.fail(status=status, after=1, times=2)
    voice.send()
    [root] = langsmith_server.roots
    assert root.metadata["transcript_omitted"] == "refused"
    assert root.metadata["ls_audio_attach_status"] == "refused"
    assert "attachment.ogg" in names(spool_dir)


def test_one_refused_span_takes_no_other_along(voice, langsmith_server, spool_dir, monkeypatch):
    conversation = voice.conversation()
    for number in range(60):
        voice.child(conversation, "bad" if number == 30 else "good")
    voice.finish(conversation)
    send = voice.pipeline.scheduler._uploader._post

    def refuse_bad(body):
        if b"".join(body).count(b"bad"):
            langsmith_server.fail(status=422)
        return send(body)

    monkeypatch.setattr(voice.pipeline.scheduler._uploader, "_post", refuse_bad)
    voice.send()
    [root] = langsmith_server.roots
    assert [run.name for run in root.children] == ["good"] * 59
    assert root.metadata["dropped_spans"] == 1
    assert statuses(langsmith_server).count(422) <= 7
    [kept] = spool_dir.iterdir()
    assert kept.name.startswith("kept-")


def test_a_server_that_refuses_everything_is_not_asked_for_each_span(voice, langsmith_server, monkeypatch):
    monkeypatch.setattr(delivery_state, "MOST_REFUSALS", 5)
    conversation = voice.conversation()
    for _ in range(64):
        voice.child(conversation, "turn_complete")
    voice.finish(conversation)
    langsmith_server.fail(status=400, times=None)
    voice.send()
    # Five were split into two each, so six parts are refused; then the root, with its words and without.
    assert statuses(langsmith_server) == [400] * (5 + 6 + 2)


def test_a_root_that_is_refused_is_set_aside(voice, ended, langsmith_server, spool_dir):
    langsmith_server.fail(status=422, after=1, times=3)
    voice.send()
    assert langsmith_server.roots == []
    assert {"root.pb", "attachment.ogg", "spans-000.journal"} <= set(names(spool_dir))
    voice.clock.advance(100)
    voice.send()
    assert statuses(langsmith_server) == [200, 422, 422, 422]


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_waits_for_a_better_one(voice, ended, langsmith_server, caplog, status):
    langsmith_server.fail(status=status, times=None)
    voice.send_for(3600)
    assert 10 < len(langsmith_server.requests) <= 61
    assert caplog.text.count("does not take this key") == 1
    # It is said by nobody else in other words, and again when it comes again.
    assert len([record for record in caplog.records if str(status) in record.message]) == 1
    langsmith_server.clear_failures()
    voice.send_for(600)
    assert len(langsmith_server.runs) == 3
    langsmith_server.fail(status=status, times=None)
    voice.finish(voice.conversation())
    voice.send_for(600)
    assert caplog.text.count("does not take this key") == 2


@pytest.mark.parametrize("status", [404, 405, 418])
def test_where_nobody_listens_it_waits_and_says_so(voice, ended, langsmith_server, caplog, status):
    langsmith_server.fail(status=status, times=3)
    voice.send_for(3600)
    assert caplog.text.count(f"nobody takes traces at {langsmith_server.traces_url} ({status}") == 1
    assert len(langsmith_server.runs) == 3


def test_a_redirect_is_not_followed(voice, ended, langsmith_server, caplog):
    with LangSmithServer(api_keys=()) as elsewhere:
        langsmith_server.fail(status=307, headers={"Location": elsewhere.traces_url})
        voice.send_for(100)
        assert elsewhere.requests == []
    assert len(langsmith_server.runs) == 3
    assert "(307" in caplog.text


def test_spans_that_another_exporter_sent_first_are_not_sent_twice(
    voice, langsmith_server, spool_dir, caplog
):
    """Children of a batch that has some of them are sent one by one, and the recording of the root is kept."""
    import requests
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    conversation = voice.conversation()
    spans = [voice.child(conversation, "turn_complete") for _ in range(3)]
    conversation.attach_recording(b"sound", "audio/ogg")
    conversation.end()
    for span in (spans[1], conversation.lifecycle.root.span):
        requests.post(
            langsmith_server.traces_url,
            data=encode_spans([span]).SerializeToString(),
            headers={"x-api-key": langsmith_server.api_key, "Content-Type": "application/x-protobuf"},
            timeout=5,
        ).raise_for_status()
    voice.write()
    voice.send()
    assert len(langsmith_server.runs) == 4
    assert "does another exporter send them too?" in caplog.text
    assert "attachment.ogg" in names(spool_dir)


def partial(words):
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 1
    response.partial_success.error_message = words
    text = response.SerializeToString().decode("latin-1")
    return {"status": 200, "text": text, "headers": {"Content-Type": "application/x-protobuf"}}


def test_partial_success_is_counted(voice, ended, langsmith_server):
    langsmith_server.fail(**partial("too old"), stored=True)
    voice.send()
    assert langsmith_server.roots[0].metadata["dropped_spans"] == 1


@pytest.mark.parametrize("json", [False, True], ids=["protobuf", "JSON"])
def test_partial_success_of_the_root_is_no_success(  # noqa: PLR0917  fixtures
    voice, ended, langsmith_server, spool_dir, caplog, json
):
    answer = partial("attachments are not enabled")
    if json:
        answer["text"] = (
            '{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "attachments are not enabled"}}'
        )
        answer["headers"] = {"Content-Type": "application/json"}
    langsmith_server.fail(**answer, after=1)
    voice.send()
    [root] = langsmith_server.roots
    assert root.metadata["ls_audio_attach_status"] == "refused"
    assert "attachment.ogg" in names(spool_dir)
    assert "attachments are not enabled" in caplog.text


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        ("text/html; charset=utf-8", "<html><title>Sign in to ACME</title></html>"),
        ("text/plain", "Sign in to ACME"),
        ("application/x-protobuf", "<html>Sign in to ACME</html>"),
        ("application/json", "Sign in to ACME"),
        ("", "<html>Sign in to ACME</html>"),
    ],
)
def test_a_page_with_status_200_is_no_success_and_is_named(  # noqa: PLR0917  fixtures
    voice, ended, langsmith_server, spool_dir, caplog, kind, page
):
    langsmith_server.fail(status=200, text=page, headers={"Content-Type": kind})
    voice.send()
    assert {"attachment.ogg", "root.pb"} <= set(names(spool_dir))
    where = f"nobody takes traces at {langsmith_server.traces_url} (200: not the answer of a server that takes traces"
    assert where in caplog.text
    voice.send_for(600)
    assert len(langsmith_server.runs) == 3
    assert list(spool_dir.iterdir()) == []


def test_an_answer_has_a_time_limit_as_a_whole(voice, ended, langsmith_server, monkeypatch, spool_dir):
    """A byte now and then is in time for each read, and would hold the thread for ever."""
    monkeypatch.setattr(http_client, "_ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        given_up = threading.Event()

        def trickle():
            connection = listening.accept()[0]
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not given_up.wait(0.05):
                    connection.sendall(b"a")

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        send = http_client.HttpClient(resolve(api_key="k", endpoint=url), voice.clock)
        answer = send(Message([b"spans"]))
        given_up.set()
        thread.join()
        send.close()
    assert (answer.status, answer.words) == (None, "did not answer in time")


def test_a_log_line_tells_when_delivery_fails_and_none_repeats_it(voice, ended, langsmith_server, caplog):
    caplog.set_level(logging.INFO)
    langsmith_server.fail(status=503, times=5, text="busy")
    voice.send_for(600)
    assert (
        caplog.text.count(f"LangSmith at {langsmith_server.traces_url} did not take traces (503: busy)") == 1
    )
    assert caplog.text.count(f"LangSmith at {langsmith_server.traces_url} takes traces again") == 1
