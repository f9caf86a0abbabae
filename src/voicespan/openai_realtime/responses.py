"""Responses of the model, from their creation to their end, and what cuts them off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.openai_realtime import values
from voicespan.openai_realtime.frames import AudioDeltaCounter
from voicespan.openai_realtime.transcripts import CONNECTION_CLOSED
from voicespan.protocol import events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.openai_realtime.frames import FrameScanner
    from voicespan.openai_realtime.items import Items
    from voicespan.openai_realtime.response_state import Response, ResponseStates
    from voicespan.openai_realtime.transcripts import Transcripts
    from voicespan.protocol.events import Event


class Responses:
    """Those of one connection."""

    def __init__(
        self, states: ResponseStates, transcripts: Transcripts, items: Items, scanner: FrameScanner
    ) -> None:
        self._states = states
        self._transcripts = transcripts
        self._items = items
        self._scanner = scanner

    def created(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The model begins to answer."""
        yield from self._items.taken()
        response = values.as_object(event.get("response"))
        response_id = values.name(response.get("id")) or ""
        self._states.begin(response_id)
        yield events.GenerationStarted(
            at,
            event["type"],
            response_id,
            # A plain response carries the conversation's id; one out of band carries an explicit null.
            out_of_band="conversation_id" in response
            and response["conversation_id"] is None
            and bool(response.get("metadata")),
        )

    def audio_fragment(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The first audio of an answer, or of another item of it; the rest is counted without parsing."""
        item_id = values.name(event.get("item_id")) or ""
        response_id = self._states.id_in(event, item_id)
        response = self._states.get(response_id)
        response.had_speech = True
        delta = event.get("delta")
        response.counted += len(delta) if isinstance(delta, str) else 0
        if response.audio is None:
            response.audio = AudioDeltaCounter()
        response.audio.arrives_under(item_id or response_id)
        self._scanner.speech = response.audio
        if not response.heard_first_audio:
            response.heard_first_audio = True
            yield events.FirstAudio(at, event["type"], response_id)

    def done(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """A response is over, whatever became of it."""
        given = values.as_object(event.get("response"))
        response_id = values.name(given.get("id")) or ""
        response = self._states.get(response_id)
        self._scanner.transcript_is_over(response_id)
        if self._scanner.speech is response.audio:
            self._scanner.speech = None
        response.end()
        items = [values.as_object(item) for item in values.elements(given.get("output"))]
        for item in items:
            yield from self._output_of(event, item, response_id, response, at)
        status = values.name(given.get("status")) or "unknown"
        details = values.as_object(given.get("status_details"))
        reason = values.name(details.get("reason"))
        spoken = [values.name(item.get("id")) for item in items if item.get("type") == "message"]
        generated_ms = self._states.generated_ms(response)
        if status == "cancelled" and reason == "turn_detected" and response.had_speech:
            yield events.Interrupted(
                at,
                event["type"],
                response_id,
                spoken[-1] if spoken else next(reversed(response.texts), None),
                "response.done",
                generated_ms=generated_ms,
            )
        failed = status == "failed" or bool(details.get("error"))
        # Where the services that speak this protocol put it differently, beside the response.
        usage = values.as_object(given.get("usage")) or values.as_object(event.get("usage"))
        yield events.GenerationEnded(
            at,
            event["type"],
            response_id,
            status,
            reason,
            response.text,
            tuple(call_id for item in items if (call_id := values.name(item.get("call_id"))) is not None),
            values.usage_of(usage),
            generated_ms,
            response.had_speech,
            error=values.wire_error(details.get("error"), "response_failed") if failed else None,
            facts={
                "conversation_id_in_session": values.name(given.get("conversation_id")),
                "response_metadata": given.get("metadata") or None,
                "output_item_count": len(items),
            },
        )

    def _output_of(
        self, event: dict[str, Any], item: dict[str, Any], response_id: str, response: Response, at: int
    ) -> Iterator[Event]:
        """What an item of a finished response says that no frame before it did."""
        item_id = values.name(item.get("id")) or ""
        if item.get("type") == "function_call":
            yield from self._items.call({**event, "response_id": response_id}, item, at)
        elif item.get("type") in ("message", None):
            for index, part in enumerate(values.elements(item.get("content"))):
                transcript = values.text(values.as_object(part).get("transcript"))
                text = values.text(values.as_object(part).get("text"))
                if transcript and not self._transcripts.is_complete(item_id, index):
                    whole = {"item_id": item_id, "content_index": index, "transcript": transcript}
                    yield from self._transcripts.completed(
                        {**whole, "type": event["type"], "response_id": response_id}, at
                    )
                    response.had_speech = True
                    response.add_text(item_id, transcript)
                elif text and item_id not in response.texts:
                    response.add_text(item_id, text)
                    yield events.MessageText(at, event["type"], item_id, "assistant", text)

    def cut_off(self, at: int) -> Iterator[Event]:
        """The connection ended: what was still being generated will not go on."""
        yield from self._transcripts.cut_off(at)
        for response_id, response in self._states.in_progress():
            response.end()
            yield events.GenerationEnded(
                at,
                CONNECTION_CLOSED,
                response_id,
                "incomplete",
                None,
                response.text,
                response.call_ids,
                None,
                self._states.generated_ms(response),
                response.had_speech,
            )

    # Barge-ins.

    def playback_cleared(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """What the server was still playing was thrown away."""
        response_id = values.name(event.get("response_id"))
        item_id = self._states.last_item(response_id)
        yield self._cut(
            event, at, response_id=response_id, item_id=item_id, cause="output_audio_buffer.cleared"
        )

    def truncated(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """An answer is cut to what was heard of it."""
        item_id = values.name(event.get("item_id"))
        response_id = self._states.of_item(item_id)
        heard_ms = values.integer(event.get("audio_end_ms"))
        yield self._cut(
            event, at, response_id=response_id, item_id=item_id, cause=event["type"], heard_ms=heard_ms
        )

    def _cut(
        self,
        event: dict[str, Any],
        at: int,
        *,
        response_id: str | None,
        item_id: str | None,
        cause: str,
        heard_ms: int | None = None,
    ) -> Event:
        return events.Interrupted(
            at,
            event["type"],
            response_id,
            item_id,
            cause,
            heard_ms,
            # Of an answer that is still arriving this is what was generated until now.
            self._states.generated_ms(self._states.find(response_id)),
        )
