"""Which URLs are delivered to, and which of them in plain HTTP.

Conversations are what people said, so they travel over TLS. Plain HTTP is for what does not leave this
machine, and, where the application has no key, for a Collector that evidently stands in the same private
network. Hosts are judged by how they are written: what a name resolves to can change at any time. What
is not understood for certain counts as the internet.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from voicespan.content.masking import without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

_YES = frozenset({"1", "true", "yes", "on"})
#: What a URL is written with (RFC 3986, 2): nothing that two programs could read differently.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
#: The last label of a host that programs take for a number: `127.1` and `0x7f000001` are addresses, too.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
#: Names that are given inside private networks only: by Kubernetes, clouds (ICANN keeps `internal` free), mDNS.
_PRIVATE_NAMES = (".svc", ".internal", ".local", ".localhost")
_PRIVATE_NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"),
    )
)
#: What makes a header a secret.
_SECRET = re.compile(r"auth|key|token|secret|cookie|password|credential", re.IGNORECASE)


class AddressError(ValueError):
    """A URL that must not be delivered to; the message says what to do, and repeats no secret."""


def check(url: str, environ: Mapping[str, str], *, secret: bool) -> None:
    """Accept a URL to deliver to. `secret`: a key or the like goes along.

    Raises:
        AddressError: it is none, or must not be used.
    """
    parts = _parts(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or is_loopback(host) or _http_is_allowed(environ):
        return
    if secret:
        raise AddressError(
            f"voicespan does not send a key over plain HTTP to {host}: use https://, or set VOICESPAN_ALLOW_HTTP=1"
        )
    if not is_private(host):
        raise AddressError(
            f"voicespan does not send conversations over plain HTTP to {host}, which may be outside of your "
            "network: use https://, or set VOICESPAN_ALLOW_HTTP=1"
        )


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, whoever is asked."""
    address = _address(host)
    if address is not None:
        return address.is_loopback
    name = _name(host)
    return name == "localhost" or (name or "").endswith(".localhost")


def is_private(host: str) -> bool:
    """Whether `host` is evidently in a private network: its address, or a name that is nothing elsewhere."""
    address = _address(host)
    if address is not None:
        return any(address in network for network in _PRIVATE_NETWORKS if network.version == address.version)
    name = _name(host)
    # A name without a period is a service of the same Compose file, or of the same Kubernetes namespace.
    return name is not None and ("." not in name or name.endswith(_PRIVATE_NAMES))


def is_secret(header: str) -> bool:
    """Whether a header of this name is nobody else's business."""
    return bool(_SECRET.search(header))


def host_of(url: str) -> str:
    """The host of a URL, in lower case; empty if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        # An escape in a name is decoded by some; in an IPv6 address it names the interface.
        known = known and ("%" not in parts.netloc or "[" in parts.netloc)
    except ValueError:  # a bracket or a port that is none
        known = False
    if known and (parts.username is not None or parts.password is not None):
        raise AddressError("voicespan takes no user or password in a URL: it would be written to the spool")
    if known and (parts.query or parts.fragment):
        raise AddressError("voicespan takes no query in a URL: it would be written to the spool")
    if not known or not _URL.fullmatch(url):
        raise AddressError(f"voicespan needs an http(s) URL to deliver to, {_redacted(url)}")
    return parts


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _name(host: str) -> str | None:
    """A host's name, without the period that ends it; None: it is an address, or no name that we know to read."""
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]) or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return name


def _http_is_allowed(environ: Mapping[str, str]) -> bool:
    return environ.get("VOICESPAN_ALLOW_HTTP", "").strip().lower() in _YES


def _redacted(url: str) -> str:
    scheme, separator, rest = url.split("?", 1)[0].rpartition("://")
    if not separator:
        # It may be anything: a key in the wrong variable, too.
        return "which begins with https://"
    return f"not {without_secrets(scheme + separator + rest.rpartition('@')[2])!r}"
