"""The server: what each connection gets, and where it listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from voicespan.testing._connection import Connection, Frame, Refuse
from voicespan.testing._scripted import ScriptedServer
from voicespan.testing.openai_realtime.answers import Answer, Dialogue, Transcription, Turn
from voicespan.testing.openai_realtime.conversation import RealtimeConversation
from voicespan.testing.openai_realtime.dialect import DIALECTS, DialectName
from voicespan.testing.script import Script, Step

if TYPE_CHECKING:
    from voicespan.testing._websocket import Wire

#: What one connection gets; a list of steps is a script.
Part = Script | Dialogue | Refuse | Iterable[Step]


class OpenAIRealtimeServer(ScriptedServer[Dialogue, RealtimeConversation]):
    """An OpenAI Realtime server on 127.0.0.1, for tests without a network or an account.

    It holds a conversation (`OpenAIRealtimeServer.conversational`), as the real server does:

    >>> from openai import OpenAI
    >>> from voicespan.testing.openai_realtime import Answer, OpenAIRealtimeServer
    >>> with OpenAIRealtimeServer.conversational([Answer("Good morning!")]) as server:
    ...     client = OpenAI(api_key="test", websocket_base_url=server.url)
    ...     with client.realtime.connect(model="gpt-realtime") as connection:
    ...         connection.response.create()
    ...         for event in connection:
    ...             if event.type == "response.output_audio_transcript.done":
    ...                 print(event.transcript)
    ...             if event.type == "response.done":
    ...                 break
    Good morning!

    or it plays a script, frame by frame:

    >>> from voicespan.testing.openai_realtime import Close, Expect, Send
    >>> with OpenAIRealtimeServer([
    ...     Send({"type": "session.created", "event_id": "event_1", "session": {"type": "realtime"}}),
    ...     Expect("input_audio_buffer.append", count=2),
    ...     Close(1011, "internal error"),
    ... ]) as server:
    ...     client = OpenAI(api_key="test", websocket_base_url=server.url)
    ...     with client.realtime.connect(model="gpt-realtime") as connection:
    ...         print(connection.recv().type)
    ...         connection.input_audio_buffer.append(audio="AAAA")
    ...         connection.input_audio_buffer.append(audio="AAAA")
    ...         server.connections[0].wait_closed()
    session.created
    (1011, 'internal error')

    What clients did is in `connections`. What went wrong on the server's side, an expectation that was
    not met for example, is raised at the end of the `with` block.

    Clients of all kinds can connect, whatever the path of their URL: the GA and the beta client of the
    `openai` package (which gets the beta's event names), those for Azure, and `call_id=`, which joins a
    call whose audio runs on a media track: `hear` is the caller's voice then.

    Args:
        parts: What successive connections get: a `Script` or a list of steps, a `Dialogue`, or a
            `Refuse`. The last one is for all further connections too. Without any, a conversation in
            which every turn gets the same short answer.
        dialect: `ga`, `beta` or `xai`. By default `beta` for clients that say they speak it, else `ga`.
        timeout: Seconds after which what a test or a script waits for counts as missing.

    Raises:
        TypeError: A part is none, or a step of a script is none.
        ValueError: There is no such dialect.

    A hint on the sync client: read what was sent before leaving its block. It takes up to ten seconds to
    close a connection while more than 16 frames wait to be read.
    """

    base_path = "/v1"

    def __init__(self, *parts: Part, dialect: DialectName | None = None, timeout: float = 5.0) -> None:
        super().__init__(parts, Dialogue(), timeout=timeout)
        if dialect is not None and dialect not in DIALECTS:
            raise ValueError(f"the dialects are {', '.join(DIALECTS)}")
        self._dialect = dialect

    @classmethod
    def conversational(
        cls,
        answers: Iterable[Answer] | Callable[[Turn], Answer] | None = None,
        user_transcripts: Iterable[str | Transcription] = (),
        *,
        chunk_ms: int = 200,
        rate_limits: bool = True,
        dialect: DialectName | None = None,
        timeout: float = 5.0,
    ) -> OpenAIRealtimeServer:
        """A server whose every connection holds the same conversation; see `Dialogue` and the class."""
        dialogue = Dialogue(answers, user_transcripts, chunk_ms=chunk_ms, rate_limits=rate_limits)
        return cls(dialogue, dialect=dialect, timeout=timeout)

    def hear(self, audio: bytes) -> None:
        """What the caller says on the media track of the newest conversation that is open.

        Args:
            audio: In the session's input format: PCM16 little-endian mono at 24 kHz by default.

        Raises:
            RuntimeError: No conversation is open.
        """

        def hear() -> None:
            if not self._conversations:
                raise RuntimeError("no conversation is open")
            list(self._conversations.values())[-1].hear(audio)

        self._in_loop(hear)

    def frame_name(self, frame: Frame) -> str:
        """A frame's `type`."""
        return str(frame.get("type")) if isinstance(frame, dict) else "(not a JSON object)"

    def _begin(self, dialogue: Dialogue, wire: Wire, send: Callable[[str], None]) -> RealtimeConversation:
        query = wire.connection.query
        conversation = RealtimeConversation(
            dialogue,
            send=send,
            next_id=self._next_id,
            hold=self.hold,
            dialect=DIALECTS[self._dialect or _spoken_dialect(wire.connection)],
            model=query.get("model") or query.get("deployment") or "gpt-realtime",
            transcribes_only=query.get("intent") == "transcription",
            on_media_track="call_id" in query,
        )
        conversation.open()
        return conversation


def _spoken_dialect(connection: Connection) -> DialectName:
    return "beta" if connection.headers.get("openai-beta") == "realtime=v1" else "ga"
