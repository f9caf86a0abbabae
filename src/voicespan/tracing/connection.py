"""One connection of a conversation: frames go in, the provider's protocol makes events of them.

This is the hot path. A frame that carries only audio costs one clock reading, one context reading and the
protocol's byte search; it takes no lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from voicespan.runtime.guard import guarded, report, warn
from voicespan.tracing.context import CURRENT, get_current
from voicespan.tracing.event_queue import call_later

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context

    from voicespan.protocol.events import Event
    from voicespan.protocol.interface import WireProtocol
    from voicespan.recording.recorder import Recorder
    from voicespan.recording.wire_source import WireAudioSource
    from voicespan.runtime.clock import Clock
    from voicespan.tracing.context import ConversationContext

    #: Makes what records a connection's frames, given the conversation's recorder.
    WireAudio: TypeAlias = Callable[[Recorder], WireAudioSource]

#: Close codes that are a normal end (RFC 6455, section 7.4.1): done, going away, and no code given.
_NORMAL_CLOSE = frozenset({1000, 1001, 1005})


class FrameSink(Protocol):
    """Takes what a connection's frames mean: the connection's conversation."""

    context: ConversationContext

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while a protocol reads a frame and while `ingest` runs."""
        ...

    def ingest(
        self, events: Sequence[Event], frame: Any = None, connection: Connection | None = None
    ) -> bool:
        """Take events. Whether `flush` has to be called once the lock is released."""
        ...

    def flush(self) -> None:
        """Write the spans of what happened until now. The lock is not held."""

    def attach(self) -> None:
        """From now on the spans of this context nest in this conversation."""

    def redact_error(self, words: str | None) -> str | None:
        """What may be stored of a service's words on what went wrong."""
        ...

    def connection_reopened(self, connection: Connection) -> None:
        """The SDK opened a new socket behind the same connection object."""

    def connection_closed(self, connection: Connection, error: BaseException | None) -> None:
        """The connection is over; `error`: what left the application's block, if anything did."""


class Connection:
    """Feeds one socket's frames into its conversation. Nothing here raises."""

    def __init__(self, conversation: FrameSink, protocol: WireProtocol, clock: Clock) -> None:
        self.conversation = conversation
        self.protocol = protocol
        self.frames_received = 0
        self.frames_sent = 0
        #: Frames that the application gave to the SDK and that never left the process.
        self.frames_unsent = 0
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self.loss: BaseException | None = None
        self.lost_at: int | None = None
        self.session_id: str | None = None
        #: The service said that the session is over: however the socket closes now says nothing.
        self.session_over = False
        #: An earlier connection of the same session, which gets the server's frames as well.
        self.beside: Connection | None = None
        #: Another connection has taken up its session.
        self.superseded = False
        self.ended = False
        #: In which the last frame was handed over: mostly the next one is too, and nothing has to be looked up.
        #: None once the connection has ended, so that frames need not ask for that as well.
        self.context: Context | None = None
        self._monotonic_ns = clock.monotonic_ns
        self._skip_server_frame = protocol.skip_server_frame
        self._skip_client_frame = protocol.skip_client_frame

    def received(self, frame: Any) -> None:
        """The server's `frame` is about to be handed to the application."""
        try:
            if get_current() is not self.context and not self.attach():
                return
            self.frames_received += 1
            if not self._skip_server_frame(frame):
                self.process_frame(frame)
        except Exception as error:  # noqa: BLE001  the guard written out: a decorator costs a fifth of an audio frame
            report(error)

    def process_frame(self, frame: Any) -> None:
        """Record what the server's `frame` means."""
        at = self._monotonic_ns()
        conversation = self.conversation
        with conversation.lock:
            flush_now = conversation.ingest(self.protocol.receive(frame, at), frame, self)
        if flush_now:
            conversation.flush()

    def attach(self) -> bool:
        """The frame is handed over in another context than the one before: the conversation is current there too.

        Whether it is still open: once it has ended no context is its last one, so the frame comes by here.
        """
        if not self.ended:
            if get_current().get(CURRENT) is not self.conversation.context:
                self.conversation.attach()
            self.context = get_current()
        # Asked again: another thread may have closed it meanwhile.
        if self.ended:
            self.context = None
        return not self.ended

    def stop(self) -> None:
        """No frame is recorded any more."""
        self.ended = True
        self.context = None

    def sent(self, frame: Any) -> None:
        """The SDK took the application's `frame` and put it on the wire."""
        try:
            if self.ended:
                return
            self.frames_sent += 1
            at = self._monotonic_ns()
            if not self._skip_client_frame(frame, at):
                conversation = self.conversation
                with conversation.lock:
                    flush_now = conversation.ingest(self.protocol.send(frame, at), frame, self)
                if flush_now:
                    conversation.flush()
        except Exception as error:  # noqa: BLE001  as above
            report(error)

    @guarded
    def ingest(self, read: Callable[[int], Sequence[Event]]) -> None:
        """Something happened that is no frame: `read` makes events of it, given the time."""
        if not self.ended:
            conversation = self.conversation
            with conversation.lock:
                flush_now = conversation.ingest(read(self._monotonic_ns()))
            if flush_now:
                conversation.flush()

    @guarded
    def lost(self, error: BaseException, code: int | None, reason: str | None) -> None:
        """Reading failed because the socket is closed; a reconnect may follow."""
        self.loss, self.lost_at = error, self._monotonic_ns()
        if not self.session_over:
            self.close_code = code
            # The server's words: they can quote what it did not like.
            self.close_reason = self.conversation.redact_error(reason)
        # Whatever follows, what was arriving will not go on.
        self.ingest(self.protocol.connection_lost)

    @guarded
    def reopened(self) -> None:
        """The SDK reconnected on the same object."""
        self.conversation.connection_reopened(self)
        self.loss = self.lost_at = None
        self.close_code = self.close_reason = None

    @guarded
    def closed(self, code: int | None = None, error: BaseException | None = None) -> None:
        """The connection is over; `error`: what left the application's block, if anything did."""
        if self.ended:
            return
        self.ingest(self.protocol.connection_lost)
        self.stop()
        if self.close_code is None and not self.session_over:
            self.close_code = code
        if self.session_over and error is self.loss:
            # Who reads until there is nothing more to read has seen all of it.
            error = None
        self.conversation.connection_closed(self, error)

    @property
    def closed_abnormally(self) -> bool:
        """Whether the socket ended otherwise than by a normal close."""
        return self.loss is not None and not self.session_over and self.close_code not in _NORMAL_CLOSE


class WireRecordingConnection(Connection):
    """Its frames are recorded as well: VOICESPAN_RECORD_SOURCE=wire.

    It is a class of its own, so that nobody else's frames pay for it.
    """

    _announced = False

    def __init__(
        self, conversation: FrameSink, protocol: WireProtocol, clock: Clock, audio: WireAudioSource
    ) -> None:
        super().__init__(conversation, protocol, clock)
        self._audio = audio
        if not WireRecordingConnection._announced:
            WireRecordingConnection._announced = True
            warn("voicespan records both sides of its conversations, as they cross the wire")

    def received(self, frame: Any) -> None:
        """See `Connection.received`."""
        super().received(frame)
        self._record(self._audio.received, frame)

    def sent(self, frame: Any) -> None:
        """See `Connection.sent`."""
        super().sent(frame)
        self._record(self._audio.sent, frame)

    @guarded
    def _record(self, record: Callable[[object, int], None], frame: Any) -> None:
        if not self.ended:
            record(frame, self._monotonic_ns())


@guarded
def abandon(connection: Connection) -> None:
    """The application dropped its connection without closing it.

    This runs inside garbage collection, possibly inside a lock of an exporter; so the span thread does it.
    """
    if not connection.ended:
        call_later(connection.closed)


def open_connection(
    sink: FrameSink,
    protocol: WireProtocol,
    clock: Clock,
    *,
    kind: type[Connection] = Connection,
    audio: WireAudioSource | None = None,
) -> Connection:
    """Make a connection; `audio`: records its frames, if they are to be recorded."""
    return (
        kind(sink, protocol, clock)
        if audio is None
        else WireRecordingConnection(sink, protocol, clock, audio)
    )
