"""Whose protocol a socket speaks, by its URL.

A provider says of its sockets what `SocketEndpoint` asks, in a module that an entry point of the group
`voicespan_sockets` names; nothing here knows a provider. A socket that matches none is left alone after
this one look.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from voicespan.content import masking
from voicespan.runtime.guard import guarded
from voicespan.tracing import semconv
from voicespan.tracing.connection import Connection

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from opentelemetry.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

    from voicespan.instrumentation.handshake import Handshake, Provider
    from voicespan.runtime.clock import Clock

_logger = logging.getLogger("voicespan")
_GROUP = "voicespan_sockets"

#: What a socket's end is to its connection: the error that reading raised, the close code and the reason.
Lost: TypeAlias = Callable[[Connection, BaseException, int, "str | None"], None]

#: Of the request, what returns its secrets, the provider of tracers, and the clock.
MakesHandshake: TypeAlias = (
    "Callable[[SocketRequest, Callable[[], Iterable[str]], TracerProvider | None, Clock], Handshake]"
)


@dataclass(frozen=True)
class SocketRequest:
    """What a client asks for as it opens a socket."""

    #: Never stored: keys can stand in it.
    url: str = field(repr=False)
    #: With lower-case names.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def _split(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        """In lower case."""
        return self._split.hostname or ""

    @property
    def path(self) -> str:
        """Without the query."""
        return self._split.path

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(parse_qsl(self._split.query))

    def server(self) -> dict[str, AttributeValue]:
        """The server's attributes."""
        attributes: dict[str, AttributeValue] = {semconv.SERVER_ADDRESS: self.host}
        if self._split.port is not None:
            attributes[semconv.SERVER_PORT] = self._split.port
        return attributes

    def secrets(self) -> list[str]:
        """What the request is signed with: an error can quote it."""
        password = self._split.password
        return [
            *masking.signing(dict(self.headers)),
            *masking.signing(self.query),
            *([password] if password else []),
        ]


@dataclass(frozen=True)
class SocketEndpoint:
    """What a provider says of its sockets."""

    #: As VOICESPAN_SOCKETS and OTEL_PYTHON_DISABLED_INSTRUMENTATIONS name it.
    name: str
    provider: Provider
    #: Whether a host (lower case) and path are the provider's own.
    matches: Callable[[str, str], bool]
    #: Provider, model and server, as far as the request says.
    attributes: Callable[[SocketRequest], Mapping[str, AttributeValue]]
    #: Whether such a path on a host that nobody knows may be this protocol, ...
    may_match: Callable[[str], bool] = lambda _: False
    #: ... and whether it is, by the server's first frame.
    is_first_frame: Callable[[bytes], bool] = lambda _: False
    #: SHA-256 of the handle that a client's first frame resumes a session by; None: the protocol has no such.
    resumes: Callable[[bytes], str | None] | None = None
    #: Makes the handshake of a request, where a URL says more than whose it is; None: that of every provider.
    handshake: MakesHandshake | None = None
    #: What the end of a socket is to its connection.
    lost: Lost = Connection.lost
    #: The client libraries (packages) that open such sockets for themselves and are patched by the provider.
    clients: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """An endpoint that a request matches."""

    endpoint: SocketEndpoint
    #: Only if its first frame says so, too.
    needs_first_frame: bool = False


_endpoints: dict[str, SocketEndpoint] = {}
_loaded = False


def register(endpoint: SocketEndpoint) -> None:
    """Have this provider's sockets traced; its name distinguishes it from others."""
    _endpoints[endpoint.name] = endpoint


@guarded
def load_endpoints() -> None:
    """Register what the entry points of this distribution name, once: when a socket library is imported."""
    global _loaded  # noqa: PLW0603  once per process
    if not _loaded:
        _loaded = True
        # Of this distribution only: to read those of all takes tens of milliseconds.
        for point in metadata.distribution("voicespan").entry_points:
            if point.group == _GROUP:
                register(point.load())


def match(request: SocketRequest) -> Match | None:
    """Whose protocol the socket speaks; None: nobody's that is known."""
    setting = os.environ.get("VOICESPAN_SOCKETS", "")
    if setting.strip().lower() == "off":
        return None
    host, path = request.host, request.path
    for endpoint in _named(setting, host, path):
        return Match(endpoint)
    for endpoint in _enabled():
        if endpoint.matches(host, path):
            return Match(endpoint)
    for endpoint in _enabled():
        if endpoint.may_match(path):
            return Match(endpoint, needs_first_frame=True)
    return None


@guarded
def may_match(request: SocketRequest) -> bool:
    """Whether it is a provider's socket, or may be one."""
    return match(request) is not None


def _enabled() -> list[SocketEndpoint]:
    disabled = {
        name.strip() for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")
    }
    return [each for each in _endpoints.values() if each.name not in disabled]


def _named(setting: str, host: str, path: str) -> Iterable[SocketEndpoint]:
    for prefix_host, prefix_path, name in _parsed(setting):
        if host == prefix_host and (path == prefix_path or path.startswith(prefix_path.rstrip("/") + "/")):
            yield from (each for each in _enabled() if each.name == name)


_read: dict[str, list[tuple[str, str, str]]] = {}


def _parsed(setting: str) -> list[tuple[str, str, str]]:
    """Host, path and provider of each part of VOICESPAN_SOCKETS."""
    if setting not in _read:
        _read.clear()
        parts = [(part, _part(part)) for part in _parts(setting)]
        if not all(found for _, found in parts):
            known = ", ".join(providers())
            _logger.warning("VOICESPAN_SOCKETS has a part that is no host/path=provider (of %s)", known)
        _read[setting] = [found for _, found in parts if found is not None]
    return _read[setting]


def providers() -> list[str]:
    """What VOICESPAN_SOCKETS can name."""
    load_endpoints()
    return sorted(_endpoints)


def not_understood(setting: str) -> list[str]:
    """The parts of such a setting that are no host, path and provider."""
    load_endpoints()
    return [part for part in _parts(setting) if _part(part) is None]


def _parts(setting: str) -> list[str]:
    if setting.strip().lower() == "off":
        return []
    return [part for part in map(str.strip, setting.split(",")) if part]


def _part(part: str) -> tuple[str, str, str] | None:
    place, _, name = part.rpartition("=")
    # With a port or without, whatever the scheme: a part says host and path.
    url = urlsplit(place if "://" in place else f"//{place}")
    if name.strip() not in _endpoints or not url.hostname:
        return None
    return url.hostname, url.path or "/", name.strip()


def request_of(url: Any, *headers: Any) -> SocketRequest:
    """The request with this URL, and with headers in whichever shape a library takes them."""
    pairs: dict[str, str] = {}
    for each in headers:
        for name, value in _pairs(each):
            if isinstance(name, str) and isinstance(value, str):
                pairs[name.lower()] = value
    return SocketRequest(str(url), pairs)


def _pairs(headers: Any) -> Iterable[tuple[Any, Any]]:
    """Name and value of each header: of a mapping, of pairs, or of lines such as `Name: value`."""
    if headers is None:
        return []
    items = getattr(headers, "raw_items", None) or getattr(headers, "items", None)
    if items is not None:
        return list(items())
    if isinstance(headers, str):
        headers = [headers]
    if not isinstance(headers, (list, tuple)):
        # An iterator would be used up.
        return []
    found = []
    for each in headers:
        if isinstance(each, str):
            name, _, value = each.partition(":")
            found.append((name.strip(), value.strip()))
        elif isinstance(each, tuple) and len(each) == 2:  # noqa: PLR2004  name and value
            found.append(each)
    return found
