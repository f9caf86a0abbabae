"""No key and no token comes out: a canary in every place where one can stand, and a search of all that is written."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
from importlib.metadata import version
from urllib.parse import quote

import pytest
from evidence import Evidence, spellings
from google import genai
from google.genai import types
from openai import AzureOpenAI, OpenAI
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

import voicespan
from voicespan.cli import recover, spool
from voicespan.content import masking
from voicespan.content.policy import Content
from voicespan.delivery.destination.variables import DeliverySettingsError
from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.runtime.settings import Settings
from voicespan.testing import GeminiLiveServer, LangSmithServer, OpenAIRealtimeServer
from voicespan.testing.openai_realtime import Close, Expect, Refuse, Send

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEcanarypem\nMorecanarypem\n-----END PRIVATE KEY-----"
#: By what they look like; their places are texts, where nothing else tells.
SHAPED = {
    "openai": "sk-proj-canary0123456789abcdef",
    "anthropic": "sk-ant-api03-canary0123456789",
    "ephemeral": "ek_canary0123456789abcdef",
    "google": "AIzaSyCanary0123456789abcdefghijklmnopq",
    "google login": "ya29.canary0123456789abcdefgh",
    "gemini": "auth_tokens/canary0123456789",
    "langsmith": "lsv2_pt_canary0123456789_abcdef",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOiIxIn0.canarySignature",
    "github": "ghp_canary0123456789abcdefghijklmnopqrst",
    "github fine": "github_pat_canary0123456789abcdefghij",
    "gitlab": "glpat-canary0123456789",
    "slack": "xoxb-0123456789-canary",
    "aws": "AKIACANARY0123456789",
    "huggingface": "hf_canary0123456789abcdefghij",
    "twilio": "SK0123456789abcdef0123456789abcdef",
    "bearer": "Bearer canarybearer",
    "basic": "Basic dXNlcjpjYW5hcnk=",
    "groq": "gsk_canary0123456789abcdef",
    "xai": "xai-canary0123456789abcdef",
    "webhook": "whsec_canary0123456789abcdef",
    "perplexity": "pplx-canary0123456789abcdef",
    "nvidia": "nvapi-canary0123456789abcdef",
    "replicate": "r8_canary0123456789abcdefghijk",
    "tavily": "tvly-canary0123456789abcdef",
    "npm": "npm_canary0123456789abcdef",
    "pypi": "pypi-canary0123456789abcdef",
    "langsmith before": "ls__canary0123456789abcdef",
    "slack webhook": "hooks.slack.com/services/T0CANARY/B0CANARY/canary0123456789",
    "gemini in a url": "auth_tokens%2Fcanary0123456789",
    "shouted bearer": "BEARER canarybearer",
}
ALL_SHAPED = " and ".join(SHAPED.values())


class Opaque:
    """Words that nobody knows for secrets but by where they stand: each is asked for once."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self, place: str) -> str:
        word = f"opaque{place}{len(self.words)}canary"
        self.words.append(word)
        return word


@pytest.fixture
def opaque():
    yield Opaque()
    masking._known.clear()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    for name in ("VOICESPAN_ENDPOINT", "LANGSMITH_API_KEY", "LANGSMITH_ENDPOINT", "LANGSMITH_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANGSMITH_CONFIG_FILE", str(tmp_path / "none.json"))
    monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "10")


@pytest.fixture(params=["standard", "all"])
def events(request, monkeypatch):
    monkeypatch.setenv("VOICESPAN_EVENTS", request.param)
    monkeypatch.setenv("VOICESPAN_RAW_EVENTS", "1")
    return request.param


@pytest.fixture
def evidence(opaque, tmp_path):
    with LangSmithServer(api_keys=[opaque("langsmithkey")]) as server:
        headers = {"X-Service-Key": opaque("servicekey")}
        with Evidence(server, tmp_path / "spool", headers=headers) as evidence:
            OpenAIRealtimeInstrumentor().instrument(tracer_provider=evidence.provider)
            GeminiLiveInstrumentor().instrument(tracer_provider=evidence.provider)
            yield evidence
            OpenAIRealtimeInstrumentor().uninstrument()
            GeminiLiveInstrumentor().uninstrument()


def nested(opaque, place):
    """What a function gets or gives: a request, with its headers, as JSON in JSON."""
    inner = {"headers": {"X-Anything": opaque(f"{place}header")}, "api_key": opaque(f"{place}key")}
    return json.dumps(
        {
            "url": f"https://user:{opaque(f'{place}password')}@host/p?key={opaque(f'{place}query')}&q=1",
            "headers": {"Authorization": f"Bearer {opaque(f'{place}bearer')}"},
            "body": json.dumps(inner),
            "list": [
                {"access_token": opaque(f"{place}token")},
                {"password": opaque(f"{place}pw") + ' "quoted'},
            ],
            "note": ALL_SHAPED + PEM,
        }
    )


def mcp(opaque, place):
    return {
        "type": "mcp",
        "server_label": "calendar",
        "server_url": f"https://u:{opaque(f'{place}user')}@mcp.example/{opaque(f'{place}path')}/sse?key={opaque(f'{place}query')}",
        "connector_id": "connector_gmail",
        "authorization": opaque(f"{place}authorization"),
        "headers": {
            "X-Tenant": opaque(f"{place}header"),
            "Authorization": f"Bearer {opaque(f'{place}bearer')}",
        },
    }


def openai_frames(opaque, key):
    """What a server may say, each with something that it must not."""
    ids = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}
    session = {
        "id": "sess_1",
        "type": "realtime",
        "model": "gpt-realtime",
        "instructions": f"Never say {ALL_SHAPED}",
        "client_secret": {"value": opaque("clientsecret"), "expires_at": 1},
        "tools": [mcp(opaque, "created")],
        "audio": {"input": {"transcription": {"model": "whisper-1"}}},
        "tracing": {"metadata": {"api_key": opaque("tracing")}},
    }
    call = {
        "id": "i2",
        "type": "function_call",
        "call_id": "c1",
        "name": "fetch",
        "arguments": nested(opaque, "args"),
    }
    mcp_call = {
        "id": "i3",
        "type": "mcp_call",
        "name": "list_events",
        "server_label": "calendar",
        "arguments": nested(opaque, "mcpargs"),
        "output": nested(opaque, "mcpoutput"),
        "error": {"type": "http_error", "message": f"401 for authorization: {opaque('mcperror')}"},
    }
    frames = [
        {"type": "session.updated", "session": session},
        {"type": "input_audio_buffer.speech_started", "item_id": "u1"},
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "u1",
            "content_index": 0,
            "transcript": f"My keys are {ALL_SHAPED}",
        },
        {"type": "response.created", "response": {"id": "r1", "status": "in_progress"}},
        {"type": "response.output_item.done", "response_id": "r1", "item": call},
        {"type": "response.output_item.done", "response_id": "r1", "item": mcp_call},
        {"type": "conversation.item.done", "item": {**mcp_call, "id": "i4"}},
        {"type": "response.output_audio_transcript.done", **ids, "transcript": f"Your keys are {ALL_SHAPED}"},
        {
            "type": "response.done",
            "response": {
                "id": "r1",
                "status": "failed",
                "status_details": {"error": {"type": "e", "message": f"token={opaque('details')} for {key}"}},
                "metadata": {"api_key": opaque("metadata"), "note": SHAPED["openai"]},
                "output": [call, mcp_call],
            },
        },
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "code": "invalid_api_key",
                "message": f"Incorrect API key provided: {key}, {SHAPED['openai']}. "
                f"Headers: {{'X-Key': '{opaque('errorheaders')}'}}, {quote(SHAPED['github'])} "
                f'{json.dumps(json.dumps({"client_secret": opaque("errorjson")}))} headers={{"A": "{opaque("errordict")}"}} '
                f"GET wss://api.openai.com/v1/realtime?api-key={opaque('errorquery')} {quote(key)} "
                f"{base64.b64encode(SHAPED['openai'].encode()).decode()}",
            },
        },
        {
            "type": "some.future.event",
            "credentials": {"a": opaque("future")},
            "text": json.dumps({"token": opaque("futuretext")}),
        },
        {"type": "rate_limits.updated", "rate_limits": []},
    ]
    return [{"event_id": f"event_{n}", **frame} for n, frame in enumerate(frames)]


def search(evidence, opaque):
    evidence.assert_without(*opaque.words, *SHAPED.values(), "Morecanarypem")


def test_a_conversation_with_openai(evidence, opaque, events, capfd):
    key = opaque("openaikey")
    frames = openai_frames(opaque, key)
    script = [
        Expect("session.update"),
        Send(*frames),
        Expect("response.create"),
        Close(4001, f"bad key {key} {SHAPED['ephemeral']}"),
    ]
    evidence.server.down()
    with OpenAIRealtimeServer(script) as server:
        client = OpenAI(
            api_key=key, websocket_base_url=server.url, default_headers={"X-Gateway-Token": opaque("gateway")}
        )
        with (
            contextlib.suppress(RuntimeError),
            voicespan.conversation(
                metadata={
                    "auth": {"password": opaque("appmetadata")},
                    "note": ALL_SHAPED,
                    "api_key": opaque("appkey"),
                },
                tags=[SHAPED["bearer"], f"token={opaque('tag')}"],
            ),
            client.realtime.connect(
                model="gpt-realtime",
                extra_headers={"X-Session-Secret": opaque("extraheader")},
                extra_query={"token": opaque("extraquery")},
            ) as c,
        ):
            tools = [mcp(opaque, "update"), {"type": "function", "name": "fetch", "parameters": {
                "type": "object", "properties": {"token": {"type": "string", "description": "visible description"}}}}]  # fmt: skip
            c.session.update(
                session={"type": "realtime", "tools": tools, "instructions": f"Use {SHAPED['aws']}"}
            )
            for _ in frames:
                c.recv()
            answer = {"type": "function_call_output", "call_id": "c1", "output": nested(opaque, "result")}
            c.conversation.item.create(item=answer)
            message = {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": ALL_SHAPED}],
            }
            c.conversation.item.create(item=message)
            c.response.create(response={"metadata": {"x": SHAPED["jwt"]}, "tools": [mcp(opaque, "response")]})
            try:
                c.recv()
            except Exception as error:
                evidence.said.append("")
                raise RuntimeError(
                    f"{key} in a chain; {client.default_headers}; {opaque.words[0]} with headers={{'A': '{opaque('chain')}'}}"
                ) from error
    assert [span for span in evidence.spans if span.name == "error"]
    wait_and_deliver(evidence, opaque, capfd)
    assert evidence.where("visible description") if events == "all" else True
    names = {span.name for span in evidence.spans}
    assert {"function_call: fetch", "function_response: fetch", "turn_complete", "session.updated"} <= names
    search(evidence, opaque)


def wait_and_deliver(evidence, opaque, capfd):
    """While nobody listens, while the key is refused and quoted, and when it is taken."""
    assert not evidence.processor.force_flush(300)
    evidence.look_into_spool()
    assert any(name.startswith("root.pb") for name in evidence.spooled)
    quoted = f"Invalid key {opaque.words[0]} ({SHAPED['langsmith']}), X-Service-Key: {opaque.words[1]}"
    refused = [401]
    # Each for as long as it is looked at: a second try may follow at any time.
    for status in (401, 403):
        evidence.server.fail(
            status=status, text=quoted, times=None, match=lambda _, status=status: refused[-1] == status
        )
    evidence.server.up()
    for status in (401, 403):
        refused.append(status)
        assert not evidence.processor.force_flush(300)
        evidence.look_into_spool()
        out = io.StringIO()
        spool.spool(spool_dir=evidence.spool_dir, out=out)
        evidence.said.append(out.getvalue())
    assert any("Invalid key" in said for said in evidence.said)
    evidence.server.fail(status=422, text=quoted)
    refused.append(422)
    evidence.deliver()
    out = io.StringIO()
    spool.spool(spool_dir=evidence.spool_dir, out=out)
    recover.recover(
        endpoint=evidence.relay.url,
        api_key=opaque.words[0],
        spool_dir=evidence.spool_dir,
        out=out,
        patience=0,
    )
    evidence.said += [out.getvalue(), *capfd.readouterr()]
    assert "Invalid key" in evidence.logged


def gemini_client(server, key, opaque):
    options = server.client_options()
    options["http_options"] = options["http_options"].model_copy(
        update={"headers": {"X-Gateway-Token": opaque("gateway")}}
    )
    return genai.Client(**{**options, "api_key": key})


#: From google-genai 3 on a session can have headers of its own.
TAKES_HTTP_OPTIONS = int(version("google-genai").split(".")[0]) >= 3


def test_a_conversation_with_gemini(evidence, opaque, events, capfd, monkeypatch):
    monkeypatch.setenv("VOICESPAN_RESUME_WINDOW", "0")
    key = opaque("geminikey")
    handle = opaque("handle")
    frames = [
        {"sessionResumptionUpdate": {"newHandle": opaque("newhandle"), "resumable": True}},
        {
            "serverContent": {"inputTranscription": {"text": f"My keys: {ALL_SHAPED}", "finished": True}},
            "sessionResumptionUpdate": {"newHandle": opaque("beside"), "resumable": True},
        },
        {"serverContent": {"modelTurn": {"parts": [{"text": f"Thinking of {ALL_SHAPED}", "thought": True}]}}},
        {"serverContent": {"outputTranscription": {"text": f"Your keys: {ALL_SHAPED}"}}},
        {
            "toolCall": {
                "functionCalls": [{"id": "c1", "name": "fetch", "args": json.loads(nested(opaque, "args"))}]
            }
        },
        {"serverContent": {"groundingMetadata": {"webSearchQueries": [f"what is {SHAPED['google']}"]}}},
        {"serverContent": {"turnComplete": True}},
    ]
    script = [
        Expect("setup"),
        Send({"setupComplete": {"sessionId": "session-1"}}, *frames),
        Expect("tool_response"),
        Expect("client_content"),
        Close(1008, f"key {key} {SHAPED['google']}"),
    ]

    async def talk(server):
        config = {
            "response_modalities": ["AUDIO"],
            "system_instruction": f"Never say {ALL_SHAPED}",
            "session_resumption": {"handle": handle},
        }
        if TAKES_HTTP_OPTIONS:
            config["http_options"] = {"headers": {"X-Session-Secret": opaque("confighttp")}}
        client = gemini_client(server, key, opaque)
        async with client.aio.live.connect(model="gemini-live", config=config) as session:
            async for _ in session.receive():
                pass
            response = json.loads(nested(opaque, "result"))
            await session.send_tool_response(
                function_responses=types.FunctionResponse(id="c1", name="fetch", response=response)
            )
            await session.send_client_content(turns={"role": "user", "parts": [{"text": ALL_SHAPED}]})
            async for _ in session.receive():
                pass

    evidence.server.down()
    with GeminiLiveServer(script) as server, contextlib.suppress(Exception):
        asyncio.run(talk(server))
    wait_and_deliver(evidence, opaque, capfd)
    names = {span.name for span in evidence.spans}
    assert {"function_call: fetch", "function_response: fetch", "turn_complete", "error"} <= names
    search(evidence, opaque)


def test_handshakes_that_fail(evidence, opaque):
    key, google = opaque("openaikey"), SHAPED["google"]
    with OpenAIRealtimeServer(Refuse(401, f"Incorrect API key provided: {key} {SHAPED['openai']}")) as server:
        client = OpenAI(api_key=key, websocket_base_url=server.url, max_retries=0)
        with pytest.raises(Exception, match="401"), client.realtime.connect(model="gpt-realtime"):
            pass

    async def connect(server):
        async with gemini_client(server, google, opaque).aio.live.connect(model="gemini-live"):
            pass

    with GeminiLiveServer(Refuse(403, f"API key {google} not valid, token={opaque('refused')}")) as server:
        with pytest.raises(Exception, match="403"):
            asyncio.run(connect(server))
    # Nobody listens: the SDK tells the URL, in which there is the key.
    with pytest.raises(OSError):
        asyncio.run(connect(server))
    assert len([span for span in evidence.spans if span.name == "conversation"]) == 3
    evidence.deliver()
    search(evidence, opaque)


def test_what_a_resource_tells_goes_to_langsmith_without_secrets(opaque, tmp_path):
    """The detector of processes tells their command lines. Other exporters get the application's own resource."""
    with LangSmithServer() as server, Evidence(server, tmp_path / "spool") as evidence:
        provider = TracerProvider(
            shutdown_on_exit=False,
            resource=Resource.create({
                "service.name": "visible service",
                "api_key": opaque("resource"),
                "process.command_line": f"agent --api-key {opaque('line')} --voice marin",
                "process.command_args": ["agent", f"--token={opaque('args')}", SHAPED["openai"]],
                "process.pid": 4711,
            }),
        )  # fmt: skip
        provider.add_span_processor(evidence.processor)
        with provider.get_tracer("t").start_as_current_span("x"):
            pass
        OpenAIRealtimeInstrumentor().instrument(tracer_provider=provider)
        with OpenAIRealtimeServer() as openai, OpenAI(api_key="a-key-for-tests", websocket_base_url=openai.url).realtime.connect(model="m"):  # fmt: skip
            pass
        OpenAIRealtimeInstrumentor().uninstrument()
        evidence.deliver()
        search(evidence, opaque)
        assert "sent" in evidence.where("visible service")["visible service"]
        assert "sent" in evidence.where("--voice marin")["--voice marin"]


def test_azure_and_its_tokens(evidence, opaque):
    key, token = opaque("azurekey"), opaque("azuretoken")
    with OpenAIRealtimeServer() as server:
        for signed in ({"api_key": key}, {"azure_ad_token": token}):
            client = AzureOpenAI(
                **signed,
                api_version="2025-08-28",
                websocket_base_url=server.url,
                azure_endpoint="https://h.example",
            )
            with (
                pytest.raises(RuntimeError),
                voicespan.conversation(),
                client.realtime.connect(model="gpt-realtime"),
            ):
                raise RuntimeError(f"Access denied: {' '.join(spellings(*signed.values()))}")
    evidence.deliver()
    search(evidence, opaque)


@pytest.mark.parametrize(
    "told",
    [
        {"tools": [{"googleMaps": {"authConfig": {"apiKeyConfig": {"apiKeyString": "WORD"}}}}]},
        {
            "tools": [
                {
                    "mcpServers": [
                        {"streamableHttpTransport": {"url": "https://h/WORD/mcp", "headers": {"a": "WORD"}}}
                    ]
                }
            ]
        },
        {"tools": [{"retrieval": {"externalApi": {"apiAuth": {"x": "WORD"}}}}]},
        {"session": {"avatar": {"ice_servers": [{"username": "u", "credential": "WORD"}]}}},
        {"type": "session.avatar.connect", "client_sdp": "a=ice-pwd:WORD"},
        {"session": {"client_secret": "WORD"}, "sessionResumption": {"newHandle": "WORD"}},
        {
            "cookie": "a=WORD",
            "X-Api-Key": "WORD",
            "accessToken": "WORD",
            "private_key": "WORD",
            "passphrase": "WORD",
        },
        {"arguments": json.dumps({"auth": {"anything": "WORD"}})},
        {"output": json.dumps([{"apiKeyString": "WORD"}])},
    ],
)
def test_in_a_frame_the_place_tells(told):
    assert "WORD" not in json.dumps(Content(Settings()).frame(told, role="assistant"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://u:WORD@host",
        "u:p@WORD@host/x",
        "https://u:p@ss/WORD@host",
        "lsv2_pt_WORD0123456789abcdef",
        "WORD",
        "https://h/?key=WORD",
    ],
)
def test_an_endpoint_that_is_refused_is_not_repeated_with_its_secret(url, tmp_path, monkeypatch):
    with pytest.raises(DeliverySettingsError) as refused:
        voicespan.LangSmithSpanProcessor(endpoint=url, api_key="k", spool_dir=tmp_path)
    assert "WORD" not in str(refused.value)
    monkeypatch.setenv("VOICESPAN_ENDPOINT", url)
    with pytest.raises(DeliverySettingsError) as refused:
        voicespan.LangSmithSpanProcessor(spool_dir=tmp_path)
    assert "WORD" not in str(refused.value)


#: And of the rest of the shapes one each.
MORE_SHAPED = (
    "AQ.canary0123456789abcdefghijklmnopqr", "GOCSPX-canary0123456789", "ASIACANARY0123456789", "pk-canary0123456789abcdef",
    "SG.canary0123456789.canary0123456789", "xapp-canary0123456789", "c2stY2FuYXJ5Y2FuYXJ5Y2FuYXJ5", "QUl6Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5",
    "bHN2MlY2FuYXJ5Y2FuYXJ5Y2FuYXJ5", "QmVhcmVyY2FuYXJ5Y2FuYXJ5Y2FuYXJ5", "Bearer canary0123456789", "bearer canary0123456789", "BEARER canary0123456789",
    "hooks.slack.com/services/T0CANARY/B0CANARY/canary0123456789",
)  # fmt: skip


@pytest.mark.parametrize("secret", [*SHAPED.values(), *MORE_SHAPED])
def test_each_shape_is_found_where_it_stands_alone(secret):
    assert masking.without_secrets(f"He said {secret} today") == "He said [secret] today"


@pytest.mark.parametrize(
    "text",
    [
        # What HTTP libraries say of a request: bytes, pairs, objects of their own.
        "[(b'authorization', b'WORD'), (b'host', b'h')]",
        "{b'x-api-key': b'WORD'}",
        "headers=[(b'x-tenant', b'WORD')]",
        "headers: (('x-tenant', 'WORD'),)",
        "Headers([('x-tenant', 'WORD'), ('host', 'h')])",
        "headers=Headers({'a': {'b': 'c'}, 'x-tenant': 'WORD'})",
        "Cookie: a=b; session=WORD; c=WORD\nhost: h",
        'Authorization: Digest username="a", response="WORD"',
        "Authorization: AWS4-HMAC-SHA256 Credential=a/b, Signature=WORD",
        # Objects as Python prints them, and JSON in the middle of a sentence.
        "refused {'client_secret': {'value': 'WORD', 'expires_at': 1}}",
        "refused {'credentials': {'basic': {'user': 'u', 'password': 'WORD'}}}",
        "refused {'token': ['WORD', 'WORD']}",
        'refused {"client_secret": {"value": "WORD"}} by the server',
        "refused Settings(api_key=SecretStr('WORD'), b=1)",
        "refused {'api_key' => 'WORD'}",
        # And settings, options, addresses.
        "session_token: WORD",
        "secret_key: WORD",
        "Ocp-Apim-Subscription-Key: WORD",
        "passwd: WORD",
        "pwd=WORD;",
        "agent --api-key WORDWORD --verbose",
        "https://bucket/file?X-Amz-Date=1&X-Amz-Signature=WORD",
        "https://account/file?sv=1&sig=WORD",
    ],
)
def test_in_a_text_the_place_tells(text):
    assert "WORD" not in masking.without_secrets(text)


def test_what_stays_of_a_text_around_its_secrets(opaque):
    word = opaque("word")
    for text, expected in {
        f'{{"a": 1, "headers": {{"x": "{word}"}}}}': '{"a": 1, "headers": "[secret]"}',
        f"refused {{'authorization': '{word}', 'n': 1}}": "refused {'authorization': '[secret]', 'n': 1}",
        f"https://me:{word}@host/p?q=1&key={word}": "https://[secret]@host/p?q=1&key=[secret]",
        f"x-api-key: {word}\nhost: h": "x-api-key: [secret]\nhost: h",
        f"line\\n{SHAPED['openai']}": "line\\n[secret]",
        f"a%20{SHAPED['openai']}&b": "a%20[secret]&b",
        f"key {PEM} end": "key [secret] end",
        f"refused {{b'authorization': b'{word}', 'n': 1}}": "refused {b'authorization': '[secret]', 'n': 1}",
        f"Settings(api_key=SecretStr('{word}'), n=1)": "Settings(api_key='[secret]'), n=1)",
        f"Headers([('a', '{word}')]) of 2": "Headers([secret]) of 2",
        f"Cookie: a={word}; b={word}\nhost: h": "Cookie: [secret]\nhost: h",
    }.items():
        assert masking.without_secrets(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Basic understanding of bearer shares; the secret: practise. A token of thanks, key question: why?",
        "Set max_tokens: 5, tokens=7, keyboard=de and sort_key=name",
        "risk-averse desk-and-chair-and-lamp task_force_of_the_whole_world",
        '{"city": "Oslo", "total_tokens": 12, "page": {"size": 3}}',
        "see https://host/path?page=2 or mailto:me@host",
        "it costs 4000: eyJ is how many of them begin",
        "the headers (two of them) -- and the key -- are in npm_config, r8_ and pypi-server",
        "Bearer of good news; cookies: two; id_card: 5; a session: long; --verbose",
    ],
)
def test_what_is_no_secret_stays(text):
    assert masking.without_secrets(text) == text


_AGAIN = (
    '"token":"',
    "headers={",
    '\\"token\\":\\"',
    "://a@",
    "Bearer ",
    "Basic AAAA",
    "-eyJaaaaaaaaaaa",
    "SG.",
    "x-key: ",
    '"token":{',
    '"token":{}',
    "headers=[{",
    "headers((",
    "cookie: ",
    "--token aaaaaaaa ",
)
_AND_AGAIN = (
    "-----BEGIN PRIVATE KEY-----",
    '{"token":',
    "'secret', ",
    "authorization: ",
    "\\",
    "\\'",
    "a-",
    "secret_",
    "[",
)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        *(("", piece) for piece in _AGAIN + _AND_AGAIN),
        *((head, "a") for head in ("Basic ", "bearer ", "eyJ", "SG.", '"')),
    ],
)
def test_a_search_takes_no_longer_than_its_text(head, piece):
    """Four times the text may take four times the time; a pattern that starts again everywhere would take 16 times."""
    import time

    def seconds(length):
        text = head + (piece * (length // len(piece) + 1))[:length]
        tries = []
        for _ in range(3):
            began = time.process_time()
            masking.without_secrets(text)
            tries.append(time.process_time() - began)
        return min(tries)

    assert seconds(160_000) < 8 * max(seconds(40_000), 0.001)
