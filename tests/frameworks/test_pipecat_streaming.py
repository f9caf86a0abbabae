"""A Pipecat bot whose services stream over connections of their own: nobody says which sound is of which text."""

from __future__ import annotations

import pytest

pytest.importorskip(
    "pipecat.pipeline.task", reason="in an environment of its own: tests/compat/run.py pipecat"
)

from frameworks_trace import named, seconds_of, shape, tracks, voiced, words

from voicespan.testing.cascade import CascadeServer, Completion, FunctionCall

CALLED = Completion(calls=[FunctionCall("weather", {"city": "London"})])
FOG = "It is foggy in London. Take a coat with you."
BYE = "Good bye! And come back soon."


@pytest.mark.parametrize("given", ["sentences", "tokens"])
def test_what_is_spoken_of_an_answer_is_one_call(run, the_trace, given):
    with CascadeServer([CALLED, FOG, BYE]) as services:
        printed = run("pipecat_streaming.py", services.url, given)
    root, _ = the_trace()
    assert [name for name, _ in shape(root)] == [
        "stt",
        "llm",
        "function_call: weather",
        "llm",
        "tts",
        "stt",
        "llm",
        "tts",
    ]
    assert words(root) == [
        ("user", "How is the weather in London?"),
        ("tool", '{"weather": "foggy in London"}'),
        ("assistant", FOG),
        ("user", "Thanks a lot."),
        ("assistant", BYE),
    ]
    for spoken, text in zip(named(root, "tts"), (FOG, BYE), strict=True):
        assert spoken.inputs["messages"][0]["content"] == text
        assert spoken.metadata["characters"] == len(text)
        assert spoken.metadata["audio_seconds"] == pytest.approx(seconds_of(text), abs=0.15)
        assert 90 < spoken.metadata["time_to_first_byte_ms"] < 1_000
        assert {"stt_ms", "llm_ms", "tts_ms", "response_gap_ms"} <= set(spoken.metadata)
    heard, _ = named(root, "stt")
    assert (heard.metadata["ls_model_name"], heard.metadata["language"]) == ("ears-2", "en")
    _, agent = tracks(root)
    assert voiced(agent) == pytest.approx(float(printed.split()[-1]), abs=0.15)
    assert (root.status, root.metadata["status"]) == ("success", "completed")


def test_a_barge_in(run, the_trace):
    story = "Once upon a time there was a fox. He lived in a wood near an old mill."
    with CascadeServer([story, "All right."]) as services:
        run("pipecat_streaming.py", services.url, "sentences", "barge-in")
    root, _ = the_trace()
    (cut,) = named(root, "interrupted")
    assert cut.metadata["generated_ms"] == pytest.approx(seconds_of(story) * 1000, abs=150)
    assert 400 < cut.metadata["heard_ms"] < 2_500
    assert words(root)[-1] == ("assistant", "All right.")
