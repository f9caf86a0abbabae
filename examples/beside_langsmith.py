"""The langsmith package's own tracing and voicespan in one process: each sends what is its own.

Needs voicespan[openai], OPENAI_API_KEY, LANGSMITH_API_KEY and LANGSMITH_TRACING=true.
"""

from __future__ import annotations

from langsmith import traceable
from openai import OpenAI

import voicespan

voicespan.configure()


@traceable
def summarize(words: list[str]) -> str:
    """What the call was about: a run of its own, sent by the langsmith package."""
    return " ".join(words)[:200]


said = []
with OpenAI().realtime.connect(model="gpt-realtime") as connection:
    connection.response.create()
    for event in connection:
        if event.type == "response.output_audio_transcript.done":
            said.append(event.transcript)
        elif event.type == "response.done":
            break

print(summarize(said))
