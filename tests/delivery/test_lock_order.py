"""The order of our locks, as ARCHITECTURE.md has it, held by locks that know their rank."""

from __future__ import annotations

import json
import sys
import threading

import pytest
from opentelemetry.sdk.trace import SpanProcessor

from voicespan.openai_realtime.protocol import Protocol

#: Outermost first: while a thread holds one, it takes none of a lower rank. By the module that makes the lock.
RANKS = {
    "voicespan.tracing.event_queue": 1,
    "voicespan.tracing.lifecycle": 2,
    "voicespan.delivery.conversation_processor": 3,
    "voicespan.delivery.traces": 3,
    "voicespan.delivery.attachments": 3,
    "voicespan.delivery.export.scheduler": 3,
    "voicespan.delivery.spool.files": 4,
    "voicespan.recording.recording_writer": 4,
}


class RankedLock:
    """A lock that notes who takes it while holding one that comes after it."""

    held = threading.local()

    def __init__(self, lock, module, wrong):
        self._lock, self._module, self._wrong = lock, module, wrong
        #: The locks of the thread that has it: a latch is let go by another.
        self._among = []

    def acquire(self, *args, **kwargs):
        mine = self.held.__dict__.setdefault("locks", [])
        if self not in mine:
            later = {each._module for each in mine if RANKS[each._module] > RANKS[self._module]}
            self._wrong.update((each, self._module) for each in later)
        taken = self._lock.acquire(*args, **kwargs)
        if taken:
            mine.append(self)
            self._among = mine
        return taken

    def release(self):
        mine = self._among
        # The last of them: a re-entrant lock stands here as often as it was taken.
        del mine[len(mine) - 1 - mine[::-1].index(self)]
        self._lock.release()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self.release()

    def __getattr__(self, name):
        return getattr(self._lock, name)


@pytest.fixture
def ranks(monkeypatch):
    """What took locks in the wrong order, and the modules whose locks were made meanwhile."""
    wrong, made = set(), set()
    plain = threading.Lock

    def ranked(original):
        def make():
            module = sys._getframe(1).f_globals.get("__name__")
            # The plain lock of an attachment is a latch: it says that the folder is being made.
            if module not in RANKS or (module.endswith("attachments") and original is plain):
                return original()
            made.add(module)
            return RankedLock(original(), module, wrong)

        return make

    monkeypatch.setattr(threading, "Lock", ranked(threading.Lock))
    monkeypatch.setattr(threading, "RLock", ranked(threading.RLock))
    return wrong, made


def call(voice):
    conversation = voice.conversation()
    conversation.recorder.user(bytes(48_000), 24_000)
    connection = conversation.connect(Protocol(), {"gen_ai.provider.name": "openai"})
    item = {"type": "function_call", "id": "i", "call_id": "c", "name": "look_up", "arguments": "{}"}
    answer = {"type": "function_call_output", "call_id": "c", "output": "{}"}
    for event in (
        {"type": "response.created", "response": {"id": "r", "status": "in_progress"}},
        {"type": "response.output_item.done", "response_id": "r", "item": item},
        {"type": "response.done", "response": {"id": "r", "status": "completed", "output": [item]}},
    ):
        connection.received(json.dumps(event).encode())
    with conversation.tool_call("c"):
        conversation.recorder.agent(bytes(48_000), 24_000)
    connection.sent(json.dumps({"type": "conversation.item.create", "item": answer}))
    conversation.set_metadata(campaign="autumn")
    conversation.attach_recording(b"OggS", "audio/ogg")
    connection.closed(1000)
    conversation.end()


class UsesItsConversation(SpanProcessor):
    """A user's processor, which may call what it likes while it hears of a span."""

    def on_end(self, span):
        import voicespan

        conversation = voicespan.current_conversation()
        if conversation is not None:
            conversation.set_metadata(last=span.name)


def test_a_call_takes_its_locks_in_order(agent, langsmith_server, ranks):
    wrong, made = ranks
    voice = agent()
    voice.provider.add_span_processor(UsesItsConversation())
    calls = [threading.Thread(target=call, args=(voice,)) for _ in range(3)]
    for each in calls:
        each.start()
    for each in calls:
        each.join()
    assert voice.deliver()
    assert len(langsmith_server.roots) == 3
    assert made == set(RANKS)
    assert wrong == set()


def test_the_wrong_order_is_seen(ranks):
    from voicespan.delivery.spool.files import Memory
    from voicespan.tracing.event_queue import EventQueue

    wrong, _ = ranks
    outer, inner = EventQueue(None), Memory(1)
    with outer.lock, inner._lock:
        pass
    assert wrong == set()
    with inner._lock, outer.lock:
        pass
    assert wrong == {("voicespan.delivery.spool.files", "voicespan.tracing.event_queue")}
