"""One request to where the traces go, which leaves nothing there: an export of no spans.

It uses the URL, key, proxy and certificates of a delivery, so its answer is the one that a conversation would get.
Only the project is not named, so that none is created. A thread asks, and is left behind when time is over: nothing
in Python can interrupt a resolver that hangs.

Loading this module fails where `requests` is broken, which is for the caller to report.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests.utils
from opentelemetry.instrumentation.utils import suppress_instrumentation

from voicespan.cli.doctor.findings import BROKEN
from voicespan.cli.doctor.masked_output import public_url, without
from voicespan.delivery.export.tls import bundle, open_session, proxy_secrets, safe_message
from voicespan.runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.delivery.destination.destination import Destination

#: Seconds for the connection, for the answer, and for everything together.
CONNECT, ANSWER, ALTOGETHER = 3.0, 5.0, 8.0
_MOST_BYTES = 2048
#: A request with one resource that has no spans (opentelemetry.proto: field 1, of length 0). With no byte
#: at all some servers miss the body.
_NO_SPANS = b"\x0a\x00"
#: Headers that name a project or an agent.
_PLACE = ("langsmith-project", "langsmith-agent-id", "langsmith-agent-environment")
#: What `requests` says of a SOCKS proxy without PySocks. (The URL's own scheme has been checked before.)
_SOCKS = "InvalidSchema"
#: Failures by the names of their classes, as what defines them may itself be broken. The first that is found
#: among the causes decides: within a failure of the proxy or of TLS stands one of the connection.
_KINDS = (
    ("ProxyError", "proxy"),
    ("InvalidURL", "proxy"),
    (_SOCKS, "proxy"),
    ("SSLError", "tls"),
    ("gaierror", "name"),
    ("ConnectionRefusedError", "refused"),
    ("NewConnectionError", "unreachable"),
    ("ConnectTimeout", "unreachable"),
    ("ReadTimeout", "silent"),
    ("TimeoutError", "silent"),
    ("ConnectionResetError", "broken"),
    ("RemoteDisconnected", "broken"),
    ("BadStatusLine", "broken"),
    ("ConnectionError", "broken"),
    ("RequestException", "request"),
    ("OSError", "unreachable"),
)


@dataclass(frozen=True)
class Reply:
    """The server's answer, or why there was none."""

    #: None: no answer; then `failure` is a key of `answers.FAILURES`.
    status: int | None = None
    failure: str = ""
    #: The server's words, or those of the failure.
    words: str = ""
    content_type: str = ""
    #: The `Date` and `Location` headers.
    date: str = ""
    location: str = ""
    seconds: float = 0.0


def ask(destination: Destination, altogether: float = ALTOGETHER) -> Reply:
    """Ask, and wait `altogether` seconds at most."""
    replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
    began = time.monotonic()
    threading.Thread(
        target=lambda: replies.put(_asked(destination)), name="voicespan-doctor", daemon=True
    ).start()
    try:
        return replies.get(timeout=altogether)
    except queue.Empty:
        return Reply(failure="silent", seconds=time.monotonic() - began)


def proxy_of(destination: Destination) -> str | None:
    """The proxy that stands between, without its password; None: there is none."""
    with open_session(destination) as session:
        settings = session.merge_environment_settings(
            destination.url, {}, stream=None, verify=None, cert=None
        )
    proxy = requests.utils.select_proxy(destination.url, settings["proxies"])
    return public_url(proxy) if proxy else None


def authorities_of(destination: Destination) -> tuple[str, str] | None:
    """The variable that names the certificates that are trusted, and what it names; None: the usual ones."""
    return bundle(destination)


def port_of(url: str) -> int:
    """The port of a URL; 0 where what it has is none."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        return 0
    return port or (443 if parts.scheme == "https" else 80)


def _asked(destination: Destination) -> Reply:
    began = time.monotonic()
    try:
        return _post(destination, began)
    except BROKEN as error:
        failure, words = _described(error, destination)
        return Reply(failure=failure, words=words, seconds=time.monotonic() - began)


def _post(destination: Destination, began: float) -> Reply:
    headers: dict[str, str | bytes] = {
        name: value for name, value in destination.request_headers().items() if name.lower() not in _PLACE
    }
    headers |= {"Content-Type": "application/x-protobuf", "User-Agent": f"voicespan-doctor/{__version__}"}
    trusted = bundle(destination)
    with (
        suppress_instrumentation(),
        open_session(destination) as session,
        session.post(
            destination.url,
            data=_NO_SPANS,
            headers=headers,
            timeout=(CONNECT, ANSWER),
            allow_redirects=False,
            stream=True,
            verify=True if trusted is None else trusted[1],
        ) as response,
    ):
        content = next(response.iter_content(_MOST_BYTES), b"").decode(errors="replace")
        content_type = response.headers.get("Content-Type", "")
        # Some proxies answer with the request that they did not like.
        secrets = [*proxy_secrets(session, destination.url)]
        if destination.credentials is not None:
            secrets += destination.credentials.secrets
        return Reply(
            response.status_code,
            words="" if "protobuf" in content_type else without(secrets, " ".join(content.split())),
            content_type=content_type,
            date=response.headers.get("Date", ""),
            location=response.headers.get("Location", ""),
            seconds=time.monotonic() - began,
        )


def _described(error: Exception, destination: Destination) -> tuple[str, str]:
    """What kind of failure it was, and words for it that quote neither URL nor password."""
    causes = list(_causes(error))
    names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    failure = next((failure for name, failure in _KINDS if name in names), "request")
    if failure == "unreachable" and isinstance(error, OSError) and type(error) is OSError and not error.errno:
        # So, in bare words, `requests` speaks of certificates that are not where they are said to be.
        failure = "certificates"
    if _SOCKS in names:
        return failure, "a SOCKS proxy needs PySocks (pip install 'requests[socks]')"
    if failure in ("tls", "proxy", "certificates") and isinstance(error, OSError):
        # What failed stands before it already.
        return failure, safe_message(error, bundle(destination)).removeprefix("TLS failed").lstrip(": ")
    # The system's own words, such as "No route to host".
    words = (cause.strerror for cause in causes if isinstance(cause, OSError))
    return failure, next((each for each in words if each), "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, what it was made of, and what came before it."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [getattr(cause, "reason", None), *cause.args, cause.__cause__, cause.__context__]
