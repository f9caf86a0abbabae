"""What is known of the job that a session runs in: its room, its caller."""

from __future__ import annotations

import sys
from typing import Any

#: Of a room's name or a participant's identity.
_LONGEST = 200


def _job_context() -> Any:
    job = sys.modules.get("livekit.agents.job")
    if job is None:
        return None
    try:
        return job.get_job_context()
    except RuntimeError:
        # Outside of a job: in a script, or in text mode.
        return None


def thread_of() -> str | None:
    """What groups conversations: the room. That of the console is nobody's: each time it is named the same."""
    context = _job_context()
    if context is None or getattr(context, "is_fake_job", bool)():
        return None
    return _text(getattr(context.job.room, "name", None))


def facts_of(session: Any) -> dict[str, Any]:
    """For the root: names and ids, nothing that was said."""
    facts: dict[str, Any] = {"framework": "livekit-agents"}
    for name in ("llm", "stt", "tts"):
        model = getattr(session, name, None)
        if model is not None:
            facts[f"livekit_{name}"] = _text(getattr(model, "label", None) or type(model).__module__)
    context = _job_context()
    if context is not None:
        job = context.job
        facts.update(
            livekit_job_id=_text(job.id),
            livekit_agent_name=_text(getattr(job, "agent_name", None)),
            livekit_room=_text(job.room.name),
            livekit_room_sid=_text(job.room.sid),
        )
    return {name: fact for name, fact in facts.items() if fact is not None}


def participant_facts(session: Any) -> dict[str, Any]:
    """Who is on the other side, once somebody is."""
    room_io = getattr(session, "_room_io", None)
    participant = getattr(room_io, "linked_participant", None) or getattr(
        room_io, "_participant_identity", None
    )
    identity = _text(getattr(participant, "identity", participant))
    return {} if identity is None else {"livekit_participant": identity}


def _text(value: Any) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) and value else None
