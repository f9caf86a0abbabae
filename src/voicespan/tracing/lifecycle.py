"""The states of a conversation, what moves it from one to the next, and its lock.

What always holds:

1. A conversation ends once: whoever moves it to `ENDING` ends it, and nothing is taken in from then on.
2. The order of locks is the event queue's, then this one. Under this one only our own state changes: what calls
   the users' code (spans, processors, `redact`) comes before or after it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import FirstAudio, ResumptionOffered, SessionDescribed, SessionEnded
from voicespan.runtime.guard import guard, report
from voicespan.tracing import resumption, semconv
from voicespan.tracing.connection_log import ConnectionLog
from voicespan.tracing.event_queue import FLUSH_NOW, PATIENCE, EventQueue, acquired, watch_resumptions
from voicespan.tracing.status import ENDED as ENDED  # noqa: PLC0414  who looks at the state finds it here
from voicespan.tracing.status import ENDING, OPEN, WAITING, ConversationStatus, after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from voicespan.protocol.events import Event
    from voicespan.runtime.clock import Clock
    from voicespan.runtime.settings import Settings
    from voicespan.tracing.connection import Connection
    from voicespan.tracing.context import ConversationContext
    from voicespan.tracing.conversation_recording import ConversationRecording
    from voicespan.tracing.root_span import RootSpan
    from voicespan.tracing.spans.translator import SpanTranslator


#: What changes more than spans. Most events do not.
_LOOKED_AT = FLUSH_NOW | {FirstAudio, SessionDescribed, SessionEnded, ResumptionOffered}
#: Seconds that who asks for a checkpoint waits for another thread that writes: the next one is soon.
CHECKPOINT_PATIENCE = 0.02


class Lifecycle:
    """Of one conversation. Connections give it their frames' events (`FrameSink`)."""

    def __init__(
        self,
        root: RootSpan,
        context: ConversationContext,
        settings: Settings,
        clock: Clock,
        *,
        scoped: bool,
    ) -> None:
        """`scoped`: it is opened and ended by a scope, and not by its connections."""
        self.lock = threading.RLock()
        self.state = OPEN
        self.scoped = scoped
        #: A framework says how it ends and of each call when it is made; it cancels sockets of its own as it likes.
        self.has_framework = False
        self.context = context
        self.root = root
        self.settings = settings
        self.events = EventQueue(self)
        self.connections = ConnectionLog(scoped=scoped, began_at=root.started_at)
        self.resumption = resumption.Resumption(settings.resume_window)
        #: None: nothing is recorded of the conversation, or it is over.
        self.spans: SpanTranslator | None = None
        self.recording: ConversationRecording | None = None
        self._agent_rate: int | None = None
        self._status = ConversationStatus()
        self._clock = clock

    def open(self, context: Context) -> None:
        """From here on it takes in events; their spans are written in `context`, in which the root is current."""
        # With the first conversation: most processes that import voicespan hold none.
        from voicespan.tracing.spans.translator import SpanTranslator  # noqa: PLC0415

        root = self.root
        writer = root.writer(context, self.settings)
        self.spans = SpanTranslator(writer, root.content, self.settings, self.context)

    def record(self, recording: ConversationRecording) -> None:
        """It is recorded. The lock is held."""
        self.recording = recording
        self._expect_rate()
        if self.spans is None:
            return
        # An estimate is never passed off as heard.
        if self.settings.record_source == "wire":
            self.spans.playback.estimate = recording.recorder
        else:
            self.spans.playback.recorder = recording.recorder

    # What connections do.

    def connected(
        self, connection: Connection, attributes: Mapping[str, AttributeValue], *, resumes: bool
    ) -> None:
        """A connection is open. `resumes`: it has claimed the conversation, and takes up its session."""
        # A turn that is over was the earlier connection's model's.
        self.flush()
        with self.lock:
            if resumes:
                self.resumption.release()
                for earlier in self.connections.live:
                    earlier.superseded = True
            self.resumption.since = None
            self._status.recovered()
            resumption.stop_waiting(self)
            self._move("connected")
            self.root.describe(attributes)
            facts = {
                "provider": attributes.get(semconv.PROVIDER),
                "model": attributes.get(semconv.REQUEST_MODEL),
                "resumes": resumes or None,
            }
            self.ingest(self.connections.opened(connection, self._clock.monotonic_ns(), facts))
        self.attach()

    def connect_failed(
        self, error: BaseException, attributes: Mapping[str, AttributeValue], *, resumes: bool
    ) -> None:
        """A handshake failed. In a scope, or while there is time to resume, the application may try again."""
        at = None
        with self.lock:
            if resumes:
                self.resumption.release()
            self.root.describe(attributes)
            self._status.handshake_failed(error)
            if self.resumption.since is not None:
                self._wait(self.resumption.since)
            elif not self.scoped and not self.connections.live:
                at = self._start_ending()
        self._finish(at)

    def connection_reopened(self, connection: Connection) -> None:
        """The SDK opened a new socket behind the same connection object."""
        with self.lock:
            self.ingest(self.connections.reopened(connection, self._clock.monotonic_ns()))

    def connection_closed(self, connection: Connection, error: BaseException | None) -> None:
        """A connection is over; without a scope the conversation ends with its last one, if no other can follow."""
        with self.lock:
            if connection not in self.connections.live:
                return
            at = self._clock.monotonic_ns()
            self.ingest(self.connections.closed(connection, at))
            self._status.lost_by(connection.loss)
            over = self.has_framework or connection.loss is not None or connection.session_over
            self._status.exited_with(error, over=over)
            if connection.closed_abnormally:
                self._status.connection_lost(connection.close_code)
            if self.scoped or self.connections.live:
                return
            ends_at = None
            abnormal = connection.closed_abnormally
            resumable = not connection.superseded and connection.protocol.resumable(abnormal=abnormal)
            if resumable and self.resumption.is_possible:
                self.context.detach()
                self._wait(at)
            else:
                ends_at = self._start_ending()
        self._finish(ends_at)

    def redact_error(self, words: str | None) -> str | None:
        """What may be stored of a service's words on what went wrong."""
        return self.root.content.text(words, role="system", place="error")

    def attach(self) -> None:
        """From now on the spans of this context nest in this conversation."""
        if self.spans is not None and self.state is not ENDED:
            self.context.attach()

    # What happens on them.

    def ingest(
        self, events: Sequence[Event], frame: Any = None, connection: Connection | None = None
    ) -> bool:
        """Take the events of `frame`, on `connection`. The lock is held.

        Whether `flush` is to be called before the application goes on, when the lock is not held any more.
        """
        spans = self.spans
        if not events or spans is None or (self.state is not OPEN and self.state is not WAITING):
            return False
        # An event that is the application's own can be another one by the time it is written.
        flush_now = isinstance(frame, dict)
        offered = False
        for event in events:
            if type(event) in _LOOKED_AT:
                flush_now = self._look_at(event, spans, connection) or flush_now
                offered = offered or isinstance(event, ResumptionOffered)
        if offered:
            # How to resume the session stands in no span.
            events = [event for event in events if not isinstance(event, ResumptionOffered)]
        if connection is not None:
            events = self.connections.seen_on(connection, events)
        if not events:
            return False
        self.events.put(events, spans.raw(frame))
        return flush_now or self.events.is_full

    def _look_at(self, event: Event, spans: SpanTranslator, connection: Connection | None) -> bool:
        """Take note of what an event changes now; whether its span has to be written before the application goes on."""
        if isinstance(event, FirstAudio):
            if not event.beside:
                spans.playback.answer_began()
        elif isinstance(event, SessionDescribed):
            self._session(event, connection)
        elif isinstance(event, ResumptionOffered):
            self.resumption.offer(event.fingerprint)
        return type(event) in FLUSH_NOW

    def flush(self, patience: float = PATIENCE) -> None:
        """Write what happened until now. The lock is not held. `patience`: see `EventQueue.flush`."""
        self.events.flush(patience)

    def _session(self, event: SessionDescribed, connection: Connection | None) -> None:
        self._status.session_described(event)
        if connection is not None:
            connection.session_over = isinstance(event, SessionEnded)
            if event.session_id is not None:
                connection.session_id = event.session_id
                self.connections.find_session(connection)
        if event.audio_rate is not None:
            self._agent_rate = event.audio_rate
            self._expect_rate()

    def _expect_rate(self) -> None:
        """The user mostly speaks first, and the file's rate must not be that of the slower microphone."""
        if self.recording is not None and self._agent_rate is not None:
            self.recording.recorder.expect_rate(self._agent_rate)

    def write(self, events: Sequence[Event], frame: Any) -> None:
        """Write the spans of `events`, which came in `frame`. The event queue's lock is held."""
        for event in events:
            # What hears of a span may end the conversation.
            spans = self.spans
            if spans is None or self.state is ENDED:
                return
            try:
                if not self.root.record_session(event, self.lock):
                    spans.record(event, frame)
            except Exception as error:  # noqa: BLE001  the guard written out: of one event it costs a tenth
                report(error)

    # Its sessions.

    def claim_resumption(self, fingerprint: str) -> bool:
        """Whether this conversation issued that handle; it stays open for the connection that has it now."""
        with self.lock:
            return (self.state is OPEN or self.state is WAITING) and self.resumption.claim(fingerprint)

    def resume_timeout(self) -> None:
        """Nobody has resumed it in time."""
        with guard():
            with self.lock:
                given_up = self.state is WAITING and not self.resumption.is_claimed
                at = self._start_ending() if given_up else None
            self._finish(at)

    def _wait(self, since: int) -> None:
        """Stay open until a connection resumes the session, or the time for it has passed."""
        if self._move("last connection lost"):
            self.resumption.wait(self, since, self._clock)
            watch_resumptions()

    # Its end.

    def end(self, error: BaseException | None = None, status: str | None = None) -> None:
        """End the root, at once, with what is known now."""
        with self.lock:
            at = self._start_ending(error, status)
        self._finish(at)
        if self.state is ENDING:
            # Another thread ends it: whoever asked wants it to be over.
            self.flush()

    def _start_ending(self, error: BaseException | None = None, status: str | None = None) -> int | None:
        """Take in nothing more. The lock is held. When it ended; None: somebody else ends it, or has."""
        if self.state is not OPEN and self.state is not WAITING:
            return None
        at = self._clock.monotonic_ns()
        if self.resumption.since is not None:
            # It was over when its last connection was, whatever ends the wait.
            at, status = self.resumption.since, None
        resumption.stop_waiting(self)
        self._status.exited_with(error, over=self.connections.are_over)
        self._status.lost_by(None)
        self._status.override(status)
        with guard():
            for connection in self.connections.live:
                self.ingest(connection.protocol.connection_lost(at))
        self._move("end")
        return at

    def _finish(self, at: int | None) -> None:
        """Write what is left and end the root, if this is who has to. The lock is not held."""
        if at is not None:
            self.events.finish(lambda: self._write_end(at))

    def _write_end(self, at: int) -> None:
        spans = self.spans
        with guard():
            self.events.flush()
            if spans is not None:
                spans.finish(at)
                messages = self.root.messages(spans.transcript.messages())
                with self.lock:
                    self.root.span.set_attributes({**self._facts(spans, at), **messages})
                self.root.fail(self._status.failure, at)
        with self.lock:
            self._move("all written")
            self.connections.close()
        with guard():
            if spans is not None and self.context.conversation is not None:
                self.context.conversation.close()
        self.context.detach()
        self.context.close()
        self.events.close()
        # Who keeps it, now that it is over, does not keep all that was said as well.
        self.spans = self.recording = None
        self.root.wall(at)
        if spans is not None:
            self.root.end()

    def _facts(self, spans: SpanTranslator, at: int) -> dict[str, AttributeValue]:
        facts: dict[str, Any] = {
            "status": self._status.in_words(unanswered=spans.is_unanswered),
            **self.connections.facts(),
            "transcript_omitted": spans.transcript.omitted or None,
            "duration_s": round((at - self.root.started_at) / 1e9, 6),
            **(self.recording.facts() if self.recording is not None else {}),
            **spans.counts.of_call(
                spans.playback,
                self.connections.first_at,
                final=self.state is ENDING,
                expects_answers=not self._status.is_listening_only,
            ),
        }
        return {**spans.counts.attributes(), **self.root.attributes(facts)}

    def checkpoint(self) -> dict[str, AttributeValue] | None:
        """The root's attributes as of now; none after its end; None: another thread works on it."""
        with self.events.looked_at(CHECKPOINT_PATIENCE) as quiet:
            spans = self.spans
            with acquired(self.lock, CHECKPOINT_PATIENCE) as held:
                if not (quiet and held):
                    return None
                if spans is None or self.state is ENDED:
                    return {}
                attributes = self.root.checkpoint(self._facts(spans, self._clock.monotonic_ns()))
            messages = spans.transcript.messages()
        # Not while a lock is held: of a long conversation this takes milliseconds, and a frame may wait.
        return {**attributes, **self.root.messages(messages)}

    def discard_after_fork(self) -> None:
        """Forget the conversation without writing anything: another process owns it."""
        self.lock = threading.RLock()
        self._move("forked")
        self.spans = self.recording = None
        self.context.close()
        self.events = EventQueue(self)
        self.events.close()

    def _move(self, what: str) -> bool:
        """Whether `what` may happen in this state; the state is the next one then."""
        following = after(self.state, what)
        if following is None:
            return False
        self.state = following
        return True
