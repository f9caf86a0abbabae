"""`audio.transcriptions`, `audio.translations` and `audio.speech` of the real client, unchanged, on loopback."""

from __future__ import annotations

import gzip
import inspect
import sys
import warnings

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from span_content import came, given

import voicespan
from voicespan.openai_audio import OpenAIAudioInstrumentor, answers
from voicespan.testing import CascadeServer
from voicespan.testing.cascade import Speech, Transcript, audio

META = "langsmith.metadata."
WAV = audio.encoded(audio.hum(1.0, "nova"), "wav")
STT = {"model": "gpt-4o-transcribe", "file": ("speech.wav", WAV)}
TTS = {"model": "tts-1", "voice": "nova", "input": "Half past eight.", "response_format": "pcm"}
#: Of "Half past eight.".
SECONDS = 0.96


@pytest.fixture(autouse=True)
def _instrumented(tracer_provider):
    instrumentor = OpenAIAudioInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    yield
    instrumentor.uninstrument()


@pytest.fixture
def server():
    with CascadeServer(transcripts=["When is a table free?"] * 3) as started:
        yield started


@pytest.fixture
def client(server):
    with OpenAI(api_key="test", base_url=server.url, max_retries=0) as made:
        yield made


@pytest.fixture
def spans(span_exporter):
    def named(name):
        return [span for span in span_exporter.get_finished_spans() if span.name == name]

    return named


def facts(span):
    return {key.removeprefix(META): value for key, value in span.attributes.items()}


def words(span, of=came):
    return of(span)["messages"][0]["content"]


def test_a_transcription_is_the_conversations_stt(client, spans):
    with voicespan.conversation():
        heard = client.audio.transcriptions.create(**STT, language="en")
    assert type(heard).__name__ == "Transcription"
    (stt,), (root,) = spans("stt"), spans("conversation")
    assert stt.parent.span_id == root.context.span_id
    assert words(stt) == words(root, given) == "When is a table free?"
    assert facts(stt)["gen_ai.request.model"] == "gpt-4o-transcribe"
    assert facts(stt)["gen_ai.provider.name"] == "openai"
    assert facts(stt)["language"] == "en"
    assert (facts(stt)["gen_ai.usage.input_tokens"], facts(stt)["gen_ai.usage.output_tokens"]) == (10, 5)


@pytest.mark.parametrize("form", ["text", "verbose_json"])
def test_whatever_form_is_asked_for(client, spans, form):
    with voicespan.conversation():
        heard = client.audio.transcriptions.create(**{**STT, "model": "whisper-1"}, response_format=form)
    assert (heard if form == "text" else heard.text).strip() == "When is a table free?"
    (stt,) = spans("stt")
    assert words(stt) == "When is a table free?"
    assert ("audio_seconds" in facts(stt)) == (form == "verbose_json")


def test_a_translation_is_one_too(client, spans):
    with voicespan.conversation(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", DeprecationWarning)
        client.audio.translations.create(**{**STT, "model": "whisper-1"})
    # Late versions tell the application's code that it is deprecated, as without us.
    expected = [__file__] if hasattr(client.audio.translations.create, "__deprecated__") else []
    assert [warning.filename for warning in warned] == expected
    assert words(spans("stt")[0]) == "When is a table free?"


def test_a_stream_is_read_as_before_and_ends_the_call(client, spans):
    with voicespan.conversation() as conversation:
        stream = client.audio.transcriptions.create(**STT, stream=True)
        assert isinstance(stream, openai.Stream)
        conversation.flush()
        assert spans("stt") == []
        events = list(stream)
        conversation.flush()
        (stt,) = spans("stt")
    assert events[-1].text == words(stt) == "When is a table free?"
    assert facts(stt)["status"] == "completed"
    assert facts(stt)["gen_ai.usage.output_tokens"] == 5


async def test_async_whole_and_as_a_stream(server, spans):
    async with AsyncOpenAI(api_key="test", base_url=server.url) as client, voicespan.conversation():
        await client.audio.transcriptions.create(**STT)
        async for _ in await client.audio.transcriptions.create(**STT, stream=True):
            pass
        answer = await client.audio.speech.create(**TTS)
        assert len(answer.content) == SECONDS * 48_000
    assert [words(stt) for stt in spans("stt")] == ["When is a table free?"] * 2
    assert facts(spans("tts")[0])["audio_seconds"] == SECONDS


def test_raw_and_streamed_responses_are_the_same_call(client, spans):
    with voicespan.conversation():
        raw = client.audio.transcriptions.with_raw_response.create(**STT)
        assert raw.parse().text == "When is a table free?"
        with client.audio.transcriptions.with_streaming_response.create(**STT) as response:
            assert b"When is a table free?" in response.read()
    first, second = spans("stt")
    assert words(first) == words(second) == "When is a table free?"
    assert facts(second)["status"] == "completed"


def test_speech_is_the_conversations_tts(client, spans):
    with voicespan.conversation():
        answer = client.audio.speech.create(**TTS)
        assert len(answer.content) == SECONDS * 48_000
    (tts,), (root,) = spans("tts"), spans("conversation")
    assert words(tts, given) == words(root) == "Half past eight."
    assert (facts(tts)["voice"], facts(tts)["characters"], facts(tts)["audio_seconds"]) == (
        "nova",
        16,
        SECONDS,
    )
    assert facts(tts)["time_to_first_byte_ms"] > 0


def test_speech_that_streams_has_its_first_byte_when_it_comes(spans):
    with CascadeServer(speech=[Speech(seconds=2, pause_after=2)]) as server:
        with OpenAI(api_key="test", base_url=server.url) as client, voicespan.conversation():
            with client.audio.speech.with_streaming_response.create(**TTS) as response:
                sizes = []
                for piece in response.iter_bytes():
                    sizes.append(len(piece))
                    server.release()
    (tts,) = spans("tts")
    assert sum(sizes) == 96_000
    assert facts(tts)["audio_seconds"] == 2
    duration = (tts.end_time - tts.start_time) / 1e6
    assert 0 < facts(tts)["time_to_first_byte_ms"] < duration


async def test_speech_that_is_cut_off_is_cancelled_and_no_error(spans):
    with CascadeServer(speech=[Speech(seconds=2, pause_after=2)]) as server:
        async with AsyncOpenAI(api_key="test", base_url=server.url) as client, voicespan.conversation():
            async with client.audio.speech.with_streaming_response.create(**TTS) as response:
                async for _ in response.iter_bytes():
                    break
    (tts,) = spans("tts")
    assert (facts(tts)["status"], tts.status.is_ok) == ("cancelled", True)


def test_what_fails_is_an_error_and_the_exception_is_the_clients(client, server, spans):
    server.fail("transcriptions", status=429)
    server.fail("speech")
    with voicespan.conversation():
        with pytest.raises(openai.RateLimitError):
            client.audio.transcriptions.create(**STT)
        with pytest.raises(openai.InternalServerError):
            client.audio.speech.create(**TTS)
    assert spans("stt")[0].attributes["error.type"] == "RateLimitError"
    assert spans("tts")[0].attributes["error.type"] == "InternalServerError"


def test_inside_the_applications_own_block_it_completes_that(client, spans):
    with voicespan.conversation() as conversation:
        with conversation.stt(model="mine") as stt:
            heard = client.audio.transcriptions.create(**STT)
            stt.output(heard.text.upper())
        with conversation.tts("Half past eight."):
            client.audio.speech.create(**TTS)
    (stt,), (tts,) = spans("stt"), spans("tts")
    assert words(stt) == "WHEN IS A TABLE FREE?"
    assert facts(stt)["gen_ai.request.model"] == "mine"
    assert facts(stt)["gen_ai.usage.output_tokens"] == 5
    assert facts(tts)["audio_seconds"] == SECONDS


def test_outside_of_any_conversation_it_is_one_span_where_the_applications_are(
    client, spans, tracer_provider
):
    with tracer_provider.get_tracer("app").start_as_current_span("request"):
        client.audio.transcriptions.create(**STT)
    client.audio.speech.create(**TTS)
    (stt,), (tts,), (request,) = spans("stt"), spans("tts"), spans("request")
    assert stt.parent.span_id == request.context.span_id
    assert words(stt) == "When is a table free?"
    assert facts(stt)["gen_ai.usage.output_tokens"] == 5
    assert "ls_modality" not in facts(tts)
    assert (tts.parent, facts(tts)["audio_seconds"]) == (None, SECONDS)


def test_what_a_framework_says_itself_is_not_said_twice(client, spans):
    with voicespan.conversation() as conversation:
        conversation.lifecycle.has_framework = True
        client.audio.transcriptions.create(**STT)
    assert spans("stt") == []


def test_silence_is_an_empty_transcript_and_no_message(client, spans):
    silence = audio.encoded(bytes(48_000), "wav")
    with voicespan.conversation():
        client.audio.transcriptions.create(**{**STT, "file": ("s.wav", silence)})
    (stt,), (root,) = spans("stt"), spans("conversation")
    assert words(stt) == ""
    assert given(root) is None


def test_the_methods_stay_what_they_were(client):
    create = type(client.audio.transcriptions).create
    assert "file" in inspect.signature(create).parameters
    assert inspect.iscoroutinefunction(openai.resources.audio.AsyncSpeech.create)
    OpenAIAudioInstrumentor().uninstrument()
    assert not hasattr(openai.resources.audio.Speech.create, "__wrapped__")


@pytest.mark.parametrize(
    ("body", "text", "complete"),
    [
        (b'{"text":"Hi.","usage":{"type":"duration","seconds":2}}', "Hi.", True),
        (
            b"1\n00:00:00,000 --> 00:00:01,000\nHi there.\n\n2\n00:00:01,000 --> 00:00:02,000\nYou.\n",
            "Hi there. You.",
            True,
        ),
        (b'data: {"type":"transcript.text.delta","delta":"Hi"}\n\n', "Hi", False),
        (b'data: {"type":"transcript.text.done","text":"Hi."}\n\n', "Hi.", True),
        (gzip.compress(b'{"text":"Hi."}', mtime=0), "Hi.", True),
        (b"data: nonsense\n\n", None, False),
    ],
)
def test_a_body_is_read_in_every_form(body, text, complete):
    found, is_complete = answers.of_transcription_bytes(body, "gzip" if body[:2] == b"\x1f\x8b" else "")
    assert (found.text, is_complete) == (text, complete)


@pytest.mark.parametrize("form", [*audio.FORMATS, None])
def test_speech_has_its_seconds_in_every_format(client, spans, form):
    """MP3, which is what comes where none is asked for, is of whole frames, and begins with one of silence."""
    request = {name: value for name, value in TTS.items() if name != "response_format"}
    with voicespan.conversation():
        client.audio.speech.create(**request, **({} if form is None else {"response_format": form}))
    frames = 0.08 if form in ("mp3", None) else 0.001
    assert facts(spans("tts")[0])["audio_seconds"] == pytest.approx(SECONDS, abs=frames)


def test_a_transcript_that_breaks_off_has_the_words_that_came(spans):
    with CascadeServer(transcripts=[Transcript("one two three")]) as server:
        server.fail("transcriptions", after=2)
        with OpenAI(api_key="test", base_url=server.url, max_retries=0) as client, voicespan.conversation():
            # Early versions let httpx's own error through.
            with pytest.raises((openai.APIConnectionError, OSError, *_protocol_errors())):
                list(client.audio.transcriptions.create(**STT, stream=True))
    (stt,) = spans("stt")
    assert words(stt) == "one two"
    assert not stt.status.is_ok


def _protocol_errors():
    httpx = sys.modules.get("httpx")
    return () if httpx is None else (httpx.RemoteProtocolError,)
