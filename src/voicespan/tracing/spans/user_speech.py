"""When the user spoke, as the service or the application says: a span from the start to the end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from voicespan.runtime.bounded import put
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from voicespan.protocol.events import SpeechStarted, SpeechStopped
    from voicespan.tracing.spans.span_writer import SpanWriter

#: Nobody speaks more than one thing at a time; with several connections there are a few.
_MOST_OPEN = 8


class UserSpeech:
    """Of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    __slots__ = ("_began", "_writer")

    def __init__(self, writer: SpanWriter) -> None:
        self._writer = writer
        #: When it began, in monotonic nanoseconds, by the message that it becomes.
        self._began: dict[str, int] = {}

    def started(self, event: SpeechStarted) -> None:
        """The user begins to speak."""
        put(self._began, event.item_id or "", event.at, _MOST_OPEN)

    def stopped(self, event: SpeechStopped) -> None:
        """The user is silent. Where nobody said when the speech began there is no span."""
        began = self._began.pop(event.item_id or "", None)
        if began is None:
            return
        provider = self._writer.provider.get(semconv.PROVIDER)
        ended = event.at if event.silent_at is None else event.silent_at
        self._writer.write(
            semconv.USER_SPEECH,
            replace(event, at=max(ended, began)),
            started_at=began,
            facts={"item_id": event.item_id},
            attributes={
                semconv.OPERATION: semconv.USER_SPEECH,
                **({} if provider is None else {semconv.PROVIDER: provider}),
            },
            raw=False,
        )
