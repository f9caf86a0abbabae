"""The server: what each connection gets, and where it listens."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from voicespan.testing._connection import Frame, Refuse
from voicespan.testing._scripted import ScriptedServer
from voicespan.testing.gemini_live.answers import Answer, Dialogue, Transcription, Turn
from voicespan.testing.gemini_live.certificates import Authority, authority
from voicespan.testing.gemini_live.conversation import LiveConversation
from voicespan.testing.script import Script, Step

if TYPE_CHECKING:
    from types import TracebackType

    from voicespan.testing._websocket import Wire
    from voicespan.testing.gemini_live.usage import Counted

#: What one connection gets; a list of steps is a script.
Part = Script | Dialogue | Refuse | Iterable[Step]

_CERTIFICATES = "SSL_CERT_FILE"


class GeminiLiveServer(ScriptedServer[Dialogue, LiveConversation]):
    """A Gemini Live server on 127.0.0.1, for tests without a network or an account.

    It holds a conversation (`GeminiLiveServer.conversational`), as the real server does:

    >>> import asyncio
    >>> from google import genai
    >>> from voicespan.testing.gemini_live import Answer, GeminiLiveServer
    >>> async def talk(server):
    ...     client = genai.Client(**server.client_options())
    ...     config = {"response_modalities": ["AUDIO"], "output_audio_transcription": {}}
    ...     async with client.aio.live.connect(model="gemini-live", config=config) as session:
    ...         await session.send_client_content(turns={"role": "user", "parts": [{"text": "Hi"}]})
    ...         async for message in session.receive():
    ...             if message.server_content.output_transcription:
    ...                 print(message.server_content.output_transcription.text)
    >>> with GeminiLiveServer.conversational([Answer("Good morning!")]) as server:
    ...     asyncio.run(talk(server))
    Good
     morning!

    or it plays a script, message by message:

    >>> from voicespan.testing.gemini_live import Close, Expect, Send
    >>> script = [Expect("setup"), Send({"setupComplete": {}}), Expect("client_content"), Close(1011, "internal error")]
    >>> async def fail(server):
    ...     client = genai.Client(**server.client_options())
    ...     async with client.aio.live.connect(model="gemini-live") as session:
    ...         await session.send_client_content(turns={"role": "user", "parts": [{"text": "Hi"}]})
    ...         try:
    ...             async for message in session.receive():
    ...                 pass
    ...         except Exception as error:
    ...             print(error)
    >>> with GeminiLiveServer(script) as server:
    ...     asyncio.run(fail(server))
    1011 None. internal error

    What clients did is in `connections`. What went wrong on the server's side, an expectation that was
    not met for example, is raised at the end of the `with` block.

    It speaks TLS, with a certificate of its own making: the SDK speaks nothing else. Both kinds of client
    can connect, the Gemini API's and Vertex AI's.

    Args:
        parts: What successive connections get: a `Script` or a list of steps, a `Dialogue`, or a
            `Refuse`. The last one is for all further connections too. Without any, a conversation in
            which every turn gets the same short answer.
        timeout: Seconds after which what a test or a script waits for counts as missing.
    """

    id_separator = "-"

    def __init__(self, *parts: Part, timeout: float = 5.0) -> None:
        super().__init__(parts, Dialogue(), timeout=timeout, tls=authority().server_context())
        self._sessions: dict[str, tuple[list[dict[str, Any]], Counted]] = {}
        self._environment = contextlib.ExitStack()

    @classmethod
    def conversational(
        cls,
        answers: Iterable[Answer] | Callable[[Turn], Answer] | None = None,
        user_transcripts: Iterable[str | Transcription] = (),
        *,
        chunk_ms: int = 200,
        marks_last: bool = False,
        voice_activity: bool = False,
        timeout: float = 5.0,
    ) -> GeminiLiveServer:
        """A server whose every connection holds the same conversation; see `Dialogue` and the class."""
        dialogue = Dialogue(
            answers, user_transcripts, chunk_ms=chunk_ms, marks_last=marks_last, voice_activity=voice_activity
        )
        return cls(dialogue, timeout=timeout)

    def client_options(self, *, vertexai: bool = False) -> dict[str, Any]:
        """What makes a `google.genai.Client` talk to this server, and trust it: `Client(**options)`.

        With an old SDK, which cannot be told whom to trust, the environment variable `SSL_CERT_FILE` is
        set until the server stops.

        Args:
            vertexai: Whether for Vertex AI instead of the Gemini API.
        """
        types = importlib.import_module("google.genai.types")
        api_client = importlib.import_module("google.genai._api_client")
        trusted: dict[str, Any] = {}
        if hasattr(api_client.BaseApiClient, "_ensure_websocket_ssl_ctx"):
            trusted["async_client_args"] = {"ssl": authority().client_context()}
        else:
            self._trust_by_environment(authority())
        options: dict[str, Any] = {
            "http_options": types.HttpOptions(base_url=f"https://127.0.0.1:{self._port}", **trusted)
        }
        if not vertexai:
            return {"api_key": "test", **options}
        named = {"vertexai": True, "project": "test", "location": "us-central1"}
        return {**named, "credentials": _credentials(), **options}

    def go_away(self, time_left: str = "10s") -> None:
        """Say on every conversation that is open that its connection will be closed."""

        def go_away() -> None:
            for conversation in self._conversations.values():
                conversation.go_away(time_left)

        self._in_loop(go_away)

    def frame_name(self, frame: Frame) -> str:
        """The one key of a client's message, as the SDK writes it: `setup` or `realtime_input`, for example."""
        return next(iter(frame), "(empty)") if isinstance(frame, dict) else "(not a JSON object)"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, as every server does, and leave the environment as it was."""
        with self._environment:
            super().__exit__(kind, error, traceback)

    def _begin(self, dialogue: Dialogue, wire: Wire, send: Callable[[str], None]) -> LiveConversation:
        return LiveConversation(
            dialogue,
            emit=send,
            next_id=self._next_id,
            hold=self.hold,
            sessions=self._sessions,
            names_session="LlmBidiService" in wire.connection.path,
        )

    def _trust_by_environment(self, trusted: Authority) -> None:
        before = os.environ.get(_CERTIFICATES)
        os.environ[_CERTIFICATES] = self._environment.enter_context(trusted.file())
        if before is None:
            self._environment.callback(os.environ.pop, _CERTIFICATES, None)
        else:
            self._environment.callback(os.environ.__setitem__, _CERTIFICATES, before)


def _credentials() -> Any:
    """A token that is of no use anywhere, and that nobody tries to refresh."""
    return importlib.import_module("google.oauth2.credentials").Credentials(token="test")  # noqa: S106
