"""The services of a cascade answer the real client as OpenAI's do."""

from __future__ import annotations

import asyncio
import io
import json

import openai
import pytest
import soundfile as sf
from openai import AsyncOpenAI, OpenAI

from voicespan.testing import CascadeServer
from voicespan.testing.cascade import Completion, FunctionCall, Speech, Transcript

TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
]
ASK = [{"role": "user", "content": "What is the weather?"}]


def client(server, **more):
    return OpenAI(api_key="test", base_url=server.url, max_retries=0, **more)


def spoken(client, text="What is the weather?"):
    return client.audio.speech.create(model="tts-1", voice="nova", input=text, response_format="wav").content


@pytest.fixture
def server():
    with CascadeServer([Completion("It is sunny.")], ["What is the weather?"]) as started:
        yield started


@pytest.mark.parametrize("encoding", ["wav", "flac", "mp3", "opus"])
def test_a_text_is_audio_as_long_as_it_takes_to_say_it(server, encoding):
    with client(server) as c:
        answer = c.audio.speech.create(model="tts-1", voice="nova", input="x" * 20, response_format=encoding)
    samples, rate = sf.read(io.BytesIO(answer.content))
    assert len(samples) / rate == pytest.approx(1.2, abs=0.1)


def test_speech_streams(server):
    with client(server) as c:
        with c.audio.speech.with_streaming_response.create(
            model="tts-1", voice="nova", input="x" * 20, response_format="pcm"
        ) as answer:
            sizes = [len(piece) for piece in answer.iter_bytes()]
    assert len(sizes) > 1
    assert sum(sizes) == 24_000 * 2 * 1.2


def test_what_speaks_has_words_and_silence_has_none(server):
    with client(server) as c:
        silence = io.BytesIO()
        sf.write(silence, [0.0] * 24_000, 24_000, format="WAV")
        nothing = c.audio.transcriptions.create(model="whisper-1", file=("s.wav", silence.getvalue()))
        heard = c.audio.transcriptions.create(model="gpt-4o-transcribe", file=("s.wav", spoken(c)))
    assert (nothing.text, nothing.usage.seconds) == ("", 1)
    assert (heard.text, heard.usage.output_tokens) == ("What is the weather?", 4)


def test_transcription_streams(server):
    with client(server) as c:
        stream = c.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=("s.wav", spoken(c)), stream=True
        )
        events = list(stream)
    assert [event.type for event in events] == ["transcript.text.delta"] * 4 + ["transcript.text.done"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text


def test_an_answer_streams_as_it_comes_whole():
    calls = [FunctionCall("weather", {"city": "Paris"}), FunctionCall("weather", {"city": "Rome"})]
    answers = [Completion("One moment.", calls)] * 2
    with CascadeServer(answers) as server, client(server) as c:
        whole = c.chat.completions.create(model="gpt-5", messages=ASK, tools=TOOLS)
        stream = c.chat.completions.create(
            model="gpt-5", messages=ASK, tools=TOOLS, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    text = "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)
    assert text == whole.choices[0].message.content == "One moment."
    arguments = {}
    for chunk in chunks:
        for call in (chunk.choices[0].delta.tool_calls or ()) if chunk.choices else ():
            arguments[call.index] = arguments.get(call.index, "") + call.function.arguments
    assert [json.loads(value) for value in arguments.values()] == [{"city": "Paris"}, {"city": "Rome"}]
    assert [call.function.arguments for call in whole.choices[0].message.tool_calls] == list(
        arguments.values()
    )
    assert chunks[-1].usage == whole.usage
    assert whole.choices[0].finish_reason == chunks[-2].choices[0].finish_reason == "tool_calls"


def test_tool_messages_must_answer_tool_calls(server):
    with client(server) as c, pytest.raises(openai.BadRequestError, match="preceeding message"):
        c.chat.completions.create(
            model="gpt-5", messages=[*ASK, {"role": "tool", "tool_call_id": "c", "content": "sunny"}]
        )


def test_failures_come_as_ordered(server):
    server.fail("transcriptions", status=429, headers={"Retry-After": "1"})
    server.fail("speech", status=None)
    with client(server) as c:
        with pytest.raises(openai.APIConnectionError):
            spoken(c)
        audio = spoken(c)
        with pytest.raises(openai.RateLimitError):
            c.audio.transcriptions.create(model="whisper-1", file=("s.wav", audio))
        assert c.audio.transcriptions.create(model="whisper-1", file=("s.wav", audio)).text
    assert [request.status for request in server.asked("transcriptions")] == [429, 200]


def test_an_answer_breaks_off_in_the_middle(server):
    server.fail("completions", after=2)
    with client(server) as c:
        stream = c.chat.completions.create(model="gpt-5", messages=ASK, stream=True)
        with pytest.raises(openai.APIConnectionError):
            list(stream)


async def test_who_goes_away_in_the_middle_ends_the_answer():
    with CascadeServer([Completion("one two three", pause_after=1)]) as server:
        async with AsyncOpenAI(api_key="test", base_url=server.url) as c:
            stream = await c.chat.completions.create(model="gpt-5", messages=ASK, stream=True)
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
            await stream.close()
        for _ in range(200):
            if server.requests[0].broken_off:
                break
            await asyncio.sleep(0.01)
        assert server.requests[0].broken_off


def test_a_paused_answer_goes_on_when_it_is_released():
    with (
        CascadeServer([Completion("one two three", pause_after=2)], speech=[Speech(0.5)]) as server,
        client(server) as c,
    ):
        words = []
        for chunk in c.chat.completions.create(model="gpt-5", messages=ASK, stream=True):
            words.append(chunk.choices[0].delta.content or "")
            if len(words) == 3:
                server.release()
    assert "".join(words) == "one two three"


def test_one_answer_too_few_is_the_tests_failure():
    with pytest.raises(AssertionError, match="no answer left"):
        with CascadeServer([], [Transcript("x")]) as server, client(server) as c:
            with pytest.raises(openai.InternalServerError):
                c.chat.completions.create(model="gpt-5", messages=ASK)
