"""What each answer to the doctor's request means for a person, and what to do about it: tables."""

from __future__ import annotations

from typing import Final

#: What keeps a request from being answered. `{host}`, `{port}` and `{proxy}` stand in it.
FAILURES: Final = {
    "name": (
        "the name {host} cannot be resolved",
        "check the spelling of the endpoint, and the DNS of this machine or container",
    ),
    "refused": (
        "{host} refuses connections on port {port}",
        "nobody listens there: check host and port. In a container, localhost is the container itself",
    ),
    "unreachable": (
        "{host} cannot be reached on port {port}",
        "check network and firewall; if a proxy is needed, set HTTPS_PROXY",
    ),
    "silent": (
        "{host} does not answer in time",
        "try again; if it stays so, look for a firewall or a proxy in between",
    ),
    "broken": (
        "{host} breaks off on port {port}",
        "something else than OTLP over HTTP may listen there: 4317 is gRPC's port, 4318 is HTTP's",
    ),
    "tls": (
        "no TLS connection to {host}",
        "an authority of your own is named in REQUESTS_CA_BUNDLE; where no TLS is spoken the URL begins with http://",
    ),
    "proxy": ("not through the proxy {proxy}", "check HTTPS_PROXY, or go past it: NO_PROXY={host}"),
    "certificates": (
        "no TLS connection to {host}",
        "correct the variable that names the certificates, or unset it",
    ),
    "request": (
        "no request to {host} can be made",
        "look for blanks and line breaks in the key and in the URL",
    ),
}

_LANGSMITHS_PATH = (
    "check LANGSMITH_ENDPOINT: https://api.smith.langchain.com, another region's, or a self-hosted "
    "https://HOST/api/v1; /otel/v1/traces is appended"
)
#: LangSmith answers a key of another region with either of the first two.
LANGSMITH: Final = {
    401: "the key is not known there: mistyped, revoked, or another region's (the EU's is LANGSMITH_ENDPOINT="
    "https://eu.api.smith.langchain.com). What waits for the key before it: voicespan recover --new-key",
    403: "the key may not write there: a wrong one, another region's, or an organisation's, which needs "
    "LANGSMITH_WORKSPACE_ID",
    404: _LANGSMITHS_PATH,
    405: _LANGSMITHS_PATH,
    407: "the proxy wants a login: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT",
}

_COLLECTORS_PATH = (
    "check VOICESPAN_ENDPOINT: an OTLP receiver over HTTP has the path /v1/traces, and port 4318"
)
COLLECTOR: Final = {
    401: "the Collector wants a login: take the authenticator off its receiver, or pass "
    "LangSmithSpanProcessor(headers=...) in the code, which is not seen from here",
    403: "the Collector does not let this client in: its log says why",
    404: _COLLECTORS_PATH,
    405: _COLLECTORS_PATH,
    407: "the proxy wants a login; a Collector nearby is better excepted in NO_PROXY",
}

#: Something about the request, which is unlike a conversation's, but not about who sends it.
ABOUT_THE_REQUEST: Final = frozenset({400, 411, 413, 415, 422})
#: It will pass; and so does every 5xx.
LATER: Final = frozenset({408, 425, 429})
