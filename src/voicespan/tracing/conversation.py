"""The conversation: one trace from its first connection to its last, as the application sees it.

What makes it up stands beside it: its states and its lock in `lifecycle`, its root in `root_span`, its spans in
`spans`, its recording in `conversation_recording`, and in `context` which conversation the application's own spans
belong to.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.trace import format_trace_id

from voicespan.content.policy import Content
from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.guard import guard, guarded, warn
from voicespan.runtime.ids import uuid7, uuid_text
from voicespan.runtime.settings import Settings
from voicespan.tracing import registry
from voicespan.tracing.cascade.pipeline import Pipeline
from voicespan.tracing.connection import Connection, open_connection
from voicespan.tracing.context import SCOPE, ConversationContext
from voicespan.tracing.lifecycle import CHECKPOINT_PATIENCE, ENDED, Lifecycle
from voicespan.tracing.root_span import RootSpan, given_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from opentelemetry.trace import Span, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from voicespan.protocol.interface import WireProtocol
    from voicespan.recording import Recorder
    from voicespan.runtime.clock import Clock
    from voicespan.tracing.connection import WireAudio
    from voicespan.tracing.conversation_recording import PendingCopy, RecordingTarget

#: What several tags come in; anything else is one.
_SEVERAL = (list, tuple, set, frozenset)


class _NoRecorder:
    """Stands in for a recorder where not even its modules can be loaded, for want of descriptors or of memory."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """A method that does nothing."""
        return lambda *_, **__: None


class AttachedRecording:
    """A recording that is on its way to everywhere the conversation is delivered to."""

    def __init__(self, copies: Sequence[PendingCopy] = ()) -> None:
        self._copies = copies

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the recording is copied, at most `timeout` seconds; whether its file may be changed now."""
        deadline = None if timeout is None else time.monotonic() + timeout
        return all(
            copy.wait(None if deadline is None else max(deadline - time.monotonic(), 0.0))
            for copy in self._copies
        )


class Conversation(Pipeline):
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
        self.settings = settings or Settings.from_environment()
        self.record_audio = record
        self.deliveries: list[RecordingTarget] = []
        self.recording = False
        self._recorder: Recorder | None = None
        #: Where the application says that the recording will be.
        self._recording_url: str | None = None
        self._clock = clock
        self.context = ConversationContext(self)
        self._root = RootSpan(Content(self.settings), clock, tracer_provider, self.settings)
        #: Not for applications, as all below "What connections use".
        self.lifecycle = Lifecycle(self._root, self.context, self.settings, clock, scoped=scoped)
        #: The application's, or a new UUIDv7: what LangSmith groups conversations by.
        self.thread_id = ""
        # The application gets a conversation, if need be one that records nothing.
        whole = False
        with guard():
            self.thread_id = given_name(thread_id) or uuid7(clock)
            self._set_metadata(metadata if isinstance(metadata, Mapping) else {})
            self.add_tags(*(tags if isinstance(tags, _SEVERAL) else () if tags is None else (tags,)))
            self._open(given_name(name) or "conversation", continues)
            whole = True
        if not whole:
            self._close_half_open()

    def _open(self, name: str, continues: str | None) -> None:
        context = self._root.start(
            name,
            self.context,
            thread_id=self.thread_id,
            parent=self.settings.parent,
            continues=continues,
        )
        if context is None:
            return
        self.lifecycle.open(context)
        # From here on it can be asked for its facts. A processor knows it since its root has started.
        self.recording = True
        registry.opened(self)
        if self.settings.recording_url is not None:
            # Here, where no lock of ours is held: it is the application's.
            with guard():
                said = self.settings.recording_url(self)
                content = self._root.content
                self._recording_url = (
                    content.text(str(said), role="system", place="metadata") if said else None
                )
        if self.settings.record_source == "devices":
            self._record_devices()

    @guarded
    def _close_half_open(self) -> None:
        self.recording = False
        self.lifecycle.spans = None
        self._root.span.end()

    # What the application uses.

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.lifecycle.state is ENDED

    @property
    def trace_id(self) -> str:
        """The OpenTelemetry trace id, 32 hexadecimal digits."""
        return format_trace_id(self._root.span.get_span_context().trace_id)

    @property
    def run_id(self) -> str:
        """The root run's id in LangSmith, which its OTLP ingest derives from the span id."""
        return uuid_text(self._root.span.get_span_context().span_id)

    @property
    def recorder(self) -> Recorder:
        """Takes the audio that is to be heard in the recording; see `voicespan.Recorder`.

        Hand over what the microphone gave (`recorder.user`) and what is handed to the speaker
        (`recorder.agent`), and say when playback is stopped (`recorder.cut_agent`). A conversation that
        is not recorded (`record=False`, VOICESPAN_RECORD, not sampled, no content captured, or no
        destination that takes recordings) has one that copies nothing.
        """
        with guard(), self.lifecycle.lock:
            if self._recorder is None:
                # Here, because it brings numpy and libsndfile along: most processes record nothing.
                from voicespan.tracing import conversation_recording  # noqa: PLC0415

                self._recorder = self._open_recorder() or conversation_recording.no_recorder(self._clock)
        return self._recorder or cast("Recorder", _NoRecorder())

    @guarded
    def _open_recorder(self) -> Recorder | None:
        # Here, because it brings numpy and libsndfile along.
        from voicespan.tracing import conversation_recording  # noqa: PLC0415

        if not self.recording or self.ended or self.record_audio is False:
            return None
        trace_id = self._root.span.get_span_context().trace_id
        recording = conversation_recording.open_recording(
            self.deliveries, self.settings, self._clock, trace_id
        )
        if recording is None:
            return None
        self.lifecycle.record(recording)
        place = self._recording_url or self._kept_recording
        if place is not None:
            self._root.locate_recording(place)
        return recording.recorder

    @property
    def _kept_recording(self) -> str | None:
        """The file that a destination will keep the recording in."""
        folder = next((each.kept_in for each in self.deliveries if each.kept_in is not None), None)
        return None if folder is None else f"{folder}/recording.{self.settings.recording_format}"

    def _record_devices(self) -> None:
        # Here, because it brings numpy and libsndfile along.
        from voicespan.tracing import conversation_recording  # noqa: PLC0415

        conversation_recording.record_devices(self, self.recorder)

    def _leave_devices(self) -> None:
        # Here, because it brings numpy and libsndfile along.
        from voicespan.tracing import conversation_recording  # noqa: PLC0415

        conversation_recording.leave_devices(self)

    def set_metadata(self, **facts: Any) -> None:
        """Add metadata to the root: at most 40 keys, scalars as they are, structures as JSON."""
        with guard():
            self._set_metadata(facts)

    def _set_metadata(self, facts: Mapping[Any, Any]) -> None:
        kept = self._root.redacted_metadata(facts)
        with self.lifecycle.lock:
            self._root.set_metadata(kept)

    def add_tags(self, *tags: str) -> None:
        """Add tags to the root run."""
        with guard():
            kept = self._root.redacted_tags(tags)
            with self.lifecycle.lock:
                self._root.add_tags(kept)

    def attach_recording(self, path_or_bytes: str | Path | bytes, mime_type: str) -> AttachedRecording:
        """Attach the recording that a client made (a browser's, a telephone gateway's) to the root run.

        Returns at once: a file is copied in the background, and may be removed; before anybody writes to it again,
        `wait` for what this returns. Where audio is hidden (VOICESPAN_HIDE, no content captured) it is not looked at.
        """
        with guard():
            if not self.settings.keeps_audio:
                _warn_of_hidden_audio()
                return AttachedRecording()
            return AttachedRecording([each.attach(path_or_bytes, mime_type) for each in self.deliveries])
        return AttachedRecording()

    def expect_recording(self, timeout: float = 30) -> None:
        """Hold the root run for a recording that is still to come, at most `timeout` seconds after the end."""
        with guard():
            for delivery in self.deliveries if self.settings.keeps_audio else ():
                delivery.expect(timeout)

    @contextlib.contextmanager
    def use(self) -> Iterator[Conversation]:
        """Make this conversation current in another thread, or in a task that was started before it."""
        if not self.recording:
            yield self
            return
        before = SCOPE.get()
        if self.lifecycle.scoped:
            SCOPE.set(self.context)
        try:
            with self.context.attached():
                yield self
        finally:
            # A generator may be closed in another context than it began in: what stands there stays.
            if SCOPE.get() is self.context:
                SCOPE.set(before)

    def end(self, error: BaseException | None = None, status: str | None = None) -> None:
        """End the root, at once, with what is known now."""
        self.lifecycle.end(error, status)

    def close(self) -> None:
        """Not for applications: use `end`. The lifecycle is over; the root ends when this has returned."""
        recording = self.lifecycle.recording
        if recording is not None:
            recording.close()
        if self.settings.record_source == "devices":
            self._leave_devices()
        registry.ended(self, self.lifecycle.resumption.handles, self._root.span)

    # What connections use.

    def connect(
        self,
        protocol: WireProtocol,
        attributes: Mapping[str, AttributeValue],
        *,
        kind: type[Connection] = Connection,
        wire_audio: WireAudio | None = None,
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
        audio = None
        if wire_audio is not None and self.settings.record_source == "wire" and self.recorder.status != "off":
            audio = wire_audio(self.recorder)
        connection = open_connection(self.lifecycle, protocol, self._clock, kind=kind, audio=audio)
        self.lifecycle.connected(connection, attributes, resumes=resumes)
        return connection

    def connect_failed(
        self, error: BaseException, attributes: Mapping[str, AttributeValue], *, resumes: bool = False
    ) -> None:
        """A handshake failed. In a scope, or while there is time to resume, the application may try again."""
        self.lifecycle.connect_failed(error, attributes, resumes=resumes)

    def claim_resumption(self, fingerprint: str) -> bool:
        """Whether this conversation issued that handle; it stays open for the connection that has it now."""
        return self.lifecycle.claim_resumption(fingerprint)

    def has_session(self, session_id: str) -> bool:
        """Whether one of its connections is in that session."""
        with self.lifecycle.lock:
            return any(each.session_id == session_id for each in self.lifecycle.connections.live)

    def keep_secrets(self, secrets: Iterable[str]) -> None:
        """None of these may get into the trace: what a client signs its requests with."""
        with self.lifecycle.lock:
            self._root.content.keep_secrets(secrets)

    # What delivers it asks.

    def attach(self) -> None:
        """From now on the spans of this context nest in this conversation."""
        self.lifecycle.attach()

    def flush(self, patience: float | None = None) -> None:
        """Write what happened until now. `patience`: seconds to wait for another thread that writes."""
        if patience is None:
            self.lifecycle.flush()
        else:
            self.lifecycle.flush(patience)

    def root_facts(self) -> dict[str, AttributeValue] | None:
        """The root's attributes as of now, for when the process dies; none after its end.

        None: another thread writes its spans at this event.
        """
        return self.lifecycle.checkpoint()

    def open_calls(self) -> dict[str, tuple[str, Span]]:
        """Name and span of each function call that waits for its answer, by call id."""
        with self.lifecycle.events.looked_at(CHECKPOINT_PATIENCE) as held:
            spans = self.lifecycle.spans
            return spans.calls.open() if held and spans is not None else {}

    def discard_after_fork(self) -> None:
        """Forget this conversation without writing anything: another process owns it."""
        self.recording = False
        self.lifecycle.discard_after_fork()
        if self.settings.record_source == "devices":
            self._leave_devices()


_warned_of_hidden_audio = False


def _warn_of_hidden_audio() -> None:
    global _warned_of_hidden_audio  # noqa: PLW0603  said once in a process
    if not _warned_of_hidden_audio:
        _warned_of_hidden_audio = True
        warn("voicespan attaches no recording: audio is not to be kept")
