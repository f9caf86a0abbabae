"""No token stands in two details of LangSmith's copy: it prices each detail, and the rest at the base price."""

from __future__ import annotations

import json

from voicespan.openai_realtime.protocol import Protocol


def test_no_token_stands_in_two_details_and_the_counts_of_opentelemetry_stay(agent, langsmith_server):
    voice = agent()
    conversation = voice.conversation()
    connection = conversation.connect(Protocol(), {"gen_ai.provider.name": "openai"})
    cached = {"text_tokens": 1300, "audio_tokens": 7000}
    usage = {
        "total_tokens": 9000,
        "input_tokens": 9000,
        "output_tokens": 0,
        "input_token_details": {
            "text_tokens": 1400,
            "audio_tokens": 7600,
            "cached_tokens": 8300,
            "cached_tokens_details": cached,
        },
    }
    response = {"id": "r1", "status": "completed", "output": [], "usage": usage}
    connection.received(
        json.dumps({"type": "response.created", "response": {**response, "usage": None}}).encode()
    )
    connection.received(json.dumps({"type": "response.done", "response": response}).encode())
    connection.closed(1000)
    conversation.end()
    assert voice.deliver()
    (turn,) = langsmith_server.roots[0].children
    details = turn.usage["input_token_details"]
    assert sum(details.values()) == turn.usage["input_tokens"] == 9000
    assert details["cache_read"] == 8300
