"""The conversation: one trace from its first connection to its last.

It owns the root span and what the root tells; `voicespan.tracing.spans` writes the children, and `voicespan.tracing.context` keeps
which conversation the application's own spans belong to.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from voicespan.content.policy import Content
from voicespan.content.truncation import cut_text
from voicespan.protocol.events import (
    FirstAudio,
    FunctionAnswered,
    FunctionAnswerSent,
    FunctionCalled,
    FunctionCancelled,
    OperationEnded,
    OperationStarted,
    ResumptionOffered,
    SessionDescribed,
    SessionEnded,
)
from voicespan.protocol.json_values import parsed, safe_str
from voicespan.runtime import guard
from voicespan.runtime.bounded import put
from voicespan.runtime.clock import SYSTEM, WallClock
from voicespan.runtime.guard import guarded
from voicespan.runtime.ids import uuid7, uuid_text
from voicespan.runtime.settings import Settings
from voicespan.runtime.version import __version__
from voicespan.tracing import registry, resumption, semconv, tracer
from voicespan.tracing.connection import Connection, WireRecordingConnection
from voicespan.tracing.connection_log import ConnectionLog
from voicespan.tracing.context import CURRENT, NO_CONVERSATION, SCOPE, ConversationContext
from voicespan.tracing.event_queue import EventQueue
from voicespan.tracing.root_span import RootSpan
from voicespan.tracing.spans.span_writer import mark_error, value_limit
from voicespan.tracing.spans.translator import SpanTranslator
from voicespan.tracing.status import ConversationStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from opentelemetry.trace import Span, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from voicespan.protocol.events import Event
    from voicespan.protocol.interface import WireProtocol
    from voicespan.recording import Recorder
    from voicespan.recording.wire_source import WireAudioSource
    from voicespan.runtime.clock import Clock
    from voicespan.tracing.conversation_recording import ConversationRecording, RecordingTarget


_logger = logging.getLogger("voicespan")
#: Of a conversation's resumption handles the newest count; a service issues one with every turn.
_MOST_HANDLES = 64
#: Longer ones than this the propagator complains of; a real one has 55 characters.
_LONGEST_TRACEPARENT = 256
#: What several tags come in; anything else is one.
_SEVERAL = (list, tuple, set, frozenset)
#: They move what is current: the application's spans may start as soon as it has the frame.
_FLUSH_NOW = frozenset(
    {
        FunctionCalled,
        FunctionAnswered,
        FunctionAnswerSent,
        FunctionCancelled,
        OperationStarted,
        OperationEnded,
    }
)
#: Of names and ids that the application gives.
_LONGEST_NAME = 1_000


class Conversation:
    """One spoken conversation and its trace. Made by `conversation()` or by the first connection."""

    def __init__(
        self,
        name: str = "conversation",
        *,
        thread_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] | None = None,
        continues: str | None = None,
        record: bool | None = None,
        scoped: bool = False,
        tracer_provider: TracerProvider | None = None,
        clock: Clock = SYSTEM,
        settings: Settings | None = None,
    ) -> None:
        """Not for applications: use `conversation()`."""
        self.lock = threading.RLock()
        #: The application's, or a new UUIDv7: what LangSmith groups conversations by.
        self.thread_id = ""
        self.ended = self._ending = False
        self.recording = False
        self.scoped = scoped
        self.record_audio = record
        self.settings = Settings(enabled=False)
        self.deliveries: list[RecordingTarget] = []
        self._recorder: Recorder | None = None
        self._recording: ConversationRecording | None = None
        self._agent_rate: int | None = None
        self._clock = clock
        self._root: Span = trace.INVALID_SPAN
        self.context = NO_CONVERSATION
        # The application gets a conversation, if need be one that tells nothing.
        whole = False
        with guard.guard():
            self._open(tracer_provider, settings or Settings.from_environment())
            self.thread_id = _id(thread_id) or uuid7(clock)
            self._facts.set_metadata(metadata if isinstance(metadata, Mapping) else {})
            self.add_tags(*(tags if isinstance(tags, _SEVERAL) else () if tags is None else (tags,)))
            self._begin(_id(name) or "conversation", _id(thread_id), continues)
            whole = True
        if not whole:
            self._close_half_open()

    def _open(self, tracer_provider: TracerProvider | None, settings: Settings) -> None:
        self.settings = settings
        self._events = EventQueue(self._write)
        self.context = ConversationContext(self)
        self._content = Content(settings)
        self._started_at = self._clock.monotonic_ns()
        # No span begins before the root, and none ends after it.
        self._wall = WallClock(self._clock, self._started_at)
        self._connections = ConnectionLog(scoped=self.scoped)
        #: SHA-256 of the handles by which its sessions can be resumed.
        self._handles: dict[str, None] = {}
        # Since when it waits to be resumed, and how many connections are about to do so.
        self._left_at: int | None = None
        self._claims = 0
        self._model: dict[str, AttributeValue] = {}
        self._status = ConversationStatus()
        self._tracer = tracer.tracer(tracer_provider)
        self._facts = RootSpan(self._content, value_limit(self._tracer))

    @guarded
    def _close_half_open(self) -> None:
        self.recording = False
        self._root.end()

    def _begin(self, name: str, thread_id: str | None, continues: str | None) -> None:
        context = opened_in = otel_context.get_current()
        links = []
        if self.settings.parent == "root":
            # A real root: LangSmith silently drops a tree whose root's parent it never sees. The
            # baggage, which lives in the same context, is kept.
            before = trace.get_current_span(context).get_span_context()
            if before.is_valid:
                links.append(trace.Link(before, {"voicespan.link": "opened_in"}))
            context = trace.set_span_in_context(trace.INVALID_SPAN, context)
        if continues is not None:
            links += _link_to(continues)
        context = otel_context.set_value(CURRENT, self.context, context)
        common: dict[str, AttributeValue] = {semconv.THREAD_ID: self.thread_id}
        first: dict[str, AttributeValue] = {
            **common,
            semconv.SPAN_KIND: "chain",
            semconv.MODALITY: "audio",
            semconv.INTEGRATION: "voicespan",
            semconv.INTEGRATION_VERSION: __version__,
        }
        if thread_id is not None:
            first[semconv.CONVERSATION_ID] = thread_id
        # Where it is switched off, processors must not see a span that nobody will end.
        if self.settings.enabled:
            self._root = self._tracer.start_span(
                name, context=context, attributes=first, links=links, start_time=self._wall(self._started_at)
            )
        if not (self.settings.enabled and self._root.is_recording()):
            return
        self.context.open(self._root, opened_in)
        self._first = first
        self._spans = SpanTranslator(
            self._tracer,
            trace.set_span_in_context(self._root, context),
            self._content,
            self.settings,
            common=common,
            provider=self._model,
            wall=self._wall,
            conversation_context=self.context,
        )
        # From here on it can be asked for its facts. A processor knows it since its root has started.
        self.recording = True
        registry.opened(self)
        if self.settings.record_source == "devices":
            self._record_devices()

    @property
    def _goes_on(self) -> bool:
        return self.recording and not self.ended

    # What the application uses.

    @property
    def trace_id(self) -> str:
        """The OpenTelemetry trace id, 32 hexadecimal digits."""
        return trace.format_trace_id(self._root.get_span_context().trace_id)

    @property
    def run_id(self) -> str:
        """The root run's id in LangSmith, which its OTLP ingest derives from the span id."""
        return uuid_text(self._root.get_span_context().span_id)

    @property
    def recorder(self) -> Recorder:
        """Takes the audio that is to be heard in the recording; see `voicespan.Recorder`.

        Hand over what the microphone gave (`recorder.user`) and what is handed to the speaker
        (`recorder.agent`), and say when playback is stopped (`recorder.cut_agent`). A conversation that
        is not recorded (`record=False`, VOICESPAN_RECORD, not sampled, no content captured, or no
        destination that takes recordings) has one that copies nothing.
        """
        with self.lock:
            if self._recorder is None:
                # Here, because it brings numpy and libsndfile along: most processes record nothing.
                from voicespan.tracing import conversation_recording  # noqa: PLC0415

                self._recorder = self._open_recorder() or conversation_recording.no_recorder(self._clock)
            return self._recorder

    @guarded
    def _open_recorder(self) -> Recorder | None:
        from voicespan.tracing import conversation_recording  # noqa: PLC0415  as above

        wanted = self.recording and not self.ended and self.record_audio is not False and self.deliveries
        if not wanted or not conversation_recording.is_recorded(
            self._root.get_span_context().trace_id, self.settings
        ):
            return None
        self._recording = conversation_recording.ConversationRecording(
            self.deliveries, self.settings, self._clock
        )
        self._expect_rate()
        if self.settings.record_source != "wire":  # an estimate is never passed off as heard
            self._spans.playback.recorder = self._recording.recorder
        return self._recording.recorder

    def _expect_rate(self) -> None:
        """The user mostly speaks first, and the file's rate must not be that of the slower microphone."""
        if self._recording is not None and self._agent_rate is not None:
            self._recording.recorder.expect_rate(self._agent_rate)

    @guarded
    def _record_devices(self) -> None:
        from voicespan.recording.devices import routing  # noqa: PLC0415  as above

        routing.conversation_opened(self, self.recorder)

    @guarded
    def _leave_devices(self) -> None:
        from voicespan.recording.devices import routing  # noqa: PLC0415  as above

        routing.conversation_closed(self)

    def _end_recording(self) -> None:
        if self.settings.record_source == "devices":
            self._leave_devices()
        if self._recording is not None:
            self._recording.close()

    def set_metadata(self, **facts: Any) -> None:
        """Add metadata to the root: at most 40 keys, scalars as they are, structures as JSON."""
        with guard.guard(), self.lock:
            self._facts.set_metadata(facts)

    def add_tags(self, *tags: str) -> None:
        """Add tags to the root run."""
        with guard.guard(), self.lock:
            self._facts.add_tags(tags)

    def attach_recording(self, path_or_bytes: str | Path | bytes, mime_type: str) -> None:
        """Attach the recording that a client made (a browser's, a telephone gateway's) to the root run.

        Where audio is hidden (VOICESPAN_HIDE, no content captured) it is not looked at.
        """
        with guard.guard():
            if not self.settings.keeps_audio:
                _warn_of_hidden_audio()
                return
            for delivery in self.deliveries:
                delivery.attach(path_or_bytes, mime_type)

    def expect_recording(self, timeout: float = 30) -> None:
        """Hold the root run for a recording that is still to come, at most `timeout` seconds after the end."""
        with guard.guard():
            for delivery in self.deliveries if self.settings.keeps_audio else ():
                delivery.expect(timeout)

    @contextlib.contextmanager
    def tool_call(self, call_id: str) -> Iterator[None]:
        """Spans that start inside nest under exactly this function call (or delegation), however many are open."""
        span = None
        with guard.guard(), self._events.lock:
            self.flush()
            span = self._spans.span_of(call_id) if self._goes_on else None
        if span is None:
            yield
            return
        with self.context.attached(span):
            yield

    @contextlib.contextmanager
    def use(self) -> Iterator[Conversation]:
        """Make this conversation current in another thread, or in a task that was started before it."""
        if not self.recording:
            yield self
            return
        before = SCOPE.get()
        if self.scoped:
            SCOPE.set(self.context)
        try:
            with self.context.attached():
                yield self
        finally:
            SCOPE.set(before)

    # What connections use.

    def connect(
        self,
        protocol: WireProtocol,
        attributes: Mapping[str, AttributeValue],
        *,
        kind: type[Connection] = Connection,
        wire_audio: Callable[[Recorder], WireAudioSource] | None = None,
        resumes: bool = False,
    ) -> Connection:
        """A connection has opened.

        Args:
            protocol: reads its frames.
            attributes: provider, model and server, for the root and the llm spans.
            kind: the provider's own class of connections, where it has one.
            wire_audio: makes what records its frames, with VOICESPAN_RECORD_SOURCE=wire.
            resumes: it resumes an earlier connection's session, and has claimed this conversation.
        """
        # A turn that is over was the earlier connection's model's.
        self.flush()
        with self.lock:
            connection = self._connection(protocol, kind, wire_audio)
            if resumes:
                self._claims -= 1
                for earlier in self._connections.live:
                    earlier.superseded = True
            self._left_at = None
            self._status.recovered()
            resumption.stop_waiting(self)
            self.describe(attributes)
            facts = {
                "provider": attributes.get(semconv.PROVIDER),
                "model": attributes.get(semconv.REQUEST_MODEL),
                "resumes": resumes or None,
            }
            self.ingest(self._connections.opened(connection, self._clock.monotonic_ns(), facts))
        self.attach()
        return connection

    def _connection(
        self,
        protocol: WireProtocol,
        kind: type[Connection],
        wire_audio: Callable[[Recorder], WireAudioSource] | None,
    ) -> Connection:
        if wire_audio is None or self.settings.record_source != "wire" or self.recorder.status == "off":
            return kind(self, protocol, self._clock)
        return WireRecordingConnection(self, protocol, self._clock, wire_audio(self.recorder))

    def connect_failed(
        self, error: BaseException, attributes: Mapping[str, AttributeValue], *, resumes: bool = False
    ) -> None:
        """A handshake failed. In a scope, or while there is time to resume, the application may try again."""
        with self._events.lock, self.lock:
            self._claims -= resumes
            self.describe(attributes)
            self._status.handshake_failed(error)
            if self._left_at is not None:
                self._wait(self._left_at)
            elif not self.scoped and not self._connections.live:
                self.end()

    def keep_secrets(self, secrets: Iterable[str]) -> None:
        """None of these may get into the trace: what a client signs its requests with."""
        with self.lock:
            self._content.keep_secrets(secrets)

    def redact_error(self, words: str | None) -> str | None:
        """What may be stored of a service's words on what went wrong."""
        with self.lock:
            return self._content.text(words, role="system", place="error")

    def claim_resumption(self, fingerprint: str) -> bool:
        """Whether this conversation issued that handle; it stays open for the connection that has it now."""
        with self.lock:
            if self.ended or fingerprint not in self._handles:
                return False
            self._claims += 1
            return True

    def has_session(self, session_id: str) -> bool:
        """Whether one of its connections is in that session."""
        with self.lock:
            return any(each.session_id == session_id for each in self._connections.live)

    def resume_timeout(self) -> None:
        """Nobody has resumed it in time."""
        with guard.guard(), self._events.lock, self.lock:
            if self._left_at is not None and not self._claims:
                self.end()

    def describe(self, attributes: Mapping[str, AttributeValue]) -> None:
        """What is known of the model and the server by now."""
        self._model.update(
            {
                key: value
                for key, value in attributes.items()
                if key not in (semconv.SERVER_ADDRESS, semconv.SERVER_PORT)
            }
        )
        self._root.set_attributes(attributes)
        self._first.update(attributes)

    def ingest(
        self, moments: Sequence[Event], frame: Any = None, connection: Connection | None = None
    ) -> bool:
        """Note what happened on `connection`, told by `frame`. The lock is held.

        Whether `flush` is to be called before the application goes on, when the lock is not held any more.
        """
        if self.ended or not moments:
            return False
        told = [moment for moment in moments if not self._is_offer(moment)]
        if not told:
            return False
        # An event that is the application's own can be another one by the time it is written.
        at_once = isinstance(frame, dict)
        for moment in told:
            kind = type(moment)
            if kind in _FLUSH_NOW:
                at_once = True
            elif kind is FirstAudio:
                self._spans.playback.answer_began()
            elif isinstance(moment, SessionDescribed):
                self._session(moment, connection)
        self._events.put(told, _parsed(frame) if self.settings.raw_events else None)
        return at_once or self._events.is_full

    def _is_offer(self, moment: Event) -> bool:
        """Whether it is only how to resume the session, which no span tells; that is noted."""
        if not isinstance(moment, ResumptionOffered):
            return False
        put(self._handles, moment.fingerprint, None, _MOST_HANDLES)
        return True

    def _write(self, moments: Sequence[Event], frame: Any) -> None:
        for moment in moments:
            # What hears of a span may end the conversation.
            if self.ended:
                return
            with guard.guard():
                if isinstance(moment, SessionDescribed):
                    self._describe_session(moment)
                else:
                    self._spans.record(moment, frame)

    def flush(self, patience: float = -1) -> None:
        """Write what happened until now. The lock is not held. `patience`: see `EventQueue.flush`."""
        self._events.flush(patience)

    def attach(self) -> None:
        """From now on the spans of this context nest in this conversation."""
        if self.recording and not self.ended:
            self.context.attach()

    def connection_reopened(self, connection: Connection) -> None:
        """The SDK opened a new socket behind the same connection object."""
        with self.lock:
            self.ingest(self._connections.reopened(connection, self._clock.monotonic_ns()))

    def connection_closed(self, connection: Connection, error: BaseException | None) -> None:
        """A connection is over; without a scope the conversation ends with its last one, if no other can follow."""
        with self._events.lock, self.lock:
            if connection not in self._connections.live:
                return
            at = self._clock.monotonic_ns()
            self.ingest(self._connections.closed(connection, at))
            if error is not None:
                self._status.exited_with(error)
            if connection.closed_abnormally:
                self._status.connection_lost(connection.close_code)
            if self.scoped or self._connections.live:
                return
            abnormal = connection.closed_abnormally
            resumable = not connection.superseded and connection.protocol.resumable(abnormal=abnormal)
            if resumable and self.settings.resume_window > 0:
                self._left_at = at
                self.context.detach()
                self._wait(at)
            else:
                self.end()

    def _wait(self, left_at: int) -> None:
        """Stay open until a connection resumes the session, or the time for it has passed."""
        resumption.wait(self, left_at + round(self.settings.resume_window * 1e9), self._clock)

    def end(self, error: BaseException | None = None, status: str | None = None) -> None:
        """End the root, at once, with what is known now."""
        with self._events.lock, self.lock:
            if self.ended or self._ending:
                return
            if not self.recording:
                self.ended = True
                self.context.close()
                self._events.close()
                return
            at = self._clock.monotonic_ns()
            if self._left_at is not None:
                # It was over when its last connection was, whatever ends the wait.
                at, status = self._left_at, None
            resumption.stop_waiting(self)
            if error is not None:
                self._status.exited_with(error)
            self._status.override(status)
            self._ending = True
            with guard.guard():
                for connection in self._connections.live:
                    self.ingest(connection.protocol.connection_lost(at))
                self.flush()
                self._spans.finish(at)
                self._root.set_attributes(self._attributes(at))
                self._root.set_attributes(self._facts.conversation(self._spans.transcript.messages()))
                if (failure := self._status.failure) is not None:
                    mark_error(self._root, self._content.error(failure) or failure, self._wall(at))
            self.ended = True
            self._end_recording()
            registry.ended(self, self._handles, self._root)
            self._connections.close()
            self.context.detach()
            self.context.close()
            self._events.close()
            # Who keeps it, now that it is over, does not keep all that was said as well.
            del self._spans
            self._recording = None
            self._wall(at)
        self._root.end(self._wall.last)

    def root_facts(self) -> dict[str, AttributeValue]:
        """The root's attributes as of now, so that it can be told even if the process dies; none after its end."""
        with self._events.lock:
            self.flush()
            with self.lock:
                if not self._goes_on:
                    return {}
                told = {**self._first, **self._attributes(self._clock.monotonic_ns())}
            messages = self._spans.transcript.messages()
        # Not while the lock is held: of a long conversation this takes milliseconds, and a frame may wait.
        told.update(self._facts.conversation(messages))
        return told

    def open_calls(self) -> dict[str, tuple[str, Span]]:
        """Name and span of each function call that waits for its answer, by call id."""
        with self._events.lock:
            self.flush()
            return self._spans.calls.open() if self._goes_on else {}

    def discard_after_fork(self) -> None:
        """Forget this conversation without telling anything: another process owns it (after a fork)."""
        self.ended = True
        self.recording = False
        self.lock = threading.RLock()
        self._events = EventQueue(self._write)
        self.context.close()
        if self.settings.record_source == "devices":
            self._leave_devices()

    # The root.

    def _session(self, moment: SessionDescribed, connection: Connection | None) -> None:
        if connection is not None:
            connection.session_over = isinstance(moment, SessionEnded)
            if moment.session_id is not None:
                connection.session_id = moment.session_id
        if moment.audio_rate is not None:
            self._agent_rate = moment.audio_rate
            self._expect_rate()

    def _describe_session(self, moment: SessionDescribed) -> None:
        with self.lock:
            self._facts.describe_session(moment)
            if moment.model is not None:
                self.describe({semconv.REQUEST_MODEL: moment.model})

    def _attributes(self, at: int) -> dict[str, AttributeValue]:
        facts: dict[str, Any] = {
            "status": self._status.status,
            **self._connections.facts(),
            "duration_s": round((at - self._started_at) / 1e9, 6),
        }
        if self._recording is not None:
            facts.update(self._recording.facts())
        spans = self._spans
        return {**spans.counts.attributes(), **self._facts.attributes(facts, spans.transcript)}


def _id(given: object) -> str | None:
    """What the application calls something, whatever it gave; None: nothing."""
    return None if given is None else cut_text(safe_str(given), _LONGEST_NAME) or None


_warned_of_hidden_audio = False


def _warn_of_hidden_audio() -> None:
    global _warned_of_hidden_audio  # noqa: PLW0603  said once in a process
    if not _warned_of_hidden_audio:
        _warned_of_hidden_audio = True
        _logger.warning("voicespan attaches no recording: audio is not to be kept")


def _link_to(traceparent: object) -> list[trace.Link]:
    context = TraceContextTextMapPropagator().extract(
        {"traceparent": safe_str(traceparent)[:_LONGEST_TRACEPARENT]}
    )
    earlier = trace.get_current_span(context).get_span_context()
    if not earlier.is_valid:
        _logger.warning("continues= is not a traceparent; the conversation is not linked")
        return []
    return [trace.Link(earlier, {"voicespan.link": "continues"})]


def _parsed(frame: Any) -> Any:
    if isinstance(frame, (bytes, str)):
        value = parsed(frame)
        return {"unreadable": f"{len(frame)} bytes"} if value is None else value
    if hasattr(frame, "model_dump"):
        return frame.model_dump(by_alias=True, exclude_none=True, warnings=False)
    return frame
