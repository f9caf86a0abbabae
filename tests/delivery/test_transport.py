"""TLS, proxies, plain HTTP, and what must not get into a request, a log or a file."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import http.server
import io
import logging
import re
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading

import pytest
import requests
import trustme
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from voicespan.cli import spool
from voicespan.delivery.destination.destination import resolve
from voicespan.delivery.destination.variables import DeliverySettingsError
from voicespan.delivery.encoding.protobuf import Message
from voicespan.delivery.export.http_client import HttpClient
from voicespan.delivery.export.safe_text import printable
from voicespan.runtime.clock import SYSTEM
from voicespan.testing import LangSmithServer

#: What the network of a machine is set up with.
NETWORK = (
    *(f"{kind}_proxy" for kind in ("http", "https", "all", "no")),
    *(f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO")),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)


@pytest.fixture(autouse=True)
def _no_network_settings(monkeypatch):
    for name in NETWORK:
        monkeypatch.delenv(name, raising=False)


# What listens


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers as the server says and remembers what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers)))
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self):
        self.server.seen.append((self.path, dict(self.headers)))
        self.send_error(self.server.answer[0])

    def log_message(self, *_):
        pass


class Tunnel(socketserver.StreamRequestHandler):
    """A proxy that connects: CONNECT, a host, and then bytes both ways."""

    def handle(self):
        target = self.rfile.readline().decode().split()[1]
        headers = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name] = value
        self.server.seen.append((target, headers))
        # Whatever name was asked for, it is on this machine.
        with socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2]))) as far:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ends = {self.connection: far, far: self.connection}
            with contextlib.suppress(ConnectionError):  # one end goes away
                while ready := select.select(list(ends), [], [], 10)[0]:
                    for end in ready:
                        if not (piece := end.recv(65_536)):
                            return
                        ends[end].sendall(piece)


@contextlib.contextmanager
def listening(handler=Recorder, answer=(200, {}, b"")):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.seen, server.answer = [], answer
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def plain():
    with listening() as server:
        yield server


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path):
    """The path of a file that names the authority."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    return str(tmp_path / "authority.pem")


def context_of(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def secure(authority):
    with LangSmithServer(tls=context_of(authority.issue_cert("127.0.0.1", "localhost"))) as server:
        yield server


@pytest.fixture
def post():
    posts = []

    def to(url, **arguments):
        arguments = {"api_key": "the-key", "endpoint": url, "project": "p", **arguments}
        posts.append(HttpClient(resolve(**arguments), SYSTEM))
        return posts[-1]

    yield to
    for each in posts:
        each.close()


@pytest.fixture
def collector_post(post, monkeypatch):
    def to(url, **arguments):
        monkeypatch.setenv("VOICESPAN_ENDPOINT", url)
        return post(None, api_key=None, project=None, **arguments)

    return to


def url(server, host="127.0.0.1"):
    return f"http://{host}:{server.server_port}"


BODY = Message([b"body"])


# A request


def test_what_a_request_carries(plain, post):
    assert post(url(plain))(BODY).status == 200
    [(path, headers)] = plain.seen
    assert path == "/otel/v1/traces"
    assert headers["x-api-key"] == "the-key"
    assert headers["Langsmith-Project"] == "p"
    assert headers["Content-Type"] == "application/x-protobuf"
    assert headers["Content-Length"] == "4"
    assert "Transfer-Encoding" not in headers


def test_a_netrc_does_not_replace_the_key(plain, post, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine langsmith.example.com login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", url(plain))
    monkeypatch.setenv("VOICESPAN_ALLOW_HTTP", "1")
    sender = post("http://langsmith.example.com")
    assert sender(BODY).status == 200
    [(_, headers)] = plain.seen
    assert headers["x-api-key"] == "the-key"
    assert "Authorization" not in headers


def test_our_own_requests_are_not_traced(plain, post, monkeypatch):
    seen = []
    sender = post(url(plain))
    send = sender._send
    monkeypatch.setattr(
        sender, "_send", lambda upload: seen.append(is_instrumentation_enabled()) or send(upload)
    )
    sender(BODY)
    assert seen == [False]
    assert is_instrumentation_enabled()


def test_a_body_goes_in_pieces_and_is_counted(plain, post):
    sender = post(url(plain))
    gone = []

    class Watched(Message):
        def __iter__(self):
            for piece in super().__iter__():
                gone.append(sender.progress())
                yield piece

    assert sender(Watched([b"x" * 700_000])).status == 200
    assert gone[0] == (700_000, 0)
    assert sender.progress() == (0, 0)


def test_nothing_listening_is_known_not_to_have_been_reached(post, plain):
    port = plain.server_port
    plain.shutdown()
    plain.server_close()
    answer = post(f"http://127.0.0.1:{port}")(BODY)
    assert (answer.status, answer.reached) == (None, False)
    assert str(answer) == "no answer: could not connect, or the connection broke"


def test_a_redirect_is_not_followed(post, plain):
    with listening(answer=(307, {"Location": url(plain)}, b"")) as redirecting:
        answer = post(url(redirecting))(BODY)
    assert (answer.status, answer.may_be_stored) == (307, False)
    assert len(redirecting.seen) == 1
    assert plain.seen == []


def test_what_a_server_says_has_no_secret_and_no_command_for_a_terminal(post):
    said = b"\x1b[2Jyou sent the-key,\r\n secret-7 and me:mi-ne \xe2\x80\xae"
    with listening(answer=(400, {}, said)) as server:
        words = post(url(server), headers={"X-Token": "secret-7"})(BODY).words
    assert words == "�[2Jyou sent [secret], [secret] and me:mi-ne �"


# TLS


def hours(count):
    return dt.datetime.now(dt.timezone.utc) + dt.timedelta(hours=count)


CERTIFICATES = {
    "nobody we know": lambda authority: trustme.CA().issue_cert("127.0.0.1"),
    "another host": lambda authority: authority.issue_cert("langsmith.example.com"),
    "expired": lambda authority: authority.issue_cert("127.0.0.1", not_before=hours(-9), not_after=hours(-1)),
}
REASONS = {
    "nobody we know": r"TLS failed: unable to get local issuer certificate\. Trusted is what REQUESTS_CA_BUNDLE names",
    # OpenSSL's words, and those of urllib3 1.26.
    "another host": r"TLS failed: (IP address mismatch, .*|hostname )'127\.0\.0\.1'",
    "expired": r"TLS failed: certificate has expired",
}


@pytest.mark.parametrize("who", CERTIFICATES)
def test_a_server_that_does_not_prove_who_it_is_gets_nothing_and_the_conversation_waits(
    *, who, authority, trusted, manual, monkeypatch, caplog, spool_dir
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
    with LangSmithServer(tls=context_of(CERTIFICATES[who](authority))) as server:
        voice = manual(server)
        voice.finish(voice.conversation())
        voice.send_for(20)
        assert server.requests == []
    [folder] = spool_dir.glob("[!.]*")
    assert not folder.name.startswith("kept-")
    out = io.StringIO()
    spool.spool(out=out, clock=voice.clock)
    for told in (out.getvalue(), caplog.text):
        assert re.search(REASONS[who], told)
        assert server.api_key not in told


def test_what_a_private_authority_needs_is_told(secure, post):
    assert post(secure.url)(BODY).words == (
        "TLS failed: unable to get local issuer certificate. "
        "An authority of your own is named in REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
    )
    assert secure.requests == []


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_an_authority_of_ones_own_is_named_as_for_any_program(secure, manual, monkeypatch, trusted, variable):
    monkeypatch.setenv(variable, trusted)
    voice = manual(secure)
    voice.finish(voice.conversation())
    voice.send()
    assert len(secure.roots) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="names the files as OpenSSL looks for them")
def test_a_folder_of_authorities_can_be_named_too(secure, post, authority, monkeypatch, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert post(secure.url)(BODY).status is not None
    assert len(secure.requests) == 1


def test_the_variable_of_requests_comes_before_openssls(secure, post, monkeypatch, trusted, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", trusted)
    assert "Trusted is what REQUESTS_CA_BUNDLE names" in post(secure.url)(BODY).words
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    assert post(secure.url)(BODY).status is not None


@pytest.mark.parametrize("content", [None, b"", b"no certificate\n"])
def test_authorities_that_cannot_be_read_make_conversations_wait(
    *, secure, manual, monkeypatch, tmp_path, content, trusted, caplog
):
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    voice = manual(secure)
    conversation = voice.conversation()
    conversation.attach_recording(b"sound", "audio/ogg")
    voice.finish(conversation)
    voice.send_for(20)
    assert secure.requests == []
    assert "TLS failed" in caplog.text
    assert content is not None or "no such file as REQUESTS_CA_BUNDLE names" in caplog.text
    # It was not the recording that could not be read.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
    voice.send_for(60)
    assert secure.roots[0].attachments["conversation"].content == b"sound"


def test_openssls_variable_is_passed_over_where_nothing_is(secure, post, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing"))
    assert "An authority of your own" in post(secure.url)(BODY).words


@pytest.mark.parametrize("prefix", ["OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"])
def test_a_collectors_certificates_are_named_as_for_opentelemetry(
    *, authority, trusted, collector_post, post, monkeypatch, tmp_path, prefix
):
    mine = authority.issue_cert("me")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    context = context_of(authority.issue_cert("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    monkeypatch.setenv(prefix + "CERTIFICATE", trusted)
    with LangSmithServer(api_keys=(), tls=context) as server:
        # Which of the two notices first is theirs.
        assert collector_post(server.traces_url)(BODY).status is None
        assert server.requests == []
        monkeypatch.setenv(prefix + "CLIENT_CERTIFICATE", str(tmp_path / "certificate.pem"))
        monkeypatch.setenv(prefix + "CLIENT_KEY", str(tmp_path / "key.pem"))
        assert collector_post(server.traces_url)(BODY).status is not None
        assert len(server.requests) == 1
        mine.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
        monkeypatch.setenv(prefix + "CLIENT_CERTIFICATE", str(tmp_path / "both.pem"))
        monkeypatch.delenv(prefix + "CLIENT_KEY")
        assert collector_post(server.traces_url)(BODY).status is not None
        monkeypatch.setenv(prefix + "CLIENT_CERTIFICATE", str(tmp_path / "nothing.pem"))
        assert collector_post(server.traces_url)(BODY).words == (
            "TLS failed: there is no such file as OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, _KEY names"
        )
        assert len(server.requests) == 2
        # They are not for LangSmith.
        monkeypatch.delenv("VOICESPAN_ENDPOINT")
        assert "An authority of your own" in post(server.url)(BODY).words


# Proxies


@pytest.fixture
def tunnel():
    with listening(Tunnel) as server:
        yield server


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_is_used_as_by_any_program_and_sees_neither_key_nor_words(
    *, authority, trusted, tunnel, manual, monkeypatch, variable, caplog, spool_dir
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(variable, f"http://me:mi-ne@127.0.0.1:{tunnel.server_port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
    certificate = authority.issue_cert("langsmith.example.com")
    with LangSmithServer(tls=context_of(certificate)) as server:
        port = server.url.rpartition(":")[2]
        voice = manual(server, endpoint=f"https://langsmith.example.com:{port}")
        voice.finish(voice.conversation())
        server.fail(status=503)
        voice.send()
        written = b"".join(path.read_bytes() for path in spool_dir.rglob("*") if path.is_file())
        voice.send_for(10)
        assert len(server.roots) == 1
    assert {target for target, _ in tunnel.seen} == {f"langsmith.example.com:{port}"}
    headers = tunnel.seen[0][1]
    assert base64.b64decode(headers["Proxy-Authorization"].removeprefix("Basic ")) == b"me:mi-ne"
    assert "x-api-key" not in {name.lower() for name in headers}
    assert b"mi-ne" not in written
    assert "mi-ne" not in caplog.text


def test_behind_a_proxy_too_a_server_must_prove_who_it_is(authority, trusted, tunnel, post, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", url(tunnel))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
    with LangSmithServer(tls=context_of(authority.issue_cert("somebody.example.com"))) as server:
        answer = post(f"https://langsmith.example.com:{server.url.rpartition(':')[2]}")(BODY)
        assert server.requests == []
    assert re.match(r"TLS failed: [Hh]ostname .*'langsmith\.example\.com'", answer.words)
    assert len(tunnel.seen) == 1


@pytest.mark.parametrize("status", [407, 502, 503])
def test_a_proxy_that_refuses_makes_conversations_wait(post, monkeypatch, status):
    with listening(answer=(status, {}, b"")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:mi-ne@127.0.0.1:{proxy.server_port}")
        answer = post("https://langsmith.example.com")(BODY)
    assert answer.words == f"the proxy failed (it answered {status})"
    assert (answer.status, answer.may_be_stored, answer.action.name) == (None, False, "LATER")
    [(target, headers)] = proxy.seen
    assert target == "langsmith.example.com:443"
    assert "x-api-key" not in headers


def test_a_proxy_that_is_away_makes_conversations_wait(post, plain, monkeypatch):
    port = plain.server_port
    plain.shutdown()
    plain.server_close()
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:mi-ne@127.0.0.1:{port}")
    answer = post("https://langsmith.example.com")(BODY)
    assert (answer.words, answer.may_be_stored) == ("the proxy failed", False)


@pytest.mark.parametrize(
    "proxy", ["http://[", "gopher://proxy", "http://:0:0", "http://a b", "socks5://127.0.0.1:1"]
)
def test_a_proxy_that_is_none_is_an_answer_too(post, monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    answer = post("https://langsmith.invalid")(BODY)
    assert (answer.status, answer.may_be_stored) == (None, False)


def test_no_proxy_is_obeyed(post, monkeypatch):
    with listening(answer=(503, {}, b"")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", url(proxy))
        monkeypatch.setenv("NO_PROXY", "internal.invalid")
        assert "proxy" not in post("https://internal.invalid")(BODY).words
        assert "proxy" in post("https://external.invalid")(BODY).words
    assert [target for target, _ in proxy.seen] == ["external.invalid:443"]


def test_what_is_for_this_machine_does_not_leave_it(plain, post, monkeypatch):
    """A key in plain HTTP to localhost would otherwise cross the network to the proxy."""
    with listening() as proxy:
        monkeypatch.setenv("HTTP_PROXY", url(proxy))
        monkeypatch.setenv("ALL_PROXY", url(proxy))
        monkeypatch.setenv("NO_PROXY", "")
        for host in ("127.0.0.1", "localhost", "LOCALHOST"):
            assert post(url(plain, host))(BODY).status == 200
    assert len(plain.seen) == 3
    assert proxy.seen == []


def test_a_collector_in_plain_http_may_be_behind_a_proxy(collector_post, monkeypatch):
    echoed = b"Proxy-Authorization: Basic " + base64.b64encode(b"me:mi-ne") + b" of me:mi-ne"
    with listening(answer=(407, {}, echoed)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:mi-ne@127.0.0.1:{proxy.server_port}")
        answer = collector_post("http://collector:4318/v1/traces")(BODY)
    assert proxy.seen[0][0] == "http://collector:4318/v1/traces"
    assert (answer.status, answer.words) == (407, "Proxy-Authorization: [secret] [secret] of me:[secret]")
    assert answer.action.name == "NOWHERE"


# Plain HTTP


def accepted(address, **arguments):
    try:
        resolve(**arguments, environ={"VOICESPAN_ENDPOINT": address} if not arguments else {})
    except DeliverySettingsError as error:
        return str(error)
    return True


THIS_MACHINE = [
    "http://localhost:1",
    "http://LocalHost.:1",
    "HTTP://localhost",
    "http://app.localhost",
    "http://127.0.0.1",
    "http://127.8.8.8",
    "http://[::1]:4318/v1/traces",
    "http://[::ffff:127.0.0.1]",
]
PRIVATE = [
    "http://collector:4318/v1/traces",
    "http://otel_collector:4318/v1/traces",
    "http://Collector.:4318",
    "http://collector.observability.svc:4318",
    "http://collector.observability.svc.cluster.local:4318/v1/traces",
    "http://collector.internal",
    "http://printer.local",
    "http://10.1.2.3:4318",
    "http://172.16.0.1",
    "http://192.168.1.1",
    "http://169.254.1.1",
    "http://[fd00::1]:4318",
    "http://[fe80::1]",
    "http://[::ffff:10.0.0.1]",
]
OUTSIDE = [
    "http://collector.example.com/v1/traces",
    "http://localhost.example.com",
    "http://localhost.example.com.",
    "http://127.0.0.1.example.com",
    "http://evil-internal.com",
    "http://8.8.8.8",
    "http://172.32.0.1",
    "http://[2001:db8::1]",
    "http://[::ffff:8.8.8.8]",
    # Numbers that programs read as addresses: 127.0.0.1, 8.8.8.8, and the like.
    "http://2130706433",
    "http://134744072",
    "http://127.1",
    "http://0x7f.1",
    "http://0x8080808",
    "http://0177.0.0.1",
    "http://0",
    "http://0.0.0.0",
    # Names that are none.
    "http://local..host",
    "http://-a",
    "http://",
]
NO_URLS = [
    "http://localhost@evil.example.com",
    "http://localhost:80@evil.example.com",
    "http://localhost\\@evil.example.com",
    "http://localhost\\.evil.example.com",
    "http://localhost%2eevil.example.com",
    "http://ⓛocalhost",
    "http://loca\u200blhost",
    "http://local host",
    "http://localhost\t.evil.example.com",
    "http://[::1",
    "http://localhost:99999",
    "http://localhost:0",
    "http:localhost",
    "https:///v1/traces",
    "file:///etc/passwd",
    "https://collector/v1/traces?token=secret",
    "https://user:secret@collector/v1/traces",
    "https://:secret@collector/v1/traces",
    "ftp://us/er:secret@collector",
    "user:secret@collector",
]


@pytest.mark.parametrize("address", THIS_MACHINE)
def test_plain_http_stays_on_this_machine(address):
    assert accepted(address) is True
    assert accepted(address, api_key="k", endpoint=address) is True
    assert requests.Request("POST", address).prepare().url  # as it will be sent


@pytest.mark.parametrize("address", PRIVATE)
def test_plain_http_goes_to_a_collector_in_a_private_network_but_never_with_a_key(address):
    assert accepted(address) is True
    assert "use https://, or set VOICESPAN_ALLOW_HTTP=1" in accepted(address, api_key="k", endpoint=address)
    collector = {"VOICESPAN_ENDPOINT": address}
    for name in ("Authorization", "x-api-key", "X-Honeycomb-Team-Token", "Cookie"):
        with pytest.raises(DeliverySettingsError, match="does not send a key over plain HTTP"):
            resolve(headers={name: "secret"}, environ=collector)
    assert resolve(headers={"X-Scope-OrgID": "1"}, environ=collector)


@pytest.mark.parametrize("address", OUTSIDE)
def test_plain_http_goes_nowhere_else(address):
    assert "https://" in accepted(address) or "http(s) URL" in accepted(address)
    assert accepted(address, api_key="k", endpoint=address) is not True


def test_plain_http_can_be_allowed():
    for environ in ({"VOICESPAN_ENDPOINT": "http://8.8.8.8"}, {"LANGSMITH_ENDPOINT": "http://8.8.8.8"}):
        assert resolve(environ={**environ, "LANGSMITH_API_KEY": "k", "VOICESPAN_ALLOW_HTTP": "1"})


@pytest.mark.parametrize("address", NO_URLS)
def test_what_could_be_read_in_two_ways_is_refused_even_if_plain_http_is_allowed(address):
    for environ in ({"VOICESPAN_ENDPOINT": address}, {"LANGSMITH_ENDPOINT": address}):
        with pytest.raises(DeliverySettingsError) as caught:
            resolve(environ={**environ, "LANGSMITH_API_KEY": "k", "VOICESPAN_ALLOW_HTTP": "1"})
        assert "secret" not in str(caught.value)


# Names


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "a\r\nX-Evil: 1"},
        {"X-A": "a\0b"},
        {"X-A": "a\x1b[2J"},
        {"X-A": "\udcff"},
        {"X-A": 1},
        {"X A": "a"},
        {"X-A\n": "a"},
        {"": "a"},
        {"Authorization": "Bearer secret\n"},
    ],
)
def test_headers_that_could_not_be_sent_are_refused_at_once(headers):
    with pytest.raises(DeliverySettingsError) as caught:
        resolve(api_key="k", endpoint="https://h", headers=headers)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["se\ncret", "se\rcret", "se\0cret"])
def test_a_key_that_could_not_be_sent_is_refused_without_repeating_it(key):
    with pytest.raises(DeliverySettingsError) as caught:
        resolve(api_key=key, endpoint="https://h")
    assert "cret" not in str(caught.value)


def test_a_project_is_sent_without_the_spaces_around_it_and_in_any_script(plain, post):
    assert post(url(plain), project=" 通話 ")(BODY).status == 200
    assert plain.seen[0][1]["Langsmith-Project"].encode("latin-1").decode() == "通話"


def test_what_others_wrote_is_printed_on_one_line():
    assert printable("a\nb\r\tc") == "a b c"
    assert printable("\x1b]0;title\x07 \x9b31m \u202e\udcff") == "�]0;title� �31m ��"
    assert printable("Grüße, 通話 👋") == "Grüße, 通話 👋"
    assert len(printable("x" * 10_000_000)) == 300
