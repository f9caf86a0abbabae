"""Whole sessions of each provider, of our own writing, with the fields that the wire really has.

They are what the hostile frames are made of: a mutation of something plausible gets further into the code
than noise does. Each is a list of (from_client, frame).
"""

from __future__ import annotations

import base64
from typing import Any

Session = list[tuple[bool, dict[str, Any]]]

_PCM = base64.b64encode(b"\x01\x00" * 240).decode()
_FORMAT = {"type": "audio/pcm", "rate": 24000}


def _server(kind: str, **fields: Any) -> tuple[bool, dict[str, Any]]:
    return False, {"type": kind, "event_id": "event_1", **fields}


def _client(kind: str, **fields: Any) -> tuple[bool, dict[str, Any]]:
    return True, {"type": kind, "event_id": "event_client_1", **fields}


def _openai_session(kind: str) -> tuple[bool, dict[str, Any]]:
    return _server(
        kind,
        session={
            "type": "realtime",
            "object": "realtime.session",
            "id": "sess_1",
            "model": "gpt-realtime",
            "output_modalities": ["audio"],
            "instructions": "Be brief.",
            "tools": [{"type": "function", "name": "weather", "parameters": {"type": "object"}}],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "client_secret": {"value": "ek_1234567890abcdef", "expires_at": 1},
            "audio": {
                "input": {
                    "format": _FORMAT,
                    "transcription": {"model": "whisper-1", "language": "en"},
                    "turn_detection": {"type": "server_vad", "threshold": 0.5},
                },
                "output": {"format": _FORMAT, "voice": "marin", "speed": 1.0},
            },
        },
    )


def _usage() -> dict[str, Any]:
    return {
        "total_tokens": 30,
        "input_tokens": 20,
        "output_tokens": 10,
        "input_token_details": {
            "text_tokens": 5,
            "audio_tokens": 15,
            "cached_tokens": 4,
            "cached_tokens_details": {"text_tokens": 1, "audio_tokens": 3},
        },
        "output_token_details": {"text_tokens": 2, "audio_tokens": 8},
    }


def _spoken(item: str) -> Session:
    content = [{"type": "input_audio", "transcript": None}]
    message = {
        "id": item,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
    }
    return [
        (True, {"type": "input_audio_buffer.append", "audio": _PCM}),
        _server("input_audio_buffer.speech_started", item_id=item, audio_start_ms=120),
        (True, {"type": "input_audio_buffer.append", "audio": _PCM}),
        _server("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=900),
        _server("input_audio_buffer.committed", item_id=item, previous_item_id=None),
        _server("conversation.item.added", item={**message, "content": content}, previous_item_id=None),
        _server("conversation.item.done", item={**message, "content": content}, previous_item_id=None),
    ]


def _heard(item: str, text: str) -> Session:
    kind = "conversation.item.input_audio_transcription"
    return [
        _server(f"{kind}.delta", item_id=item, content_index=0, delta=text[:3]),
        _server(
            f"{kind}.completed",
            item_id=item,
            content_index=0,
            transcript=text,
            usage={"type": "duration", "seconds": 1.5},
            languages=[{"language": "en"}],
        ),
    ]


def _answered(response: str, item: str, text: str, *, beta: bool = False, cut: bool = False) -> Session:
    audio = "response.audio" if beta else "response.output_audio"
    ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
    message = {"id": item, "object": "realtime.item", "type": "message", "role": "assistant"}
    told = {"id": response, "object": "realtime.response", "conversation_id": "conv_1", "metadata": None}
    status = "cancelled" if cut else "completed"
    done = {
        **told,
        "status": status,
        "status_details": {"type": status, "reason": "turn_detected"} if cut else None,
        "output": [{**message, "status": status, "content": [{"type": "output_audio", "transcript": text}]}],
        "usage": _usage(),
    }
    session: Session = [
        _server("response.created", response={**told, "status": "in_progress", "output": [], "usage": None}),
        _server(
            "response.output_item.added",
            response_id=response,
            output_index=0,
            item={**message, "status": "in_progress", "content": []},
        ),
        _server(
            "conversation.item.added",
            previous_item_id="item_1",
            item={**message, "status": "in_progress", "content": []},
        ),
        _server("response.content_part.added", **ids, part={"type": "audio", "transcript": ""}),
        _server(f"{audio}_transcript.delta", **ids, delta=text[:4]),
        _server(f"{audio}.delta", **ids, delta=_PCM),
        _server(f"{audio}.delta", **ids, delta=_PCM),
        _server(f"{audio}_transcript.delta", **ids, delta=text[4:]),
    ]
    if cut:
        session += [
            _server("input_audio_buffer.speech_started", item_id="item_cut", audio_start_ms=2000),
            _client("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=400),
            _server("conversation.item.truncated", item_id=item, content_index=0, audio_end_ms=400),
            _server("output_audio_buffer.cleared", response_id=response),
        ]
    return [
        *session,
        _server(f"{audio}.done", **ids),
        _server(f"{audio}_transcript.done", **ids, transcript=text),
        _server("response.content_part.done", **ids, part={"type": "audio", "transcript": text}),
        _server("response.output_item.done", response_id=response, output_index=0, item=done["output"][0]),
        _server("response.done", response=done),
        _server("rate_limits.updated", rate_limits=[{"name": "tokens", "limit": 9, "remaining": 8}]),
    ]


def _function(response: str, item: str, call: str) -> Session:
    ids = {"response_id": response, "item_id": item, "output_index": 0, "call_id": call}
    item_of = {"id": item, "type": "function_call", "name": "weather", "call_id": call, "status": "completed"}
    item_of["arguments"] = '{"city": "Bern"}'
    output = {
        "type": "function_call_output",
        "call_id": call,
        "output": '{"degrees": 21}',
        "id": f"out_{item}",
    }
    return [
        _server("response.created", response={"id": response, "status": "in_progress", "output": []}),
        _server(
            "response.output_item.added", response_id=response, item={**item_of, "status": "in_progress"}
        ),
        _server("response.function_call_arguments.delta", **ids, delta='{"ci'),
        _server("response.function_call_arguments.done", **ids, name="weather", arguments='{"city": "Bern"}'),
        _server("response.output_item.done", response_id=response, item=item_of),
        _server(
            "response.done",
            response={"id": response, "status": "completed", "output": [item_of], "usage": _usage()},
        ),
        _client("conversation.item.create", item=output, previous_item_id=None),
        _client("response.create"),
        _server("conversation.item.added", item=output, previous_item_id=item),
        _server("conversation.item.done", item=output, previous_item_id=item),
    ]


_TYPED = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "Hello?"}, {"type": "input_image", "image_url": "data:,"}],
}
_MCP = {"id": "mcp_1", "type": "mcp_call", "name": "search", "server_label": "wiki", "arguments": "{}"}

OPENAI: dict[str, Session] = {
    "spoken": [
        _openai_session("session.created"),
        _client("session.update", session={"type": "realtime", "instructions": "Be kind."}),
        _openai_session("session.updated"),
        *_spoken("item_1"),
        *_answered("resp_1", "item_2", "Good morning to you."),
        *_heard("item_1", "Good morning"),
        *_spoken("item_3"),
        *_answered("resp_2", "item_4", "Let me tell you a story.", cut=True),
        *_heard("item_3", "Tell me a story"),
    ],
    "functions": [
        _openai_session("session.created"),
        *_spoken("item_1"),
        *_heard("item_1", "What is the weather?"),
        *_function("resp_1", "item_2", "call_1"),
        *_answered("resp_2", "item_5", "It is 21 degrees."),
        *_function("resp_3", "item_6", "call_2"),
    ],
    "beta": [
        _server(
            "session.created",
            session={
                "id": "sess_2",
                "model": "gpt-4o-realtime-preview",
                "voice": "alloy",
                "input_audio_format": "pcm16",
                "output_audio_format": "g711_ulaw",
                "input_audio_transcription": {"model": "whisper-1"},
                "turn_detection": {"type": "server_vad"},
            },
        ),
        _client("conversation.item.create", item=_TYPED),
        _client("response.create"),
        _server("conversation.item.created", item={"id": "item_1", **_TYPED}, previous_item_id=None),
        *_answered("resp_1", "item_2", "Hello to you.", beta=True),
        _server("response.output_text.done", response_id="resp_1", item_id="item_3", text="Written."),
    ],
    "rest": [
        _openai_session("session.created"),
        _server(
            "error", error={"type": "invalid_request_error", "code": "bad", "message": "no", "param": "x"}
        ),
        _server(
            "conversation.item.input_audio_transcription.failed",
            item_id="item_1",
            content_index=0,
            error={"type": "transcription_error", "message": "no"},
        ),
        _server("conversation.item.done", item={**_MCP, "status": "failed", "error": {"message": "no"}}),
        _server("mcp_list_tools.failed", item_id="mcp_2", error={"message": "no"}),
        _server("input_audio_buffer.dtmf_event_received", event="5", received_at=1),
        _server("input_audio_buffer.timeout_triggered", item_id="item_9", audio_start_ms=1, audio_end_ms=2),
        _client("input_audio_buffer.commit"),
        _client("input_audio_buffer.clear"),
        _server("input_audio_buffer.cleared"),
        _client("conversation.item.delete", item_id="item_9"),
        _server("conversation.item.deleted", item_id="item_9"),
        _client("response.cancel", response_id="resp_9"),
        _server("something.of.tomorrow", text="new", nested={"list": [1, 2.5, None, True]}),
    ],
}


def _content(**fields: Any) -> tuple[bool, dict[str, Any]]:
    return False, {"serverContent": fields}


def _speech() -> dict[str, Any]:
    return {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": _PCM}}


_SETUP: Session = [
    (
        True,
        {
            "setup": {
                "model": "models/gemini-live",
                "generationConfig": {
                    "responseModalities": ["AUDIO"],
                    "speechConfig": {
                        "languageCode": "en-US",
                        "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Puck"}},
                    },
                },
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
                "realtimeInputConfig": {"automaticActivityDetection": {"disabled": False}},
                "inputAudioTranscription": {},
                "outputAudioTranscription": {},
                "sessionResumption": {"handle": "handle-0"},
                "tools": [{"functionDeclarations": [{"name": "weather"}]}],
            }
        },
    ),
    (False, {"setupComplete": {"sessionId": "session-1"}}),
]
_METADATA = {
    "usageMetadata": {
        "promptTokenCount": 20,
        "responseTokenCount": 10,
        "totalTokenCount": 30,
        "cachedContentTokenCount": 3,
        "thoughtsTokenCount": 2,
        "toolUsePromptTokenCount": 1,
        "promptTokensDetails": [
            {"modality": "AUDIO", "tokenCount": 15},
            {"modality": "TEXT", "tokenCount": 5},
        ],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 10}],
        "trafficType": "ON_DEMAND",
    }
}
_MICROPHONE = (True, {"realtimeInput": {"audio": {"data": _PCM, "mimeType": "audio/pcm;rate=16000"}}})

GEMINI: dict[str, Session] = {
    "spoken": [
        *_SETUP,
        _MICROPHONE,
        (False, {"voiceActivity": {"voiceActivityType": "ACTIVITY_START", "audioOffset": "1s"}}),
        _content(inputTranscription={"text": "Good "}),
        _content(inputTranscription={"text": "morning", "languageCode": "en"}),
        (False, {"voiceActivity": {"voiceActivityType": "ACTIVITY_END"}}),
        _content(outputTranscription={"text": "Hello "}),
        _content(modelTurn={"parts": [_speech()]}),
        _content(modelTurn={"parts": [_speech()]}),
        _content(outputTranscription={"text": "you.", "finished": True}),
        _content(generationComplete=True),
        (False, {"serverContent": {"turnComplete": True}, **_METADATA}),
        (False, {"sessionResumptionUpdate": {"newHandle": "handle-1", "resumable": True}}),
        _MICROPHONE,
        _content(modelTurn={"parts": [{"text": "thinking", "thought": True}, _speech()]}),
        _content(interrupted=True, inputTranscription={"text": "wait"}),
        (False, {"serverContent": {"turnComplete": True, "turnCompleteReason": "NEED_MORE_INPUT"}}),
    ],
    "functions": [
        *_SETUP,
        (
            True,
            {"clientContent": {"turns": [{"role": "user", "parts": [{"text": "Hi"}]}], "turnComplete": True}},
        ),
        (
            False,
            {"toolCall": {"functionCalls": [{"id": "fc-1", "name": "weather", "args": {"city": "Bern"}}]}},
        ),
        (
            True,
            {
                "toolResponse": {
                    "functionResponses": [{"id": "fc-1", "name": "weather", "response": {"t": 1}}]
                }
            },
        ),
        (
            False,
            {
                "toolCall": {
                    "functionCalls": [
                        {"name": "weather", "args": {"city": "Rome"}},
                        {
                            "id": "fc-2",
                            "name": "story",
                            "partialArgs": [{"jsonPath": "$.about", "stringValue": "a d"}],
                            "willContinue": True,
                        },
                    ]
                }
            },
        ),
        (
            False,
            {
                "toolCall": {
                    "functionCalls": [
                        {
                            "id": "fc-2",
                            "name": "story",
                            "partialArgs": [{"jsonPath": "$.about", "stringValue": "og"}],
                            "willContinue": False,
                        }
                    ]
                }
            },
        ),
        (False, {"toolCallCancellation": {"ids": ["fc-2"]}}),
        (
            True,
            {
                "toolResponse": {
                    "functionResponses": [
                        {
                            "name": "weather",
                            "response": {"t": 2},
                            "willContinue": True,
                            "scheduling": "SILENT",
                        },
                        {"name": "weather", "response": {"t": 3}},
                    ]
                }
            },
        ),
        _content(modelTurn={"parts": [{"functionCall": {"id": "fc-3", "name": "weather", "args": {}}}]}),
        _content(
            modelTurn={"parts": [{"text": "It is "}, {"executableCode": {"code": "1", "language": "PYTHON"}}]}
        ),
        _content(modelTurn={"parts": [{"text": "warm."}]}, groundingMetadata={"webSearchQueries": ["bern"]}),
        (False, {"serverContent": {"turnComplete": True, "turnCompleteReason": "MALFORMED_FUNCTION_CALL"}}),
    ],
    "rest": [
        *_SETUP,
        (True, {"realtimeInput": {"text": "Hello?"}}),
        (True, {"realtimeInput": {"activityStart": {}}}),
        (True, {"realtimeInput": {"video": {"data": "AAAA", "mimeType": "image/jpeg"}}}),
        (True, {"realtimeInput": {"mediaChunks": [{"data": "AAAA", "mimeType": "image/png"}]}}),
        (True, {"realtimeInput": {"activityEnd": {}}}),
        (True, {"realtimeInput": {"audioStreamEnd": True}}),
        (False, {"voiceActivityDetectionSignal": {"vadSignalType": "VAD_SIGNAL_TYPE_SOS"}}),
        (False, _METADATA),
        (False, {"error": {"code": 500, "status": "INTERNAL", "message": "no"}}),
        (False, {"goAway": {"timeLeft": "10s"}}),
        (False, {"sessionResumptionUpdate": {"newHandle": "", "resumable": False}}),
        _content(modelTurn={"parts": [{"fileData": {"mimeType": "image/png"}, "thoughtSignature": "AAAA"}]}),
        (False, {"somethingOfTomorrow": {"text": "new", "nested": [1, 2.5, None, True]}}),
        _content(waitingForInput=True, urlContextMetadata={"urlMetadata": []}),
    ],
}


def _live_session(kind: str, **fields: Any) -> tuple[bool, dict[str, Any]]:
    session = {
        "id": "live_1",
        "model": "gpt-live-1",
        "status": "active",
        "expires_at": 1,
        "instructions": "Be brief.",
        "audio": {"format": _FORMAT, "output": {"voice": {"id": "marin"}}},
        "delegation": {"type": "responses", "responses": {"model": "gpt-5", "tools": []}},
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}],
        "store": True,
        "triggers": [],
    }
    return _server(kind, session=session, **fields)


def _words(side: str, words: str, start_ms: int) -> tuple[bool, dict[str, Any]]:
    return _server(f"session.{side}_transcript.delta", delta=words, start_ms=start_ms, end_ms=start_ms + 300)


def _delegation(target: str, item: str) -> tuple[bool, dict[str, Any]]:
    told = {"id": item, "type": "delegation", "target": target, "response_id": "resp_1"}
    return _server("session.delegation.created", offset_ms=900, delegation=told)


def _nested(kind: str, **fields: Any) -> tuple[bool, dict[str, Any]]:
    return _server("response.event", delegation_id="item_1", event={"type": kind, **fields})


def _backend(status: str, **fields: Any) -> tuple[bool, dict[str, Any]]:
    usage = {
        "input_tokens": 5,
        "output_tokens": 3,
        "total_tokens": 8,
        "input_tokens_details": {"cached_tokens": 1},
    }
    response = {"id": "resp_1", "status": status, "model": "gpt-5", "output": [], "usage": usage, **fields}
    return _nested(f"response.{status}", response=response)


_LIVE_CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "weather",
    "arguments": "{}",
    "status": "completed",
}
_LIVE_CLOSED = _server(
    "session.closed", reason="close_requested", usage={"seconds": 12.5}, session={"id": "live_1"}
)

LIVE: dict[str, Session] = {
    "spoken": [
        _client("session.start", session={"model": "gpt-live-1"}),
        _live_session("session.started"),
        _client("session.input_audio.append", audio=_PCM),
        _server("session.output_audio.delta", delta=_PCM),
        _words("input", "Good", 100),
        _words("output", "Hello", 300),
        _words("input", " morning", 450),
        _server("session.output_audio.delta", delta=_PCM, start_ms=0, end_ms=100),
        _words("output", " you.", 1900),
        _client("session.thinking.append", content="It rains.", delegation_id=None),
        _server("session.thinking.appended", client_event_id="event_client_1", start_ms=2000, end_ms=2100),
        _client("session.output_audio.fixture.play", audio=_PCM),
        _server("session.output_audio.fixture.playing", client_event_id="event_client_1"),
        _server("session.output_audio.fixture.played", client_event_id="event_client_1"),
        _server("session.usage.updated", usage={"seconds": 5.0}, context_window={"usage_ratio": 0.25}),
        _client("session.close"),
        _LIVE_CLOSED,
    ],
    "delegated": [
        _live_session("session.started"),
        _words("input", "How is the weather?", 100),
        _delegation("responses", "item_1"),
        _nested("response.created", response={"id": "resp_1", "status": "in_progress"}),
        _nested("response.output_item.added", item={"id": "ws_1", "type": "web_search_call"}),
        _nested("response.output_item.done", item={"id": "ws_1", "type": "web_search_call", "status": "completed"}),
        _nested("response.output_item.done", item=_LIVE_CALL),
        _backend("completed"),
        _client("response.item.create", item={"type": "function_call_output", "call_id": "call_1", "output": "foggy"}),
        _server("error", error={"type": "invalid", "code": "no", "message": "no", "client_event_id": "event_client_1"}),
        _client("response.item.create", item={"type": "function_call_output", "call_id": "call_1", "output": "fog"}),
        _client("response.create"),
        _nested("response.created", response={"id": "resp_2", "status": "in_progress"}),
        _nested("response.output_text.delta", item_id="msg_1", delta="It is "),
        _nested("response.output_text.done", item_id="msg_1", text="It is foggy."),
        _backend("failed", id="resp_2", error={"code": "server_error", "message": "no"}),
        _LIVE_CLOSED,
    ],
    "rest": [
        _live_session("session.started"),
        _delegation("client", "item_2"),
        _client("session.commentary.append", content="Done.", delegation_id="item_2"),
        _server("session.commentary.appended", client_event_id="event_client_1", start_ms=1, end_ms=2),
        _delegation("decisions", "item_3"),
        _server(
            "decision.event",
            delegation_id="item_3",
            event={"type": "decision.completed", "decision": {"id": "d_1", "answers": [{"value": "yes"}], "model": "gpt-5"}},
        ),
        _server("transport.dtmf.received", event="5"),
        _client("transport.dtmf.send", event="6"),
        _server("transport.failed", error={"type": "call_error", "code": "busy", "message": "no"}),
        _server("session.input_audio.muted"),
        _live_session("session.updated"),
        _server("something.of.tomorrow", text="new", nested={"list": [1, 2.5, None, True]}),
        _server("session.closed", reason="content", usage={"seconds": 1}, session={"id": "live_1"}),
        _live_session("session.started"),
    ],
}  # fmt: skip
