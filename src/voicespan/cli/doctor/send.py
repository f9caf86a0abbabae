"""One marked conversation with a recording, the whole way: what became of it."""

from __future__ import annotations

import math
import struct
import time
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import TracerProvider

from voicespan.cli.doctor.findings import listening, note, ok, problem, warning
from voicespan.delivery.destination.handed_over import HandedOver
from voicespan.delivery.export.delivery_state import DeliveryState
from voicespan.delivery.processor import LangSmithSpanProcessor
from voicespan.delivery.spool import secure_file
from voicespan.delivery.spool.folder import PROGRESS, read_meta
from voicespan.delivery.spool.locks import KEPT
from voicespan.delivery.spool.spool import Spool
from voicespan.tracing.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voicespan.cli.doctor.findings import Finding, Surroundings

NAME, TAG = "voicespan doctor", "voicespan-doctor"
_WAIT_SECONDS = 30
#: Seconds that the deliverer has to send it, and those between two looks at whether it has.
_DELIVERER_SECONDS, _LOOK_EVERY = 30, 0.1
_RATE = 24_000
_CHECK = "send.conversation"
_MOST_FACTS = 1 << 24


def look(surroundings: Surroundings) -> Iterator[Finding]:
    """Hold it, deliver it, and say where it is now."""
    destination = surroundings.destination
    if destination is None:
        yield problem(_CHECK, "nothing is sent: there is no destination", "see Destination, above")
        return
    processor = LangSmithSpanProcessor(spool_dir=surroundings.spool_dir)
    if processor.destination is None:
        yield problem(_CHECK, "nothing is sent: LANGSMITH_TRACING switches delivery off", "unset it")
        return
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    began = time.monotonic()
    with listening() as heard:
        conversation, recorded = _hold(provider)
        processor.force_flush(_WAIT_SECONDS * 1000)
        spool = Spool(surroundings.spool, surroundings.clock)
        folder = _folder_of(spool, conversation)
        handed_over_at = time.monotonic()
        while folder is not None and isinstance(destination, HandedOver):
            if time.monotonic() - handed_over_at > _DELIVERER_SECONDS:
                break
            time.sleep(_LOOK_EVERY)
            folder = _folder_of(spool, conversation)
        # It stays in the spool if it has to: nobody need wait for it at the end.
        seconds = time.monotonic() - began
    server = destination.shown
    facts = {"trace_id": conversation.trace_id, "run_id": conversation.run_id}
    if folder is not None:
        yield _left(folder, server, facts, is_handed_over=isinstance(destination, HandedOver))
    elif heard:
        yield warning(
            _CHECK, f"{server} took it, but not whole: {heard[-1].getMessage()}", "see above", **facts
        )
    else:
        what = "with its recording" if recorded else "without a recording: VOICESPAN_RECORD says so"
        yield ok(
            _CHECK,
            f"{server} took a test conversation {what}, in {seconds:.1f} s: run {conversation.run_id}, "
            f"named {NAME!r}, tag {TAG}",
            **facts,
        )
        if destination.through_collector:
            yield note(
                "send.beyond",
                "a Collector without a queue, such as collector/gateway.yaml, has asked LangSmith first; whether one with a "
                "queue passed it on, its log says, and LangSmith shows it by its name",
            )


def _hold(provider: TracerProvider) -> tuple[Conversation, bool]:
    conversation = Conversation(
        NAME, tags=[TAG], metadata={"voicespan_doctor": True}, tracer_provider=provider
    )
    recorder = conversation.recorder
    recorder.user(_tone(440), _RATE)
    recorder.agent(_tone(550), _RATE)
    recorded = recorder.status not in ("off", "disabled")
    conversation.end()
    return conversation, recorded


def _tone(hertz: int) -> bytes:
    """Half a second of a quiet tone: PCM16, mono."""
    samples = (round(3000 * math.sin(2 * math.pi * hertz * n / _RATE)) for n in range(_RATE // 2))
    return b"".join(struct.pack("<h", sample) for sample in samples)


def _folder_of(spool: Spool, conversation: Conversation) -> Path | None:
    """Where it waits, if it does."""
    for path in (*spool.waiting(), *spool.kept()):
        meta = read_meta(path)
        if (
            meta is not None
            and meta.trace_id is not None
            and int(meta.trace_id, 16) == int(conversation.trace_id, 16)
        ):
            return path
    return None


def _left(folder: Path, server: str, facts: dict[str, str], *, is_handed_over: bool) -> Finding:
    try:
        state = DeliveryState.of(secure_file.read(folder, PROGRESS, _MOST_FACTS))
    except OSError:
        state = DeliveryState.of(None)
    if folder.name.startswith(KEPT):
        why = state.root_refused or "it took the trace, but not the recording"
        return problem(
            _CHECK,
            f"{server} did not take all of it: {why}",
            "the server's words say why; see Destination",
            **facts,
        )
    why = state.reason or f"no answer in {_WAIT_SECONDS} s"
    return problem(
        _CHECK,
        f"it waits in {folder.parent}, not sent to {server}: {why}",
        "is voicespan deliver running, with a key for it?"
        if is_handed_over
        else "see Destination and Spool, above; voicespan recover sends it when that is mended",
        **facts,
    )
