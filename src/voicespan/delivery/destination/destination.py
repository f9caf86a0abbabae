"""Where conversations are delivered, resolved as the `langsmith` package resolves it.

`LANGSMITH_*` before `LANGCHAIN_*`, both before the profile that LangSmith's command line tool wrote, and
arguments before all of them. Read from the environment once, when the processor is made.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicespan.delivery.destination import url_policy
from voicespan.delivery.destination.credentials import ApiKey, clean
from voicespan.delivery.destination.profile import Profile
from voicespan.delivery.destination.variables import DeliverySettingsError, NoDestinationError, variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicespan.delivery.destination.credentials import Credentials

DEFAULT_API = "https://api.smith.langchain.com"
TRACES_PATH = "/otel/v1/traces"
_PROJECTS_PATH = "/sessions"
_RUNS_PATH = "/runs/multipart"
COLLECTOR_VARIABLE = "VOICESPAN_ENDPOINT"
PROJECT_HEADER = "Langsmith-Project"
WORKSPACE_HEADER = "X-Tenant-Id"
AGENT_HEADER = "Langsmith-Agent-Id"
AGENT_ENVIRONMENT_HEADER = "Langsmith-Agent-Environment"
_AGENT_ID = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_AGENT_ENVIRONMENTS = ("local", "development", "staging", "production")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token of RFC 9110, 5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True)
class Destination:
    """Where the spans of a conversation go: a LangSmith project in a workspace, or a Collector."""

    #: The full OTLP/HTTP traces URL.
    url: str
    #: The project's name, or `agent ID (ENVIRONMENT)`; None: the Collector decides.
    project: str | None
    workspace: str | None
    #: Sent with every request, beside what the credentials add.
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    credentials: Credentials | None = field(repr=False)
    #: A Collector passes the spans on; it has the key.
    through_collector: bool = False

    def request_headers(self) -> dict[str, bytes]:
        """The headers of a request now: credentials can be refreshed.

        As bytes, because a project may have a name that latin-1 cannot write.
        """
        headers = dict(self.headers)
        if self.credentials is not None:
            headers.update(self.credentials.headers())
        return {name: value.encode() for name, value in headers.items()}

    @property
    def takes_runs(self) -> bool:
        """Whether runs can be created there one by one: LangSmith's own API, and a project that has a name."""
        agent = any(name.lower() == "langsmith-agent-id" for name, _ in self.headers)
        return not self.through_collector and self.project is not None and not agent

    @property
    def runs_url(self) -> str:
        """Where LangSmith's REST API takes them."""
        return self.url.removesuffix(TRACES_PATH) + _RUNS_PATH

    @property
    def projects_url(self) -> str:
        """Where LangSmith's REST API tells of projects."""
        return self.url.removesuffix(TRACES_PATH) + _PROJECTS_PATH

    @property
    def shown(self) -> str:
        """What a line of ours calls it: what it is, and its URL (which has no secrets: `url_policy` refuses those)."""
        return f"{'the Collector' if self.through_collector else 'LangSmith'} at {self.url}"

    @property
    def secrets(self) -> set[str]:
        """What must not appear in any text that we write."""
        secrets = {value for name, value in self.headers if url_policy.is_secret(name)}
        if self.credentials is not None:
            secrets.update(self.credentials.secrets)
        return secrets

    def named(self, salt: bytes) -> dict[str, str | None]:
        """What a folder says of its destination. Not the key itself, only whether it is the same."""
        fingerprint = None
        if self.credentials is not None:
            identity = self.credentials.identity.encode()
            fingerprint = hashlib.blake2b(identity, salt=salt, digest_size=16).hexdigest()
        return {
            "url": self.url,
            "project": self.project,
            "workspace": self.workspace,
            "salt": salt.hex(),
            "key": fingerprint,
        }

    def is_named(self, by: Mapping[str, Any], *, new_key: bool = False) -> bool:
        """Whether a folder's destination is this one; with `new_key`, up to the key."""
        try:
            own = self.named(bytes.fromhex(by["salt"]))
        except (KeyError, TypeError, ValueError):
            return False
        return all(own[name] == by.get(name) for name in own if not (name == "key" and new_key))


def resolve(
    *,
    api_key: str | None = None,
    endpoint: str | None = None,
    project: str | None = None,
    workspace: str | None = None,
    headers: Mapping[str, str] | None = None,
    environ: Mapping[str, str] = os.environ,
    keyless: bool = False,
) -> Destination:
    """The destination that arguments and environment name; `keyless`: somebody else sends, who has the key.

    Raises:
        DeliverySettingsError: there is no key and no Collector, or the URL must not be used.
    """
    collector = environ.get(COLLECTOR_VARIABLE, "").strip()
    if collector and endpoint is None:
        return _collector(collector, project, workspace, headers, environ)
    profile = Profile.load(environ)
    named = endpoint if endpoint is not None else variable(environ, "ENDPOINT") or profile.api_url
    url = traces_url(named)
    credentials = None if keyless else credentials_of(api_key, headers, profile, environ)
    # As LangSmith's client, which asks for a key only where LangChain is the host.
    if credentials is None and not keyless and (not named or _is_hosted(url)):
        raise NoDestinationError(
            "voicespan has no LangSmith key and no Collector to deliver to: set LANGSMITH_API_KEY, pass "
            f"api_key=, or set {COLLECTOR_VARIABLE} to the traces URL of an OpenTelemetry Collector"
            f"{profile.why_no_key}. LANGSMITH_TRACING=false switches delivery off."
        )
    check_url(url, environ, secret=True)
    place, place_headers = _place(project, environ)
    tenant = clean(
        workspace if workspace is not None else variable(environ, "WORKSPACE_ID") or profile.workspace_id
    )
    if tenant is not None:
        place_headers[WORKSPACE_HEADER] = tenant
    if isinstance(credentials, ApiKey):
        checked_headers(credentials.headers())
    return Destination(url, place, tenant, checked_headers({**place_headers, **(headers or {})}), credentials)


def traces_url(api: str | None) -> str:
    """The traces URL of a LangSmith API: a region's, a self-hosted one's (`https://HOST/api/v1`)."""
    base = (api or DEFAULT_API).strip().strip("\"'").rstrip("/")
    # People paste what an OpenTelemetry exporter wants. Doubled, the path is a silent 404.
    for known in (TRACES_PATH, "/otel"):
        base = base.removesuffix(known)
    return base + TRACES_PATH


def _collector(
    url: str,
    project: str | None,
    workspace: str | None,
    headers: Mapping[str, str] | None,
    environ: Mapping[str, str],
) -> Destination:
    # The Collector has the key. Ours, which may stand in the environment for other uses, is not for it.
    check_url(url, environ, secret=any(map(url_policy.is_secret, headers or ())))
    tenant = {WORKSPACE_HEADER: workspace} if workspace else {}
    place, place_headers = (project, {PROJECT_HEADER: project}) if project else (None, {})
    return Destination(
        url, place, workspace, checked_headers({**place_headers, **tenant, **(headers or {})}), None, True
    )


def check_url(url: str, environ: Mapping[str, str], *, secret: bool) -> None:
    """Accept a URL to deliver to. `secret`: a key goes along.

    Raises:
        DeliverySettingsError: it must not be used.
    """
    try:
        url_policy.check(url, environ, secret=secret)
    except url_policy.AddressError as error:
        raise DeliverySettingsError(str(error)) from None


def _is_hosted(url: str) -> bool:
    host = url_policy.host_of(url)
    return host == "langchain.com" or host.endswith(".langchain.com")


def credentials_of(
    api_key: str | None, headers: Mapping[str, str] | None, profile: Profile, environ: Mapping[str, str]
) -> Credentials | None:
    """What arguments, environment and profile sign requests with; None: nothing."""
    signed = {name.lower(): (name, value) for name, value in (headers or {}).items()}
    for header in ("x-api-key", "authorization"):
        if api_key is None and header in signed:
            name, value = signed[header]
            return ApiKey(value, name)
    # As in LangSmith's client: a key that was passed or set decides, even if it is empty.
    named = api_key if api_key is not None else variable(environ, "API_KEY")
    if named is None and profile.login is not None:
        return profile.login
    key = clean(named if named is not None else profile.api_key(environ))
    return None if key is None else ApiKey(key)


def _place(project: str | None, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The project, or the agent's environment, and the headers that name it."""
    named = (
        environ.get("HOSTED_LANGSERVE_PROJECT_NAME")
        or variable(environ, "PROJECT")
        or variable(environ, "SESSION")
    )
    agent = None if project else _agent(environ)
    if agent is not None and named:
        raise DeliverySettingsError(
            "LANGSMITH_AGENT_ID and LANGSMITH_PROJECT are both set; LangSmith takes one or the other"
        )
    if agent is not None:
        name, environment = agent
        return f"agent {name} ({environment})", {AGENT_HEADER: name, AGENT_ENVIRONMENT_HEADER: environment}
    chosen = project or named or "default"
    return chosen, {PROJECT_HEADER: chosen}


def _agent(environ: Mapping[str, str]) -> tuple[str, str] | None:
    name = environ.get("LANGSMITH_AGENT_ID", "").strip()
    environment = environ.get("LANGSMITH_AGENT_ENVIRONMENT", "").strip().lower()
    if not name and not environment:
        return None
    if not _AGENT_ID.fullmatch(name) or environment not in _AGENT_ENVIRONMENTS:
        raise DeliverySettingsError(
            "LANGSMITH_AGENT_ID and LANGSMITH_AGENT_ENVIRONMENT go together: an id of lowercase letters, digits "
            f"and hyphens, and one of {', '.join(_AGENT_ENVIRONMENTS)}"
        )
    return name, environment


def checked_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Raise DeliverySettingsError for what would begin a header of its own, or cannot be sent at all."""
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            raise DeliverySettingsError("a header has a name that is none")
        if not isinstance(value, str) or _CONTROL.search(value) or not _can_be_encoded(value):
            raise DeliverySettingsError(f"the value of the header {name} has a line break, or is no text")
    return tuple((name, value.strip()) for name, value in headers.items())


def _can_be_encoded(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes of the environment that were no UTF-8
        return False
    return True
