"""TLS, proxies, and what must not get into a request."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading

import pytest
import trustme
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from voicespan.clock import SYSTEM
from voicespan.langsmith.post import Post
from voicespan.langsmith.protobuf import Message
from voicespan.langsmith.settings import resolve


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers 200 and remembers what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers)))
        self.server.enabled.append(is_instrumentation_enabled())
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_CONNECT(self):
        self.server.seen.append((self.path, dict(self.headers)))
        self.send_error(503)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def server(context=None):
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    listening.seen, listening.enabled = [], []
    if context is not None:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield listening
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def secure(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with server(context) as listening:
        yield listening


@pytest.fixture
def plain():
    with server() as listening:
        yield listening


@pytest.fixture
def post(monkeypatch):
    posts = []
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def to(url):
        posts.append(Post(resolve(api_key="the-key", endpoint=url, project="p"), SYSTEM))
        return posts[-1]

    yield to
    for each in posts:
        each.close()


def url(listening, scheme):
    return f"{scheme}://127.0.0.1:{listening.server_port}"


def test_a_certificate_that_nobody_vouches_for_gets_no_key(secure, post):
    answer = post(url(secure, "https"))(Message([b"body"]))
    assert (answer.status, answer.words, answer.may_be_stored) == (None, "TLS failed", False)
    assert secure.seen == []


def test_an_authority_of_ones_own_is_named_as_for_any_program(secure, post, authority, monkeypatch, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    assert post(url(secure, "https"))(Message([b"body"])).status == 200


def test_what_a_request_carries(plain, post):
    assert post(url(plain, "http"))(Message([b"body"])).status == 200
    [(path, headers)] = plain.seen
    assert path == "/otel/v1/traces"
    assert headers["x-api-key"] == "the-key"
    assert headers["Langsmith-Project"] == "p"
    assert headers["Content-Type"] == "application/x-protobuf"
    assert headers["Content-Length"] == "4"
    assert "Transfer-Encoding" not in headers


def test_a_netrc_does_not_replace_the_key(plain, post, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    post(url(plain, "http"))(Message([b"body"]))
    assert "Authorization" not in plain.seen[0][1]


def test_a_proxy_is_used_as_by_any_program_and_its_password_stays_with_it(plain, post, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:mine@127.0.0.1:{plain.server_port}")
    answer = post("https://langsmith.example.com")(Message([b"body"]))
    assert answer.words == "the proxy failed"
    [(target, headers)] = plain.seen
    assert target == "langsmith.example.com:443"
    assert "x-api-key" not in headers


def test_our_own_requests_are_not_traced(plain, post, monkeypatch):
    seen = []
    sender = post(url(plain, "http"))
    send = sender._send
    monkeypatch.setattr(
        sender, "_send", lambda upload: seen.append(is_instrumentation_enabled()) or send(upload)
    )
    sender(Message([b"body"]))
    assert seen == [False]
    assert is_instrumentation_enabled()


def test_a_body_goes_in_pieces_and_is_counted(plain, post):
    sender = post(url(plain, "http"))
    gone = []

    class Watched(Message):
        def __iter__(self):
            for piece in super().__iter__():
                gone.append((sender.size, sender.sent))
                yield piece

    assert sender(Watched([b"x" * 700_000])).status == 200
    assert gone[0] == (700_000, 0)
    assert (sender.size, sender.sent) == (0, 0)


def test_nothing_listening_is_known_not_to_have_been_reached(post, plain):
    port = plain.server_port
    plain.shutdown()
    plain.server_close()
    answer = post(f"http://127.0.0.1:{port}")(Message([b"body"]))
    assert (answer.status, answer.reached) == (None, False)
    assert str(answer) == "no answer: could not connect, or the connection broke"
