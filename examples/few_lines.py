"""The shortest way: one call, and every conversation of this process is in LangSmith.

Needs voicespan[openai], OPENAI_API_KEY and LANGSMITH_API_KEY.
"""

from __future__ import annotations

from openai import OpenAI

import voicespan

voicespan.configure()

with OpenAI().realtime.connect(model="gpt-realtime") as connection:
    connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
    connection.conversation.item.create(
        item={
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Good morning! Are you open today?"}],
        }
    )
    connection.response.create()
    for event in connection:
        if event.type == "response.output_text.delta":
            print(event.delta, end="", flush=True)
        elif event.type == "response.done":
            print()
            break
