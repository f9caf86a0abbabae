"""Where a conversation goes that this process does not send itself: it leaves that to `voicespan deliver`.

With VOICESPAN_DELIVERY=spool a folder names the endpoint, the workspace and the project, and no key: who delivers it has
the key for that endpoint.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voicespan.delivery.destination.destination import (
    AGENT_ENVIRONMENT_HEADER,
    AGENT_HEADER,
    PROJECT_HEADER,
    WORKSPACE_HEADER,
    Destination,
    check_url,
    checked_headers,
    resolve,
)
from voicespan.delivery.destination.variables import DeliverySettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicespan.delivery.destination.credentials import Credentials

_logger = logging.getLogger("voicespan")

VARIABLE = "VOICESPAN_DELIVERY"
_SPOOL = "spool"
#: The value that means what an unset variable does.
_PROCESS = "process"
_LANGSMITH, _AGENT, _COLLECTOR = "langsmith", "agent", "collector"
#: As `Destination.project` names an agent.
_AGENT_PLACE = re.compile(
    r"agent ([a-z](?:[a-z0-9-]{0,61}[a-z0-9])?) \((local|development|staging|production)\)"
)


def is_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process leaves delivery to another one."""
    value = environ.get(VARIABLE, "").strip().lower()
    if value not in ("", _SPOOL, _PROCESS):
        _logger.warning("%s has a value that voicespan does not know; using %s", VARIABLE, _PROCESS)
    return value == _SPOOL


@dataclass(frozen=True)
class HandedOver:
    """A destination without a key."""

    #: The full OTLP/HTTP traces URL.
    url: str
    project: str | None
    workspace: str | None
    #: Who takes the traces, and what `project` names: `langsmith`, `agent` or `collector`.
    kind: str = _LANGSMITH

    @classmethod
    def of(cls, destination: Destination) -> HandedOver:
        """The same destination."""
        kind = _AGENT if AGENT_HEADER in dict(destination.headers) else _LANGSMITH
        kind = _COLLECTOR if destination.through_collector else kind
        return cls(destination.url, destination.project, destination.workspace, kind)

    @classmethod
    def read(cls, named: Mapping[str, Any]) -> HandedOver | None:
        """The destination that a folder names; None: its process would deliver it itself."""
        url, kind = named.get("url"), named.get("kind")
        if named.get("delivery") != _SPOOL or not url or kind not in (_LANGSMITH, _AGENT, _COLLECTOR):
            return None
        return cls(url, named.get("project"), named.get("workspace"), kind)

    @classmethod
    def read_own(cls, named: Mapping[str, Any]) -> HandedOver | None:
        """The same of a folder whose process delivers it itself, as long as that lives."""
        url, project = named.get("url"), named.get("project")
        if not url or "salt" not in named:
            return None
        if named.get("key") is None:
            return cls(url, project, named.get("workspace"), _COLLECTOR)
        kind = _AGENT if _AGENT_PLACE.fullmatch(project or "") else _LANGSMITH
        return cls(url, project, named.get("workspace"), kind)

    @property
    def through_collector(self) -> bool:
        """Whether a Collector passes the spans on; it has the key."""
        return self.kind == _COLLECTOR

    @property
    def takes_runs(self) -> bool:
        """As `Destination.takes_runs`."""
        return self.kind == _LANGSMITH and self.project is not None

    @property
    def shown(self) -> str:
        """What a line of ours calls it."""
        return f"{'the Collector' if self.through_collector else 'LangSmith'} at {self.url}"

    @property
    def secrets(self) -> set[str]:
        """What must not appear in any text that we write: nothing."""
        return set()

    def named(self, salt: bytes) -> dict[str, str | None]:  # noqa: ARG002  there is no key to tell from others
        """What a folder says of its destination."""
        return {
            "url": self.url,
            "project": self.project,
            "workspace": self.workspace,
            "kind": self.kind,
            "delivery": _SPOOL,
        }

    def is_named(self, by: Mapping[str, Any], *, new_key: bool = False) -> bool:  # noqa: ARG002
        """Whether a folder's destination is this one."""
        return dict(by) == self.named(b"")

    def with_key(
        self, credentials: Credentials | None, environ: Mapping[str, str] = os.environ
    ) -> Destination:
        """What can be sent to.

        Raises:
            DeliverySettingsError: the URL must not be used, or the project is no text for a header.
        """
        check_url(self.url, environ, secret=credentials is not None)
        headers: dict[str, str] = {}
        agent = _AGENT_PLACE.fullmatch(self.project or "") if self.kind == _AGENT else None
        if agent is not None:
            headers = {AGENT_HEADER: agent[1], AGENT_ENVIRONMENT_HEADER: agent[2]}
        elif self.project:
            headers = {PROJECT_HEADER: self.project}
        if self.workspace:
            headers[WORKSPACE_HEADER] = self.workspace
        checked = checked_headers(headers)
        return Destination(
            self.url, self.project, self.workspace, checked, credentials, self.through_collector
        )


def resolve_here(
    *,
    api_key: str | None = None,
    endpoint: str | None = None,
    project: str | None = None,
    workspace: str | None = None,
    headers: Mapping[str, str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Destination | HandedOver:
    """Where conversations of this process go, by itself or by somebody else; see `resolve`.

    Raises:
        DeliverySettingsError: as there; or another process sends, and is to send headers that it does not know.
    """
    hands_over = is_wanted(environ)
    if hands_over and headers:
        raise DeliverySettingsError(
            f"with {VARIABLE}={_SPOOL} another process sends, which does not know headers="
        )
    found = resolve(
        api_key=api_key,
        endpoint=endpoint,
        project=project,
        workspace=workspace,
        headers=headers,
        environ=environ,
        keyless=hands_over,
    )
    return HandedOver.of(found) if hands_over else found
