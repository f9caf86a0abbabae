"""The server: which session each connection gets, and where it listens."""

from __future__ import annotations

import io
import re
import wave
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from websockets.datastructures import Headers
from websockets.http11 import Response

from voicespan.recording.codec.g711 import decode
from voicespan.testing._connection import Frame, Refuse
from voicespan.testing._scripted import Dropped, ScriptedServer
from voicespan.testing.openai_live.answers import LiveDialogue, Reply, Words
from voicespan.testing.openai_live.session import LiveSession, Sideband
from voicespan.testing.script import Script, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.http11 import Request

    from voicespan.testing._websocket import Wire

#: What one connection gets; a list of steps is a script.
Part = Script | LiveDialogue | Refuse | Iterable[Step]

#: Of the formats, by how many bytes a millisecond has.
_RATES = {48: 24_000, 32: 16_000, 8: 8_000}
_PATH = re.compile(r"/live/sessions(?:/([^/?]+)/(attach|fork|content))?(?:\?.*)?$")


class OpenAILiveServer(ScriptedServer[LiveDialogue, "LiveSession | Sideband"]):
    """An OpenAI Live server on 127.0.0.1, for tests without a network or an account.

    It holds a conversation (`OpenAILiveServer.conversational`), as the real server does:

    >>> import base64
    >>> from openai import OpenAI
    >>> from voicespan.testing.openai_live import OpenAILiveServer, Reply
    >>> second = base64.b64encode(bytes(48_000)).decode()
    >>> with OpenAILiveServer.conversational([Reply("Hi!")]) as server:
    ...     client = OpenAI(api_key="test", websocket_base_url=server.url)
    ...     with client.live.connect() as connection:
    ...         connection.session.start(session={"model": "gpt-live-1"})
    ...         connection.session.input_audio.append(audio=second)
    ...         connection.session.close()
    ...         for event in connection:
    ...             if event.type == "session.closed":
    ...                 print(event.reason, event.usage.seconds)
    ...                 break
    close_requested 1.0

    or it plays a script, frame by frame:

    >>> from voicespan.testing.openai_live import Drop, Expect, Send
    >>> with OpenAILiveServer([
    ...     Expect("session.start"),
    ...     Send({"type": "session.started", "event_id": "event_1", "session": {"id": "live_1"}}),
    ...     Drop(),
    ... ]) as server:
    ...     client = OpenAI(api_key="test", websocket_base_url=server.url)
    ...     with client.live.connect() as connection:
    ...         connection.session.start(session={"model": "gpt-live-1"})
    ...         print(connection.recv().type)
    session.started

    What clients did is in `connections`. What went wrong on the server's side is raised at the end of the `with` block.

    All three ways of the client are served: `live.connect`, `live.sideband.connect` to a session that is open
    here, `live.forks.connect` to one that was stored (`store: true`), and `live.sessions.download_recording` of
    one that was.

    Args:
        parts: What successive connections get: a `Script` or a list of steps, a `LiveDialogue`, or a `Refuse`. The
            last one is for all further connections too. A sideband takes part in the dialogue of its session.
        drop_after: Seconds from `session.closed` to the end of the connection, which has no close frame; the
            real service lets about two pass.
        timeout: Seconds after which what a test or a script waits for counts as missing.

    Raises:
        TypeError: A part is none, or a step of a script is none.
    """

    base_path = "/v1"

    def __init__(self, *parts: Part, drop_after: float = 0.0, timeout: float = 5.0) -> None:
        super().__init__(parts, LiveDialogue(), timeout=timeout)
        self._drop_after = drop_after
        #: By their id, those that are over too.
        self.sessions: dict[str, LiveSession] = {}

    @classmethod
    def conversational(
        cls,
        replies: Iterable[Reply] = (Reply("Hello! How can I help you?"),),
        user_transcripts: Iterable[str | Words] = (),
        *,
        usage_every_ms: int = 15_000,
        drop_after: float = 0.0,
        timeout: float = 5.0,
    ) -> OpenAILiveServer:
        """A server whose every connection holds the same conversation; see `LiveDialogue` and the class."""
        dialogue = LiveDialogue(replies, user_transcripts, usage_every_ms=usage_every_ms)
        return cls(dialogue, drop_after=drop_after, timeout=timeout)

    def end_sessions(self, reason: str = "expired") -> None:
        """End all open sessions, for `expired`, `content`, `remote_hangup` or `connection_lost`."""

        def end() -> None:
            for session in self.sessions.values():
                if session.fields and not session.closed:
                    session.end(reason)

        self._in_loop(end)

    def frame_name(self, frame: Frame) -> str:
        """A frame's `type`."""
        return str(frame.get("type")) if isinstance(frame, dict) else "(not a JSON object)"

    def respond(self, request: Request) -> Response | None:
        """Answer what is no socket, or a socket to a session that is not there."""
        found = _PATH.search(request.path)
        if found is None:
            return Refuse(404, "no such path").response()
        session_id, way = found.groups()
        if not isinstance(self._part(len(self.connections)), LiveDialogue) or session_id is None:
            return None
        session = self.sessions.get(session_id)
        stored = session is not None and session.fields.get("store") is True
        if session is None or not session.fields or (way in ("fork", "content") and not stored):
            return Refuse(404, f"no such session: {session_id}").response()
        if way == "content":
            body = _wav(session)
            headers = {"content-type": "audio/wav", "content-length": str(len(body)), "connection": "close"}
            return Response(200, "OK", Headers(headers), body)
        return None

    def _begin(
        self, dialogue: LiveDialogue, wire: Wire, send: Callable[[str | Dropped], None]
    ) -> LiveSession | Sideband:
        found = _PATH.search(wire.connection.path)
        session_id, way = (None, None) if found is None else found.groups()
        if way == "attach":
            return Sideband(self.sessions[str(session_id)], send)
        session = LiveSession(
            self._next_id("live"),
            dialogue,
            send=send,
            next_id=self._next_id,
            drop=lambda: send(Dropped(self._drop_after)),
            stored=self.sessions[str(session_id)].fields if way == "fork" else None,
        )
        self.sessions[session.id] = session
        return session


def _wav(session: LiveSession) -> bytes:
    """The service's own recording of a session: stereo, the user on the left."""
    encoding = session.encoding
    sides = [decode(bytes(track), encoding.name) for track in (session.user_track, session.agent_track)]
    length = max(map(len, sides))
    stereo: Any = np.zeros((length, 2), "<i2")
    for side, samples in enumerate(sides):
        stereo[: len(samples), side] = samples
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(2)
        recording.setsampwidth(2)
        recording.setframerate(_RATES[encoding.bytes_per_ms])
        recording.writeframes(stereo.tobytes())
    return file.getvalue()
