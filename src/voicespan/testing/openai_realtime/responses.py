"""The responses of a conversation that are in progress: begun, driven, cancelled, finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from voicespan.testing.openai_realtime.generation import Generation, Speaker
from voicespan.testing.openai_realtime.rejected import Rejected
from voicespan.testing.openai_realtime.session import modalities

if TYPE_CHECKING:
    from voicespan.testing.openai_realtime.answers import Dialogue
    from voicespan.testing.openai_realtime.transcription import PendingTranscription

#: Has the test's `release()` call the function; returns how to take that back.
Hold = Callable[[Callable[[int | None], None]], Callable[[], None]]


class Answering(Speaker, Protocol):
    """What the responses need of their conversation."""

    transcription: PendingTranscription | None

    def end_transcription(self) -> None:
        """Let the pending transcription arrive, if there is one."""


class Responses:
    """What is being generated."""

    def __init__(self, conversation: Answering, dialogue: Dialogue, hold: Hold) -> None:
        self._conversation = conversation
        self._conversation_id = conversation.next_id("conv")
        self._dialogue = dialogue
        self._hold = hold
        self._generations: list[Generation] = []
        self._withdraw: dict[str, Callable[[], None]] = {}

    @property
    def in_progress(self) -> Generation | None:
        """The conversation's own response that is being made; out-of-band ones do not count."""
        return next((made for made in self._generations if not made.out_of_band), None)

    def find(self, response_id: str) -> Generation | None:
        """The response in progress that has this id."""
        return next((made for made in self._generations if made.id == response_id), None)

    def begin(self, request: Mapping[str, Any]) -> None:
        """Begin a response, and go on as far as its answer says.

        Raises:
            Rejected: There is one in progress already, or the session has none.
        """
        conversation, session = self._conversation, self._conversation.session
        out_of_band = request.get("conversation") == "none"
        if self.in_progress is not None and not out_of_band:
            message = f"response {self.in_progress.id} is still in progress"
            raise Rejected("conversation_already_has_active_response", message)
        if session.transcribes_only:
            raise Rejected("invalid_value", "a transcription session makes no responses", "type")
        output = modalities(request, within="response") or session.fields["output_modalities"]
        voice = session.fields["audio"]["output"]
        items = [item.fields for item in conversation.items]
        generation = Generation(
            conversation,
            self._dialogue.answer(items, session.snapshot, request),
            request=request,
            output_format=session.output_format,
            response={
                "object": "realtime.response",
                "id": conversation.next_id("resp"),
                "status": "in_progress",
                "status_details": None,
                "output": [],
                "conversation_id": None if out_of_band else self._conversation_id,
                "output_modalities": output,
                "max_output_tokens": request.get("max_output_tokens", session.fields["max_output_tokens"]),
                "audio": {"output": {"format": voice["format"], "voice": voice["voice"]}},
                "usage": None,
                "metadata": request.get("metadata"),
            },
            transcription=None if out_of_band else conversation.transcription,
        )
        self._generations.append(generation)
        generation.start()
        self._settle(generation)

    def keep_pace(self, heard_ms: float) -> None:
        """Go on with the responses that the user's audio drives."""
        for generation in [made for made in self._generations if made.waits_for_audio]:
            generation.keep_pace(heard_ms)
            self._settle(generation)

    def cancel(self, generation: Generation, reason: str) -> None:
        """End a response before its time."""
        emit = self._conversation.emit
        withdraw = self._withdraw.pop(generation.id, None)
        if withdraw is not None:
            withdraw()
        playing = generation.playing
        if playing is not None:
            emit("output_audio_buffer.cleared", response_id=generation.id)
        generation.cancel(reason)
        self._finish(generation)
        if playing is not None:
            # Where the server plays the audio itself, it also knows how much of it was heard.
            cut = {"item_id": playing.id, "content_index": 0, "audio_end_ms": playing.audio_ms}
            emit("conversation.item.truncated", **cut)

    def close(self) -> None:
        """The connection is gone: nothing is left to release."""
        for withdraw in self._withdraw.values():
            withdraw()

    def _settle(self, generation: Generation) -> None:
        """After a step: it is over, or it waits for the user's audio, or for the test."""
        if generation.finished:
            self._finish(generation)
        elif not generation.waits_for_audio:
            self._withdraw[generation.id] = self._hold(lambda chunks: self._resume(generation, chunks))

    def _resume(self, generation: Generation, chunks: int | None) -> None:
        # It may have been cancelled while the test was on its way to release it.
        if self._withdraw.pop(generation.id, None) is None:
            return
        if chunks is None:
            generation.advance()
        else:
            generation.advance(chunks)
        self._settle(generation)

    def _finish(self, generation: Generation) -> None:
        self._generations.remove(generation)
        if not generation.out_of_band:
            self._conversation.end_transcription()
        if generation.playing is not None and generation.cancelled is None:
            self._conversation.emit("output_audio_buffer.stopped", response_id=generation.id)
