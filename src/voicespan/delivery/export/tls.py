"""What requests go through: which certificates are trusted and shown, which proxy is used, and what failed.

Certificates are always checked. Against which authorities is named as for other programs, the first that is
set: for a Collector OpenTelemetry's own variables, then those of `requests` and curl, then OpenSSL's, which
`requests` alone would overlook. Read anew with each connection that is made.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import requests
from requests import exceptions

from voicespan.delivery.destination import url_policy
from voicespan.delivery.export.answer_time import LimitedAnswers
from voicespan.delivery.export.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from voicespan.delivery.destination.destination import Destination

_OTLP = ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_")
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
#: OpenSSL passes over what is not there; so do we, since many images set them for nothing.
_OPENSSL = ("SSL_CERT_FILE", "SSL_CERT_DIR")
#: OpenSSL's codes for "nobody whom I know vouches for it" (X509_V_ERR_*).
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
_WRAPPINGS = 6


def open_session(destination: Destination, environ: Mapping[str, str] = os.environ) -> requests.Session:
    """A session for one destination."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, LimitedAnswers())
    # A ~/.netrc must not replace the key.
    session.auth = _no_netrc
    # To a proxy "localhost" is the proxy. And what may go over plain HTTP, as it stays on this machine, must.
    session.trust_env = not url_policy.is_loopback(url_policy.host_of(destination.url))
    session.cert = client_certificate(destination, environ)
    return session


def bundle(destination: Destination, environ: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """The variable that names the trusted authorities, and the file or folder; None: those of `certifi`."""
    otlp = tuple(prefix + "CERTIFICATE" for prefix in _OTLP) if destination.through_collector else ()
    for name in (*otlp, *_BUNDLES, *_OPENSSL):
        path = environ.get(name, "").strip()
        if path and (name not in _OPENSSL or os.path.exists(path)):  # noqa: PTH110  as `requests` will ask
            return name, path
    return None


def client_certificate(destination: Destination, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The files of the certificate that is shown to a Collector, and of its key."""
    for prefix in _OTLP if destination.through_collector else ():
        certificate = environ.get(prefix + "CLIENT_CERTIFICATE", "").strip()
        if certificate:
            return certificate, environ.get(prefix + "CLIENT_KEY", "").strip() or certificate
    return None


def safe_message(error: OSError, trusted: tuple[str, str] | None) -> str:
    """What failed, and what to do about it, without the exception's text.

    That quotes the URL and, behind a proxy, its password.
    """
    if isinstance(error, exceptions.ProxyError):
        # urllib3 has the proxy's answer in words alone.
        answered = re.search(r"Tunnel connection failed: (\d{3})", str(error))
        return f"the proxy failed (it answered {answered[1]})" if answered else "the proxy failed"
    if isinstance(error, exceptions.SSLError):
        return f"TLS failed{_why_tls(error, trusted)}"
    for kind, words in _FAILURES.items():
        if isinstance(error, kind):
            return words
    if isinstance(error, exceptions.RequestException):
        return type(error).__name__
    if error.errno:
        return os.strerror(error.errno)
    # `requests` itself looks whether the files are there, and has only words for it.
    authorities = "CA certificate" in str(error)
    named = (
        trusted[0] if authorities and trusted is not None else "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, _KEY"
    )
    return f"TLS failed: there is no such file as {named} names"


def proxy_secrets(session: requests.Session, url: str) -> Iterator[str]:
    """What must not appear in any text, for a proxy may answer with the request that it did not like."""
    settings = session.merge_environment_settings(url, {}, stream=None, verify=None, cert=None)
    for proxy in settings["proxies"].values():
        try:
            parts = urlsplit(proxy)
        except ValueError:
            continue
        if parts.password:
            user, password = unquote(parts.username or ""), unquote(parts.password)
            yield from (password, parts.password, base64.b64encode(f"{user}:{password}".encode()).decode())


def _why_tls(error: exceptions.SSLError, trusted: tuple[str, str] | None) -> str:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            hint = _hint(trusted) if cause.verify_code in _UNKNOWN_AUTHORITY else ""
            return f": {cause.verify_message}{hint}"
        if type(cause).__name__ == "CertificateError":  # urllib3 1.26 compares the host itself
            return f": {printable(str(cause))}"
    return ""


def _causes(error: object) -> Iterator[object]:
    """What `requests` wrapped: `SSLError(MaxRetryError(reason=SSLError(SSLCertVerificationError())))`."""
    for _ in range(_WRAPPINGS):
        yield error
        arguments = getattr(error, "args", ())
        error = getattr(error, "reason", None) or (arguments[0] if arguments else None)


def _hint(trusted: tuple[str, str] | None) -> str:
    if trusted is None:
        return ". An authority of your own is named in REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
    return f". Trusted is what {trusted[0]} names"


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


_FAILURES: dict[type[Exception], str] = {
    exceptions.ConnectTimeout: "could not connect in time",
    exceptions.ReadTimeout: "did not answer in time",
    exceptions.ConnectionError: "could not connect, or the connection broke",
}
