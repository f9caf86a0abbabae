"""Where to, from which variable, and what each answer is taken for."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time

import pytest
import trustme

from voicespan.cli.doctor import destination, probe, probe_answers
from voicespan.cli.doctor.findings import Mark
from voicespan.delivery.destination.destination import resolve
from voicespan.testing import LangSmithServer

HTTPS = {
    "LANGSMITH_ENDPOINT": "https://langsmith.example",
    "LANGSMITH_API_KEY": "lsv2_pt_something_like_a_key",
}


@pytest.fixture
def answering():
    """A server that sends the same bytes to everybody; its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def start(content):
        def serve():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(content)

        threading.Thread(target=serve, daemon=True).start()
        return listening.getsockname()[1]

    yield start
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


# Where to


@pytest.mark.parametrize(
    ("changed", "check", "source"),
    [
        ({}, "destination.url", "default"),
        ({"LANGCHAIN_ENDPOINT": "https://h.example"}, "destination.url", "LANGCHAIN_ENDPOINT"),
        (
            {"LANGCHAIN_ENDPOINT": "https://h.example", "LANGSMITH_ENDPOINT": "https://i.example"},
            "destination.url",
            "LANGSMITH_ENDPOINT",
        ),
        ({}, "destination.project", "default"),
        ({"LANGSMITH_SESSION": "p"}, "destination.project", "LANGSMITH_SESSION"),
        ({"LANGSMITH_PROJECT": "p", "LANGSMITH_SESSION": "q"}, "destination.project", "LANGSMITH_PROJECT"),
        (
            {"HOSTED_LANGSERVE_PROJECT_NAME": "p", "LANGSMITH_PROJECT": "q"},
            "destination.project",
            "HOSTED_LANGSERVE_PROJECT_NAME",
        ),
        (
            {"LANGSMITH_AGENT_ID": "a", "LANGSMITH_AGENT_ENVIRONMENT": "local"},
            "destination.project",
            "LANGSMITH_AGENT_ID",
        ),
        ({"LANGSMITH_WORKSPACE_ID": "w"}, "destination.workspace", "LANGSMITH_WORKSPACE_ID"),
        ({}, "destination.key", "LANGCHAIN_API_KEY"),
    ],
)
def test_what_was_resolved_and_from_where(look, monkeypatch, changed, check, source):
    monkeypatch.setattr(probe, "ask", lambda _: probe.Reply(200))
    changed = {"LANGCHAIN_API_KEY": "lsv2_pt_0123456789abcdef", **changed}
    found = look(destination.look, **changed)[check]
    assert found.facts["source"] == source
    assert source in found.text
    # The value is the one that deliveries use.
    resolved = resolve(environ=changed)
    value = {"url": resolved.url, "project": resolved.project, "workspace": resolved.workspace}
    for name in set(value) & set(found.facts):
        assert found.facts[name] == value[name]


def test_a_profile_is_named(look, monkeypatch, tmp_path):
    monkeypatch.setattr(probe, "ask", lambda _: probe.Reply(200))
    profiles = tmp_path / "profiles.json"
    mine = {"api_key": "lsv2_pt_of_the_profile", "api_url": "https://h.example", "workspace_id": "w"}
    profiles.write_text(json.dumps({"current_profile": "mine", "profiles": {"mine": mine}}))
    found = look(destination.look, LANGSMITH_CONFIG_FILE=str(profiles))
    for check in ("destination.url", "destination.key", "destination.workspace"):
        assert found[check].facts["source"] == "profile 'mine'"


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        ({}, "until then nothing is delivered"),
        ({"LANGSMITH_API_KEY": " "}, "LANGSMITH_API_KEY is empty"),
        ({"LANGSMITH_KEY": "k"}, "LANGSMITH_KEY is set; what is read is LANGSMITH_API_KEY"),
        (
            {"LANGSMITH_KEY": "k", "LANGSMITH_API_KEY": "k", "LANGSMITH_ENDPOINT": "ftp://x"},
            "configure() raises this",
        ),
    ],
)
def test_no_destination(look, changed, advice):
    unresolved = look(destination.look, **changed)["destination.resolved"]
    assert unresolved.mark is Mark.PROBLEM
    assert unresolved.advice.startswith(advice)


@pytest.mark.parametrize(
    ("changed", "exporter"),
    [
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ],
)
def test_who_has_an_exporter_needs_no_key(look, changed, exporter):
    unresolved = look(destination.look, **changed)["destination.resolved"]
    assert (unresolved.mark, unresolved.facts["exporter"]) == (Mark.NOTE, exporter)
    # A key that was mistyped is a problem all the same, and no exporter is none.
    assert look(destination.look, LANGSMITH_KEY="k", **changed)["destination.resolved"].mark is Mark.PROBLEM
    assert look(destination.look, OTEL_TRACES_EXPORTER="none")["destination.resolved"].mark is Mark.PROBLEM


def test_a_profile_that_is_broken(look, monkeypatch):
    def broken(**_):
        raise AttributeError("'list' object has no attribute 'a-secret'")

    monkeypatch.setattr(destination, "resolve_here", broken)
    unresolved = look(destination.look)["destination.resolved"]
    assert "AttributeError" in unresolved.text
    assert "a-secret" not in unresolved.text


def test_a_key_in_two_pieces(look, monkeypatch):
    monkeypatch.setattr(probe, "ask", lambda _: probe.Reply(failure="request"))
    found = look(destination.look, LANGSMITH_API_KEY="lsv2_pt_01234\n56789abcdef")
    problems = [check for check, finding in found.items() if finding.mark is Mark.PROBLEM]
    assert problems[0] in ("destination.key", "destination.resolved")


def test_the_address_of_the_pages_is_not_the_apis(look, monkeypatch):
    monkeypatch.setattr(probe, "ask", lambda _: probe.Reply(200))
    for url, mark in (
        ("https://smith.langchain.com", Mark.WARNING),
        ("https://eu.smith.langchain.com", Mark.WARNING),
        ("https://eu.api.smith.langchain.com", None),
    ):
        found = look(destination.look, **{**HTTPS, "LANGSMITH_ENDPOINT": url})
        assert getattr(found.get("destination.path"), "mark", None) is mark


def test_a_collector_has_the_project_and_the_key(look, langsmith):
    langsmith.api_keys.clear()
    found = look(
        destination.look, VOICESPAN_ENDPOINT=langsmith.traces_url, LANGSMITH_API_KEY="lsv2_pt_of_ours"
    )
    assert found["destination.url"].facts["collector"] is True
    assert "Collector's business" in found["destination.project"].text
    assert "destination.key" not in found
    assert found["destination.login"].text == "the Collector takes traces"


def test_a_collectors_path(look, langsmith):
    langsmith.api_keys.clear()
    found = look(destination.look, VOICESPAN_ENDPOINT=langsmith.url)
    assert found["destination.path"].advice == f"try {langsmith.url}/v1/traces"
    assert found["destination.login"].mark is Mark.PROBLEM
    assert "/v1/traces, and port 4318" in found["destination.login"].advice


# What is answered


@pytest.mark.parametrize(
    ("status", "mark"),
    [
        (302, Mark.PROBLEM),
        (400, Mark.NOTE),
        (401, Mark.PROBLEM),
        (403, Mark.PROBLEM),
        (404, Mark.PROBLEM),
        (405, Mark.PROBLEM),
        (407, Mark.PROBLEM),
        (418, Mark.PROBLEM),
        (422, Mark.NOTE),
        (429, Mark.WARNING),
        (503, Mark.WARNING),
    ],
)
@pytest.mark.parametrize("through", ["langsmith", "collector"])
def test_answers(look, langsmith, to, *, status, mark, through):
    langsmith.fail(
        status=status, text="the server's words", headers={"Location": "https://there.example/x?y"}
    )
    environ = to if through == "langsmith" else {"VOICESPAN_ENDPOINT": langsmith.traces_url}
    found = look(destination.look, **environ)
    assert found["destination.reached"].mark is Mark.OK
    login = found["destination.login"]
    assert login.mark is mark
    assert f"{status}: the server's words" in login.text
    assert login.facts["status"] == status
    assert status != 302 or "https://there.example/x)" in login.advice


def test_a_key_of_an_organisation_needs_its_workspace(look, langsmith, to):
    langsmith.org_scoped = True
    login = look(destination.look, **to)["destination.login"]
    assert "org_scoped_key_requires_workspace" in login.text
    assert "LANGSMITH_WORKSPACE_ID" in login.advice
    assert look(destination.look, LANGSMITH_WORKSPACE_ID="w", **to)["destination.login"].mark is Mark.OK


@pytest.mark.parametrize(
    "place",
    [
        {"LANGSMITH_PROJECT": "calls"},
        {"LANGSMITH_AGENT_ID": "an-agent", "LANGSMITH_AGENT_ENVIRONMENT": "production"},
    ],
)
def test_no_project_and_no_agent_is_named(look, langsmith, to, place):
    assert look(destination.look, **to, **place)["destination.login"].mark is Mark.OK
    [request] = langsmith.requests
    assert not [
        name for name in request.headers if "project" in name or "agent-" in name.replace("user-agent", "")
    ]


def test_a_web_page_is_not_the_api(look, answering):
    port = answering(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")
    login = look(destination.look, VOICESPAN_ENDPOINT=f"http://127.0.0.1:{port}/v1/traces")[
        "destination.login"
    ]
    assert login.mark is Mark.PROBLEM
    assert "web page" in login.advice


def test_no_words_of_a_server_hold_the_key(look, langsmith, to):
    langsmith.fail(status=403, text=f"not with {langsmith.api_key}, {'x' * 1000}")
    login = look(destination.look, **to)["destination.login"]
    assert langsmith.api_key not in login.text
    assert len(login.text) < 300


# Clocks


@pytest.mark.parametrize(
    ("off", "mark"), [(0, Mark.OK), (299, Mark.OK), (400, Mark.WARNING), (-4000, Mark.WARNING)]
)
def test_a_clock_that_is_wrong(look, langsmith, to, off, mark):
    found = look(destination.look, clock=_Clock(off), **to)["destination.clock"]
    assert found.mark is mark
    assert abs(found.facts["seconds"] - off) < 5


class _Clock:
    """The machine's, so many seconds off."""

    def __init__(self, off):
        self._off = off

    def monotonic_ns(self):
        return time.monotonic_ns()

    def time_ns(self):
        return time.time_ns() + self._off * 1_000_000_000


# What keeps it from being answered


def failure(look, **environ):
    found = look(destination.look, **environ)
    reached = found["destination.reached"]
    assert reached.mark is Mark.PROBLEM
    assert "destination.login" not in found
    assert "{" not in reached.text + reached.advice
    return reached


def test_nobody_listens(look, langsmith, to):
    langsmith.down()
    reached = failure(look, **to)
    assert reached.facts["failure"] == "refused"
    assert "localhost is the container itself" in reached.advice


def test_a_name_that_nobody_knows(look, monkeypatch):
    def unknown(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    reached = failure(look, **HTTPS)
    assert reached.facts["failure"] == "name"
    assert "langsmith.example" in reached.text


@pytest.mark.parametrize(("code", "words"), [(113, "No route to host"), (24, "Too many open files")])
def test_what_the_system_says(look, monkeypatch, code, words):
    def fails(*_args, **_kwargs):
        raise OSError(code, words)

    monkeypatch.setattr(socket.socket, "connect", fails)
    reached = failure(look, **{**HTTPS, "LANGSMITH_ENDPOINT": "https://127.0.0.1:9"})
    assert reached.facts["failure"] == "unreachable"
    assert words in reached.text


def test_a_resolver_that_hangs_is_left_behind(look, monkeypatch):
    hangs = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: hangs.wait(20))
    reply = probe.ask(resolve(environ=HTTPS), altogether=0.2)
    hangs.set()
    assert reply.failure == "silent"


def test_something_else_than_http_listens(look, answering):
    port = answering(b"\x00\x00\x18\x04\x00\x00\x00\x00\x00\x00\x04\x00\x40\x00\x00")
    reached = failure(look, VOICESPAN_ENDPOINT=f"http://127.0.0.1:{port}/v1/traces")
    assert reached.facts["failure"] == "broken"
    assert "4317 is gRPC's port" in reached.advice


def test_a_connection_that_is_reset(look, langsmith, to):
    langsmith.fail(reset="answer")
    assert failure(look, **to).facts["failure"] == "broken"


def test_a_proxy_that_is_down(look):
    reached = failure(look, HTTPS_PROXY="http://somebody:a-password@127.0.0.1:9", **HTTPS)
    assert reached.facts == {**reached.facts, "failure": "proxy", "proxy": "http://127.0.0.1:9"}
    assert "a-password" not in reached.text + reached.advice
    assert "NO_PROXY=langsmith.example" in reached.advice


def test_a_proxy_that_wants_a_login(look, answering):
    port = answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    reached = failure(look, HTTPS_PROXY=f"http://127.0.0.1:{port}", **HTTPS)
    assert reached.facts["failure"] == "proxy"
    assert "407" in reached.text


def test_a_proxy_that_sends_the_request_back(look, answering):
    login = "c29tZWJvZHk6YS1wYXNzd29yZA=="  # somebody:a-password
    said = f"Proxy-Authorization: Basic {login}".encode()
    port = answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
    environ = {**HTTPS, "LANGSMITH_ENDPOINT": "http://langsmith.example", "VOICESPAN_ALLOW_HTTP": "1"}
    found = look(destination.look, HTTP_PROXY=f"http://somebody:a-password@127.0.0.1:{port}", **environ)
    assert "Proxy-Authorization: Basic [secret]" in found["destination.login"].text


@pytest.mark.parametrize("proxy", ["socks5://somebody:a-password@127.0.0.1:9", ":::///bad"])
def test_a_proxy_that_is_none_for_us(look, proxy):
    reached = failure(look, HTTPS_PROXY=proxy, **HTTPS)
    assert reached.facts["failure"] == "proxy"
    assert ("PySocks" in reached.text) is proxy.startswith("socks")
    assert "a-password" not in reached.text


@pytest.fixture
def secure():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with LangSmithServer(tls=context) as server:
        yield server, authority


def test_an_authority_that_is_not_known(look, secure, tmp_path):
    server, authority = secure
    environ = {"LANGSMITH_ENDPOINT": server.url, "LANGSMITH_API_KEY": server.api_key}
    reached = failure(look, **environ)
    assert reached.facts["failure"] == "tls"
    assert "unable to get local issuer certificate" in reached.text
    assert "REQUESTS_CA_BUNDLE" in reached.advice

    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    trusting = {**environ, "REQUESTS_CA_BUNDLE": str(tmp_path / "authority.pem")}
    found = look(destination.look, **trusting)
    assert found["destination.login"].mark is Mark.OK
    assert found["destination.certificates"].facts["source"] == "REQUESTS_CA_BUNDLE"


def test_certificates_that_are_not_there(look, secure, tmp_path):
    server, _ = secure
    reached = failure(
        look,
        LANGSMITH_ENDPOINT=server.url,
        LANGSMITH_API_KEY=server.api_key,
        REQUESTS_CA_BUNDLE=str(tmp_path / "nothing.pem"),
    )
    assert reached.facts["failure"] == "certificates"
    assert "REQUESTS_CA_BUNDLE" in reached.text


def test_tls_where_none_is_spoken(look, langsmith, to):
    reached = failure(look, **{**to, "LANGSMITH_ENDPOINT": langsmith.url.replace("http:", "https:")})
    assert reached.facts["failure"] == "tls"
    assert "http://" in reached.advice


def test_every_failure_has_its_advice():
    assert {failure for _, failure in probe._KINDS} | {"certificates"} == set(probe_answers.FAILURES)
