"""LiveKit agents, unchanged, under `opentelemetry-instrument`: an `AgentSession` is one conversation."""

from __future__ import annotations

import io
import json

import pytest

pytest.importorskip("livekit.agents", reason="in an environment of its own: tests/compat/run.py livekit")
pytest.importorskip("livekit.plugins.openai")

from speech_services import PACE, SpeechServices


def shape(root):
    return [(run.name, [child.name for child in run.children]) for run in root.children]


def words(root):
    messages = [*root.inputs.get("messages", ()), *root.outputs.get("messages", ())]
    return [(message["role"], message["content"].strip()) for message in messages if message.get("content")]


def named(root, name):
    return [run for _, run in root.walk() if run.name == name]


def test_a_session_in_text_mode_with_parallel_tools(run, the_trace):
    both = [("weather", {"city": "London"}), ("weather", {"city": "Paris"})]
    with SpeechServices([], [both, "It is foggy in both.", "Good bye!"]) as services:
        run("livekit_text.py", services.url, "How is the weather in London and Paris?", "Thanks.")
    root, _ = the_trace()
    assert shape(root) == [
        ("llm", []),
        ("function_call: weather", ["look up London"]),
        ("function_call: weather", ["look up Paris"]),
        ("llm", []),
        ("llm", []),
    ]
    asked, _, paris, answered, _ = root.children
    assert (asked.run_type, paris.run_type) == ("llm", "tool")
    assert "foggy in Paris" in json.dumps(paris.outputs)
    assert len(json.dumps(answered.inputs)) < 400  # what the call before was given stands there
    assert asked.metadata["ls_model_name"] == "gpt-4.1"
    assert (asked.usage["input_tokens"], asked.usage["output_tokens"]) == (20, 7)
    assert words(root) == [
        ("user", "How is the weather in London and Paris?"),
        ("tool", "foggy in London"),
        ("tool", "foggy in Paris"),
        ("assistant", "It is foggy in both."),
        ("user", "Thanks."),
        ("assistant", "Good bye!"),
    ]
    assert root.metadata["ls_modality"] == "audio"
    assert root.metadata["function_call_count"] == 2
    assert (root.status, root.error) == ("success", None)


def test_a_handoff_and_a_tool_that_fails(run, the_trace):
    answers = [[("broken", {})], "Sorry.", [("to_billing", {})], "Here is billing."]
    with SpeechServices([], answers) as services:
        run("livekit_text.py", services.url, "Open the shop.", "Then let me talk to billing.")
    root, _ = the_trace()
    (failed,), (handed_over,) = named(root, "function_call: broken"), named(root, "function_call: to_billing")
    assert failed.status == "error"
    assert "Transferring you." in json.dumps(handed_over.outputs)
    assert ("assistant", "Here is billing.") in words(root)
    assert root.status == "success"


def test_a_call_is_recorded_as_it_was_heard(run, the_trace):
    answer = "It is foggy in London."
    heard = ["How is the weather in London?", "Thanks a lot."]
    with SpeechServices(heard, [[("weather", {"city": "London"})], answer, "Good bye!"]) as services:
        run("livekit_cascade.py", services.url)
    root, _ = the_trace()
    assert shape(root) == [
        ("stt", []),
        ("llm", []),
        ("function_call: weather", ["look up"]),
        ("llm", []),
        ("tts", []),
        ("stt", []),
        ("llm", []),
        ("tts", []),
    ]
    assert words(root) == [
        ("user", "How is the weather in London?"),
        ("tool", "foggy in London"),
        ("assistant", answer),
        ("user", "Thanks a lot."),
        ("assistant", "Good bye!"),
    ]
    first, _ = named(root, "tts")
    assert first.metadata["voice"] == "ash"
    assert first.metadata["response_gap_ms"] > 0
    assert {"stt_ms", "llm_ms", "tool_ms", "tts_ms"} <= set(first.metadata)
    user, agent = tracks(root)
    assert voiced(agent) == pytest.approx(PACE * (len(answer) + len("Good bye!")), abs=0.1)
    assert voiced(user) == pytest.approx(1.0, abs=0.1)


def test_a_barge_in(run, the_trace):
    story = "Once upon a time there was a fox who lived in a wood near an old mill."
    with SpeechServices(["Tell me a story.", "Stop it."], [story, "All right."]) as services:
        said = run("livekit_cascade.py", services.url, "barge-in")
    (position, interrupted), *_ = eval(said.partition("heard ")[2])
    assert interrupted
    root, _ = the_trace()
    (cut,) = named(root, "interrupted")
    assert cut.metadata["heard_ms"] == pytest.approx(position * 1000, abs=2)
    assert cut.metadata["generated_ms"] == pytest.approx(PACE * len(story) * 1000, abs=50)
    assert root.metadata["interruption_count"] == 1
    _, agent = tracks(root)
    assert voiced(agent) == pytest.approx(position + PACE * len("All right."), abs=0.15)


def tracks(root):
    """The two sides of the recording, and its rate."""
    soundfile = pytest.importorskip("soundfile")
    (attachment,) = root.attachments.values()
    samples, rate = soundfile.read(io.BytesIO(attachment.read()))
    return (samples[:, 0], rate), (samples[:, 1], rate)


def voiced(track):
    """Seconds in which a side was heard."""
    import numpy as np

    samples, rate = track
    blocks = samples[: len(samples) // (rate // 100) * (rate // 100)].reshape(-1, rate // 100)
    return float((np.abs(blocks).max(axis=1) > 0.05).sum()) / 100
