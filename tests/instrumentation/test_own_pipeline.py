"""A pipeline of one's own with the real client, unchanged: what becomes of it when a call goes as calls go."""

from __future__ import annotations

import asyncio
import contextlib
import json

import numpy as np
import openai
import pytest
from openai import AsyncOpenAI
from span_content import came, given

from voicespan.recording.recording_thread import RecordingThread
from voicespan.runtime.settings import Settings
from voicespan.testing import CascadeServer
from voicespan.testing.cascade import Completion, FunctionCall, Speech, audio
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.conversation_recording import ConversationRecorder

META = "langsmith.metadata."
TURN = audio.encoded(audio.hum(1.0, "ash"), "wav")
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
]
CITIES = [FunctionCall("weather", {"city": "Paris"}), FunctionCall("weather", {"city": "Rome"})]


class Pipeline:
    """What people write: turn by turn, streaming, tools at the same time, cancelled by a barge-in."""

    def __init__(self, client, conversation, tracer):
        self.client, self.conversation, self.tracer = client, conversation, tracer
        self.history = [{"role": "system", "content": "Be brief."}]
        self.spoken = asyncio.Event()
        self.running = asyncio.Event()
        self.tool_seconds = 0.0

    async def turn(self, wav=TURN):
        async with self.conversation.stt(model="whisper-1", language="en") as stt:
            heard = await self.client.audio.transcriptions.create(model="whisper-1", file=("turn.wav", wav))
            stt.output(heard.text)
        if not heard.text:
            return None
        self.history.append({"role": "user", "content": heard.text})
        words = await self.think()
        await self.speak(words)
        return words

    async def think(self):
        while True:
            text, calls = "", {}
            async with self.conversation.llm(model="gpt-5", messages=self.history, provider="openai") as llm:
                stream = await self.client.chat.completions.create(
                    model="gpt-5",
                    messages=self.history,
                    tools=TOOLS,
                    stream=True,
                    stream_options={"include_usage": True},
                )
                async with stream:
                    async for chunk in stream:
                        if chunk.usage is not None:
                            llm.usage(
                                input_tokens=chunk.usage.prompt_tokens,
                                output_tokens=chunk.usage.completion_tokens,
                            )
                        for choice in chunk.choices:
                            if choice.delta.content:
                                llm.delta(choice.delta.content)
                                text += choice.delta.content
                            for call in choice.delta.tool_calls or ():
                                known = calls.setdefault(call.index, call)
                                if known is not call:
                                    known.function.arguments += call.function.arguments
                llm.output(tool_calls=calls.values())
            if not calls:
                self.history.append({"role": "assistant", "content": text})
                return text
            asked = [each.model_dump(exclude={"index"}) for each in calls.values()]
            self.history.append({"role": "assistant", "content": text or None, "tool_calls": asked})
            results = await asyncio.gather(*(self.run(each) for each in calls.values()))
            for each, result in zip(calls.values(), results, strict=True):
                self.history.append({"role": "tool", "tool_call_id": each.id, "content": result})

    async def run(self, call):
        with self.conversation.tool_call(call.id):
            with self.tracer.start_as_current_span("GET weather"):
                self.running.set()
                await asyncio.sleep(self.tool_seconds)
            return f"sunny in {json.loads(call.function.arguments)['city']}"

    async def speak(self, words):
        async with self.conversation.tts(words, model="tts-1", voice="nova") as tts:
            size = 0
            asking = self.client.audio.speech.with_streaming_response.create(
                model="tts-1", voice="nova", input=words, response_format="pcm"
            )
            async with asking as response:
                async for piece in response.iter_bytes():
                    tts.first_byte()
                    self.conversation.recorder.agent(piece, audio.RATE)
                    size += len(piece)
                    tts.output(seconds=size / 48_000)
                    self.spoken.set()


@pytest.fixture
async def pipelines(tracer_provider):
    """Makes pipelines on a server; their conversations and clients are closed at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(server):
            client = await stack.enter_async_context(
                AsyncOpenAI(api_key="t", base_url=server.url, max_retries=0)
            )
            conversation = Conversation(tracer_provider=tracer_provider, settings=Settings(), scoped=True)
            stack.callback(conversation.end)
            return Pipeline(client, conversation, tracer_provider.get_tracer("app"))

        yield make


@pytest.fixture
def spans(span_exporter):
    def named(name, conversation=None):
        found = sorted(span_exporter.get_finished_spans(), key=lambda span: span.start_time)
        trace_id = None if conversation is None else int(conversation.trace_id, 16)
        return [span for span in found if span.name == name and trace_id in (None, span.context.trace_id)]

    return named


def facts(span):
    return {key.removeprefix(META): value for key, value in span.attributes.items()}


def transcript(root):
    messages = [each for part in (given(root), came(root)) if part for each in part["messages"]]
    return [(each["role"], each["content"]) for each in messages]


async def test_a_question_with_parallel_tools(pipelines, spans):
    answers = [Completion(calls=CITIES), Completion("Sunny in both.")]
    with CascadeServer(answers, ["Paris and Rome?"]) as server:
        pipeline = await pipelines(server)
        assert await pipeline.turn() == "Sunny in both."
        pipeline.conversation.end()
    (root,), (first, second), (tts,) = spans("conversation"), spans("llm"), spans("tts")
    paris, rome = spans("function_call: weather")
    assert {span.parent.span_id for span in (first, second, tts, paris, rome)} == {root.context.span_id}
    assert [span.parent.span_id for span in spans("GET weather")] == [
        paris.context.span_id,
        rome.context.span_id,
    ]
    assert came(rome) == {"text": "sunny in Rome"}
    assert [each["role"] for each in given(first)["messages"]] == [
        "system",
        "user",
    ]
    assert [each["role"] for each in given(second)["messages"]] == [
        "tool",
        "tool",
    ]
    assert transcript(root) == [
        ("user", "Paris and Rome?"),
        ("assistant", ""),
        ("tool", "sunny in Paris"),
        ("tool", "sunny in Rome"),
        ("assistant", "Sunny in both."),
    ]
    used = sum(facts(span)["gen_ai.usage.total_tokens"] for span in (first, second))
    assert facts(root)["total_tokens"] == used > 0
    parts = {
        name: fact for name, fact in facts(tts).items() if name.endswith("_ms") and "time_to" not in name
    }
    gap = parts.pop("response_gap_ms")
    assert sum(parts.values()) == pytest.approx(gap, abs=0.01)
    assert {"stt_ms", "llm_ms", "tts_ms"} <= set(parts)
    assert facts(root)["status"] == "completed"


async def test_a_barge_in_in_the_middle_of_an_answer(pipelines, spans):
    with CascadeServer(
        ["A long answer.", "Yes."], ["Well?", "Stop!"], speech=[Speech(2, pause_after=3), Speech(1)]
    ) as server:
        pipeline = await pipelines(server)
        answering = asyncio.create_task(pipeline.turn())
        await pipeline.spoken.wait()
        answering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering
        await pipeline.turn()
        pipeline.conversation.end()
    first, second = spans("tts")
    assert (facts(first)["status"], first.status.is_ok) == ("cancelled", True)
    assert facts(second)["status"] == "completed"
    (root,), (interrupted,) = spans("conversation"), spans("interrupted")
    assert facts(interrupted)["cause"] == "cancelled"
    assert facts(root)["interruption_count"] == 1
    assert (facts(root)["status"], root.status.is_ok) == ("completed", True)
    said = came(root)["messages"]
    assert said[0]["metadata"]["interrupted"] is True
    # As many pieces of 200 ms as had been read.
    assert said[0]["metadata"]["generated_ms"] == facts(interrupted)["generated_ms"] in (200, 400, 600)
    assert [each.get("metadata") for each in said[1:]] == [None, None]


async def test_a_transcription_that_fails_and_one_that_hears_nothing(pipelines, spans):
    silence = audio.encoded(bytes(48_000), "wav")
    with CascadeServer(["Yes."], ["Well?"]) as server:
        server.fail("transcriptions", status=503)
        pipeline = await pipelines(server)
        with pytest.raises(openai.InternalServerError):
            await pipeline.turn()
        assert await pipeline.turn(silence) is None
        assert await pipeline.turn() == "Yes."
        pipeline.conversation.end()
    failed, empty, heard = spans("stt")
    assert failed.attributes["error.type"] == "InternalServerError"
    assert (empty.status.is_ok, came(empty)) == (
        True,
        {"messages": [{"role": "user", "content": ""}]},
    )
    assert facts(heard)["status"] == "completed"
    assert transcript(spans("conversation")[0]) == [("user", "Well?"), ("assistant", "Yes.")]


async def test_a_synthesis_that_fails(pipelines, spans):
    with CascadeServer(["Yes."], ["Well?"]) as server:
        server.fail("speech", status=500)
        pipeline = await pipelines(server)
        with pytest.raises(openai.InternalServerError):
            await pipeline.turn()
        pipeline.conversation.end()
    (tts,), (root,) = spans("tts"), spans("conversation")
    assert tts.attributes["error.type"] == "InternalServerError"
    assert "response_gap_ms" not in facts(tts)
    # Nobody heard it, and it was the answer all the same.
    assert transcript(root) == [("user", "Well?"), ("assistant", "Yes.")]
    assert root.status.is_ok


async def test_a_caller_who_hangs_up_while_a_function_runs(pipelines, spans):
    with CascadeServer([Completion(calls=CITIES[:1])], ["Paris?"]) as server:
        pipeline = await pipelines(server)
        pipeline.tool_seconds = 60
        answering = asyncio.create_task(pipeline.turn())
        await pipeline.running.wait()
        answering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering
        pipeline.conversation.end()
    (call,), (root,) = spans("function_call: weather"), spans("conversation")
    assert (facts(call)["status"], call.status.is_ok) == ("cancelled", True)
    assert (spans("interrupted"), root.status.is_ok) == ([], True)


async def test_two_conversations_in_one_process(pipelines, spans):
    with CascadeServer(["One.", "One."], ["Well?", "Well?"]) as server:
        both = [await pipelines(server), await pipelines(server)]
        await asyncio.gather(*(each.turn() for each in both))
        for each in both:
            each.conversation.end()
    for each in both:
        assert [len(spans(name, each.conversation)) for name in ("stt", "llm", "tts")] == [1, 1, 1]
        (root,) = spans("conversation", each.conversation)
        assert transcript(root) == [("user", "Well?"), ("assistant", "One.")]


@pytest.fixture
def recorded(tracer_provider, fake_clock, tmp_path):
    """A conversation with a recorder whose thread comes when the test lets it."""
    writer = RecordingThread(fake_clock, threaded=False)
    recorder = ConversationRecorder(tmp_path, clock=fake_clock, writer=writer)
    conversation = Conversation(
        tracer_provider=tracer_provider, clock=fake_clock, settings=Settings(), scoped=True
    )
    conversation.lifecycle.spans.playback.recorder = conversation._recorder = recorder

    def pass_time(seconds, user=False, writes=True):
        tone = (np.sin(np.arange(1_200) * 0.05) * 8_000).astype(np.int16).tobytes()
        for _ in range(round(seconds / 0.05)):
            recorder.user(tone if user else bytes(2_400), audio.RATE)
            fake_clock.advance(0.05)
            if writes:
                writer.run_once()

    return conversation, recorder, pass_time


@pytest.mark.parametrize(
    ("words_come", "writes", "gap_ms"),
    [(0.2, True, 700), (-0.3, True, 500), (0.2, False, 700)],
    ids=["after the speech", "before it ends", "while the recorder is behind"],
)
async def test_the_wait_begins_with_the_last_sound_of_the_user(recorded, spans, words_come, writes, gap_ms):
    conversation, recorder, pass_time = recorded
    stt = conversation.stt().start()
    pass_time(1.0 + min(words_come, 0), user=True, writes=writes)
    pass_time(max(words_come, 0), writes=writes)
    stt.output("Well?")
    stt.end()
    pass_time(max(-words_come, 0), user=True, writes=writes)
    pass_time(0.5, writes=writes)
    with conversation.tts("Yes.") as tts:
        tts.first_byte()
        conversation.lifecycle.flush()
        recorder.agent(audio.hum(1.0, "nova"), audio.RATE)
        tts.output(seconds=1.0)
    pass_time(2.0)
    conversation.end()
    (tts,) = spans("tts")
    assert facts(tts)["response_gap_from"] == "speech_end"
    assert facts(tts)["response_gap_ms"] == pytest.approx(gap_ms, abs=30)


async def test_what_was_heard_is_recorded_and_an_answer_is_cut_where_the_playback_was(recorded, spans):
    conversation, recorder, pass_time = recorded
    pass_time(1.0, user=True)
    pass_time(0.5)
    with conversation.stt() as stt:
        pass_time(0.2)
        stt.output("Well?")
    with conversation.llm() as llm:
        pass_time(0.3)
        llm.output("A long answer.")
    with conversation.tts("A long answer.") as tts:
        pass_time(0.1)
        tts.first_byte()
        recorder.agent(audio.hum(3.0, "nova"), audio.RATE)
        tts.output(seconds=3.0)
    pass_time(1.0)
    recorder.cut_agent()
    pass_time(1.0, user=True)
    with conversation.stt() as stt:
        pass_time(0.5)
        stt.output("Stop!")
    conversation.end()
    recorder.finish()
    (tts,), (interrupted,) = spans("tts"), spans("interrupted")
    heard = [given(span)["audio"] for span in spans("stt")]
    assert [each["start_seconds"] for each in heard] == pytest.approx([0.0, 3.1], abs=0.06)
    assert [each["end_seconds"] for each in heard] == pytest.approx([1.0, 4.1], abs=0.06)
    gap = facts(tts)
    assert gap["response_gap_ms"] == pytest.approx(1_100, abs=30)
    assert gap["response_gap_from"] == "speech_end"
    assert gap["endpointing_ms"] == pytest.approx(500, abs=30)
    assert (gap["stt_ms"], gap["llm_ms"], gap["tts_ms"]) == (200, 300, 100)
    assert facts(interrupted)["heard_ms"] == pytest.approx(1_000, abs=60)
    assert facts(interrupted)["generated_ms"] == 3_000
