"""What a person sees without an account: conversations are kept in a folder, and shown as they happen."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING

from voicespan.delivery.destination.folder_destination import default_folder
from voicespan.delivery.folder_processor import FolderSpanProcessor
from voicespan.delivery.processor import processors_of
from voicespan.distro import console

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_logger = logging.getLogger("voicespan")

#: Providers whose conversations are shown.
_shown: weakref.WeakSet[TracerProvider] = weakref.WeakSet()


def keep_by_default(provider: TracerProvider) -> None:
    """Keep conversations in the user's data directory, unless the provider delivers or keeps them already.

    One line in the log says so, and how to look at them.
    """
    if any(processors_of(provider)):
        return
    folder = default_folder()
    if folder is None:
        _logger.warning(
            "Conversations are not delivered, and this user has no home directory to keep them in: set "
            "LANGSMITH_API_KEY, VOICESPAN_ENDPOINT or VOICESPAN_FOLDER"
        )
        return
    provider.add_span_processor(FolderSpanProcessor(folder))
    _logger.warning(
        "There is no LangSmith key and no Collector: conversations are kept in %s; look at them with: voicespan view",
        folder,
    )


def show_on_console(provider: TracerProvider) -> None:
    """Show what happens in conversations on standard error, once, where VOICESPAN_CONSOLE says so."""
    if console.is_wanted() and provider not in _shown:
        _shown.add(provider)
        provider.add_span_processor(console.ConsoleSpanProcessor())
