"""Responses of the model, from their creation to their end, and what cuts them off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.openai_realtime import mcp, values
from voicespan.openai_realtime.frames import AudioDeltaCounter
from voicespan.openai_realtime.requests import CANCEL, RESPOND, TRUNCATE
from voicespan.openai_realtime.response_state import MOST_ITEMS
from voicespan.openai_realtime.transcripts import CONNECTION_CLOSED
from voicespan.protocol import events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.openai_realtime.frames import FrameScanner
    from voicespan.openai_realtime.items import Items
    from voicespan.openai_realtime.requests import Request, Requests
    from voicespan.openai_realtime.response_state import Response, ResponseStates
    from voicespan.openai_realtime.transcripts import Transcripts
    from voicespan.protocol.events import Event

#: What a response can be asked for with instead of what the session says.
_OWN_REQUEST = frozenset({"instructions", "tools", "max_output_tokens", "max_response_output_tokens"})
#: Applications compute in samples, and round.
_ROUNDING = 1


class Responses:
    """Those of one connection."""

    def __init__(
        self,
        states: ResponseStates,
        transcripts: Transcripts,
        items: Items,
        requests: Requests,
        scanner: FrameScanner,
    ) -> None:
        self._states = states
        self._transcripts = transcripts
        self._items = items
        self._requests = requests
        self._scanner = scanner

    def created(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The model begins to answer."""
        response = values.as_object(event.get("response"))
        response_id = values.name(response.get("id")) or ""
        asked, out_of_band = self._asked_for(response)
        if not out_of_band:
            yield from self._items.taken()
            yield from self._unanswered_cuts()
        self._states.begin(response_id, out_of_band=out_of_band)
        inputs = _inputs(asked) if out_of_band else None
        own = not _OWN_REQUEST.isdisjoint(asked)
        yield events.GenerationStarted(
            at, event["type"], response_id, out_of_band, inputs, own_request=own or out_of_band
        )

    def _asked_for(self, response: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """What the application asked for with this response, if it did, and whether that is out of band.

        A plain response carries the conversation's id, one out of band an explicit null. Not every service has it.
        """
        asked = self._requests.waiting(RESPOND)
        beside = next((each for each in asked if _is_beside(each, response)), None)
        if response.get("conversation_id") is not None:
            beside = None
        elif "conversation_id" not in response and beside is not None and beside is not asked[0]:
            # Nothing says which one this is: they are answered in order.
            beside = None
        explicit = "conversation_id" in response and response["conversation_id"] is None
        out_of_band = beside is not None or (explicit and bool(response.get("metadata")))
        request = beside
        if not out_of_band:
            request = next((each for each in asked if not _is_beside(each)), None)
        if request is None:
            return {}, out_of_band
        self._requests.accept(RESPOND, lambda each: each is request)
        return values.as_object(request.event.get("response")), out_of_band

    def audio_fragment(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The first audio of an answer, or of another item of it; the rest is counted without parsing."""
        item_id = values.name(event.get("item_id")) or ""
        response_id = self._states.id_in(event, item_id)
        response = self._states.get(response_id)
        response.had_speech, response.called_at = True, None
        delta = event.get("delta")
        if item_id not in response.starts and len(response.starts) < MOST_ITEMS:
            response.starts[item_id] = response.decoded
        if isinstance(delta, str):
            response.counted += len(delta) * 3 // 4 - delta.count("=", -2)
        if response.audio is None:
            response.audio = AudioDeltaCounter()
        response.audio.arrives_under(item_id or response_id)
        self._scanner.speech = response.audio
        if response.first_audio_at is None:
            response.first_audio_at = at
            yield events.FirstAudio(
                at, event["type"], response_id, beside=self._states.is_beside(response, at)
            )

    def done(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """A response is over, whatever became of it."""
        given = values.as_object(event.get("response"))
        response_id = values.name(given.get("id")) or ""
        response = self._states.get(response_id)
        words = self._scanner.take_words(response_id) if response_id else []
        if self._scanner.speech is response.audio:
            self._scanner.speech = None
        response.end()
        items = [values.as_object(item) for item in values.elements(given.get("output"))]
        for item in items:
            yield from self._output_of(event, item, response_id, response, at)
        status = response.status = values.name(given.get("status")) or "unknown"
        if status != "completed":
            # Of one that was cut off nothing else may say what it had said.
            yield from self._transcripts.unfinished(words, event["type"], at)
        details = values.as_object(given.get("status_details"))
        reason = values.name(details.get("reason"))
        spoken = [values.name(item.get("id")) for item in items if item.get("type") == "message"]
        generated_ms = self._states.generated_ms(response)
        if status == "cancelled":
            yield from self._cancelled(
                at, response_id, spoken[-1] if spoken else next(reversed(response.texts), None), reason
            )
        failed = status == "failed" or bool(details.get("error"))
        # Where the services that speak this protocol put it differently, beside the response.
        usage = values.as_object(given.get("usage")) or values.as_object(event.get("usage"))
        yield events.GenerationEnded(
            response.ended_at(at),
            event["type"],
            response_id,
            status,
            reason,
            response.text,
            # Some services leave the output empty.
            tuple(dict.fromkeys((*_calls_in(items), *response.call_ids))),
            values.usage_of(usage),
            generated_ms,
            response.had_speech,
            error=values.wire_error(details.get("error"), "response_failed") if failed else None,
            facts={
                "conversation_id_in_session": values.name(given.get("conversation_id")),
                "response_metadata": given.get("metadata") or None,
                "output_item_count": len(items),
            },
            asks=any(item.get("type") == mcp.APPROVAL for item in items),
        )

    def _output_of(
        self, event: dict[str, Any], item: dict[str, Any], response_id: str, response: Response, at: int
    ) -> Iterator[Event]:
        """What an item of a finished response says that no frame before it did."""
        item_id = values.name(item.get("id")) or ""
        if item.get("type") == "function_call":
            yield from self._items.call({**event, "response_id": response_id}, item, at)
        elif item.get("type") in (mcp.CALL, mcp.APPROVAL):
            self._states.add_item(item_id, response_id)
            yield from self._items.mcp.item(event["type"], item, at)
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
                    if response.out_of_band:
                        continue
                    yield events.MessageText(at, event["type"], item_id, "assistant", text)

    def cut_off(self, at: int) -> Iterator[Event]:
        """The connection ended: what was still being generated will not go on."""
        yield from self._items.taken(everything=True)
        yield from self._unanswered_cuts()
        self._requests.accept_all()
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
        yield self._cut(event["type"], at, response_id, item_id)

    def truncated(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """An answer was cut to what was heard of it."""
        item_id = values.name(event.get("item_id"))
        request = self._requests.accept(TRUNCATE, lambda each: each.item_id == item_id)
        if request is None:
            yield from self._truncation(event, at, event["type"])
        else:
            yield from self._truncation({**request.event, **event}, request.at, request.kind)

    def _unanswered_cuts(self) -> Iterator[Event]:
        """What was neither done nor refused is believed: some services do not answer."""
        while (request := self._requests.accept(TRUNCATE)) is not None:
            yield from self._truncation(request.event, request.at, request.kind)

    def _truncation(self, event: dict[str, Any], at: int, cause: str) -> Iterator[Event]:
        item_id, heard_ms = values.name(event.get("item_id")), values.integer(event.get("audio_end_ms"))
        response_id = self._states.of_item(item_id)
        response = self._states.find(response_id)
        place = None if response is None else self._states.generated_ms_of(response, item_id or "")
        if response is None or place is None or heard_ms is None:
            yield self._cut(cause, at, response_id, item_id, heard_ms)
            return
        before, generated_ms = place
        if (
            response.status == "completed"
            and heard_ms >= generated_ms - _ROUNDING
            and response.ends_with(item_id or "")
        ):
            # All of it was heard: nothing was cut.
            return
        cut = self._cut(cause, at, response_id, item_id, before + heard_ms)
        cut.item_heard_ms, cut.item_generated_ms = heard_ms, generated_ms
        yield cut

    def _cancelled(
        self, at: int, response_id: str, item_id: str | None, reason: str | None
    ) -> Iterator[Event]:
        """A response ended before its end. If it had speech that the user spoke into, that is a barge-in."""
        response = self._states.get(response_id)
        asked = self._requests.accept(CANCEL) if reason == "client_cancelled" else None
        cut = next(
            (
                each
                for each in self._requests.waiting(TRUNCATE)
                if self._states.of_item(each.item_id) == response_id
            ),
            None,
        )
        by_client = reason == "client_cancelled" and self._states.user_spoke_into(response)
        if not response.had_speech or reason not in ("client_cancelled", "turn_detected"):
            return
        cut_off = self._cut("response.done", at, response_id, item_id)
        cut_off.if_heard = reason == "client_cancelled" and not by_client
        if (first := cut or asked) is not None:
            # The application did this before the server said so.
            cut_off.at, cut_off.event_type, cut_off.cause = first.at, first.kind, first.kind
        yield cut_off

    def _cut(
        self, cause: str, at: int, response_id: str | None, item_id: str | None, heard_ms: int | None = None
    ) -> events.Interrupted:
        # Of an answer that is still arriving this is what was generated until now.
        generated_ms = self._states.generated_ms(self._states.find(response_id))
        return events.Interrupted(at, cause, response_id, item_id, cause, heard_ms, generated_ms)


def _calls_in(items: list[dict[str, Any]]) -> Iterator[str]:
    return (call_id for item in items if (call_id := values.name(item.get("call_id"))) is not None)


def _inputs(asked: dict[str, Any]) -> list[tuple[events.Role, str]]:
    """What a response out of band was given: its own instructions and messages."""
    inputs: list[tuple[events.Role, str]] = []
    if instructions := values.text(asked.get("instructions")):
        inputs.append(("system", instructions))
    for item in values.elements(asked.get("input")):
        message = values.as_object(item)
        if words := values.item_text(message):
            inputs.append((values.role(values.name(message.get("role"))), words))
    return inputs


def _is_beside(request: Request, response: dict[str, Any] | None = None) -> bool:
    """Whether a response was asked for out of band; and whether it can be this one."""
    options = values.as_object(request.event.get("response"))
    return options.get("conversation") == "none" and (
        response is None or (options.get("metadata") or None) == (response.get("metadata") or None)
    )
