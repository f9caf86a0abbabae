"""Where a conversation that was delivered is seen in LangSmith: a line in the log for each, if somebody reads such lines."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from voicespan.delivery.destination.destination import TRACES_PATH
from voicespan.delivery.encoding import langsmith_spans, runs
from voicespan.delivery.export.safe_text import printable
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.export.http_client import Project
    from voicespan.delivery.spool.folder import Folder

_logger = logging.getLogger("voicespan")

#: The API of LangSmith's cloud; its regions put their name before this.
_CLOUD_API, _CLOUD = "api.smith.langchain.com", "smith.langchain.com"
#: Where an installation of one's own has its API, below its pages.
_API_PATHS = ("/api/v1", "/api")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: A key may be allowed to write only: then nobody asks for ever.
_MOST_TRIES = 3


class RunLinks:
    """The lines of one destination."""

    def __init__(self, destination: Destination, project: Callable[[], Project | None]) -> None:
        """`project` asks LangSmith for the ids of the project and its workspace."""
        self._destination = destination
        self._ask = project
        self._project: Project | None = None
        self._tries = 0
        self._pages = None if destination.through_collector else pages_of(destination.url)

    def say(self, folder: Folder, root: bytes) -> None:
        """Say that a conversation is delivered, and where it is seen, if that is known. `root`: encoded."""
        if not _logger.isEnabledFor(logging.INFO):
            return
        [(_, span)] = langsmith_spans.split(root)
        thread = langsmith_spans.get_attribute(span, semconv.THREAD_ID) or folder.meta.trace_id
        url = self._url(runs.run_id(span.span_id.hex()))
        where = self._destination.shown if url is None else url
        _logger.info("voicespan: conversation %s is delivered: %s", printable(str(thread)), where)

    def _url(self, run_id: str) -> str | None:
        if self._pages is None or self._destination.project is None:
            return None
        if self._project is None and self._tries < _MOST_TRIES:
            self._tries += 1
            self._project = self._ask()
        project = self._project
        workspace = None if project is None else project.workspace or self._destination.workspace
        if project is None or workspace is None:
            return None
        # They come from a server, and go into a log.
        if not (_UUID.fullmatch(project.id) and _UUID.fullmatch(workspace)):
            return None
        return f"{self._pages}/o/{workspace}/projects/p/{project.id}/r/{run_id}"


def pages_of(url: str) -> str | None:
    """Where LangSmith's pages are, by the URL that traces are sent to; None: nobody can know."""
    api = urlsplit(url.removesuffix(TRACES_PATH))
    if api.hostname == _CLOUD_API or (api.hostname or "").endswith(f".{_CLOUD_API}"):
        return f"https://{(api.hostname or '').removesuffix(_CLOUD_API)}{_CLOUD}"
    for path in _API_PATHS:
        if api.path.endswith(path):
            return f"{api.scheme}://{api.netloc.rpartition('@')[2]}{api.path.removesuffix(path)}"
    return None
