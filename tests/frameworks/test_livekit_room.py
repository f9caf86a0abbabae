"""A LiveKit worker in a real room, unchanged, under `opentelemetry-instrument`: what the caller heard is recorded."""

from __future__ import annotations

import email
import gzip
import inspect
import io
import itertools
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("livekit.agents", reason="in an environment of its own: tests/compat/run.py livekit")
pytest.importorskip("livekit.plugins.openai")

import livekit_server
import soundfile
from frameworks_trace import named, shape, stretches, tracks, words
from livekit.agents import AgentSession
from livekit_room import KEY, SECRET, Caller
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from voicespan.testing.cascade import CascadeServer, Completion, FunctionCall

pytestmark = [
    pytest.mark.skipif(livekit_server.find() is None, reason=livekit_server.MISSING),
    # Of LiveKit's own clients.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
CALLED = Completion(calls=[FunctionCall("weather", {"city": "London"})])


@pytest.fixture
def livekit_url(tmp_path):
    with socket.socket() as http, socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        for free in (http, tcp, udp):
            free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1] for free in (http, tcp, udp)]
    configuration = (
        f"port: {ports[0]}\nkeys: {{{KEY}: {SECRET}}}\nrtc: {{tcp_port: {ports[1]}, udp_port: {ports[2]}}}\n"
    )
    command = [str(livekit_server.find()), "--bind", "127.0.0.1", "--node-ip", "127.0.0.1"]
    with (tmp_path / "livekit.log").open("wb") as log:
        server = subprocess.Popen([*command, "--config-body", configuration], stdout=log, stderr=log)
    until = time.monotonic() + 20
    while not _listens(ports[0]):
        assert time.monotonic() < until
        time.sleep(0.05)
    yield f"ws://127.0.0.1:{ports[0]}"
    server.terminate()
    server.wait(20)


@pytest.fixture
def worker(start, livekit_url):
    """Starts the worker."""

    def worker(services, **more):
        key = {"LIVEKIT_URL": livekit_url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
        start(
            "livekit_worker.py", "start", ready="registered worker", SERVICES_URL=services.url, **key, **more
        )

    return worker


class Cloud:
    """What stands for LiveKit Cloud's observability."""

    def __init__(self):
        self.received = {}

        class Requests(BaseHTTPRequestHandler):
            def do_POST(handler):  # noqa: N805  `self` is the cloud
                if handler.headers.get("Transfer-Encoding") == "chunked":
                    body = b""
                    while size := int(handler.rfile.readline(), 16):
                        body += handler.rfile.read(size + 2)[:-2]
                    handler.rfile.readline()
                else:
                    body = handler.rfile.read(int(handler.headers["Content-Length"]))
                kind = handler.path.split("/")[2]
                self.received.setdefault(kind, []).append((handler.headers["Content-Type"], body))
                handler.send_response(200)
                handler.send_header("Content-Length", "0")
                handler.end_headers()

            def log_message(handler, *_):  # noqa: N805
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def until(self, kind):
        end = time.monotonic() + 20
        while kind not in self.received:
            assert time.monotonic() < end, list(self.received)
            time.sleep(0.05)

    def recording(self):
        ((content_type, body),) = self.received["recordings"]
        message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
        (audio,) = (part for part in message.walk() if part.get_content_type() == "audio/ogg")
        samples, rate = soundfile.read(io.BytesIO(audio.get_payload(decode=True)))
        return (samples[:, 0], rate), (samples[:, 1], rate)

    def spans(self):
        names = set()
        for _, body in self.received["traces"]:
            request = ExportTraceServiceRequest.FromString(gzip.decompress(body))
            scopes = (scope for resource in request.resource_spans for scope in resource.scope_spans)
            names |= {span.name for scope in scopes for span in scope.spans}
        return names


@pytest.fixture
def livekit_cloud():
    cloud = Cloud()
    yield cloud
    cloud.server.shutdown()
    cloud.server.server_close()


@pytest.mark.skipif(
    "record" not in inspect.signature(AgentSession.start).parameters,
    reason="the oldest record nothing themselves",
)
async def test_a_call(livekit_url, worker, livekit_cloud, the_trace):
    answer = "It is foggy in London, and it will stay so for the whole day."
    with CascadeServer([CALLED, answer], ["How is the weather in London?", ""]) as services:
        worker(services, LIVEKIT_OBSERVABILITY_URL=livekit_cloud.url)
        async with Caller(livekit_url, "shop-1", "kind-agent") as caller:
            await caller.is_answered()
            caller.say(0.8)
            await caller.hears_the_agent(1.0)
            caller.say(0.25)  # a cough: the agent pauses, and goes on
            await caller.hears_nothing_for(1.5)
            await caller.leave()
            root, _ = the_trace()
    assert shape(root) == [
        ("stt", []),
        ("llm", []),
        ("function_call: weather", ["look up"]),
        ("llm", []),
        ("tts", []),
        ("stt", []),
    ]
    assert words(root) == [
        ("user", "How is the weather in London?"),
        ("tool", "foggy in London"),
        ("assistant", answer),
    ]
    assert root.status == "success"
    assert root.metadata["thread_id"] == root.metadata["livekit_room"] == "shop-1"
    assert root.metadata["livekit_agent_name"] == "kind-agent"
    assert root.metadata["livekit_participant"] == "caller-7"
    assert root.metadata["livekit_job_id"].startswith("AJ_")
    assert root.metadata["livekit_room_sid"].startswith("RM_")
    assert root.metadata["close_reason"] == "participant_disconnected"
    assert root.metadata["interruption_count"] == 0
    user, agent = tracks(root)
    # The same as reached the caller's ear, the pause included, and as LiveKit's own recorder has.
    assert lengths(agent) == pytest.approx(lengths(caller.track), abs=0.1)
    assert rests(agent) == pytest.approx(rests(caller.track), abs=0.1)
    livekit_cloud.until("recordings")
    livekits_user, livekits_agent = livekit_cloud.recording()
    assert lengths(agent) == pytest.approx(lengths(livekits_agent), abs=0.15)
    assert lengths(user) == pytest.approx(lengths(livekits_user), abs=0.1)
    assert lengths(user) == pytest.approx([0.8, 0.25], abs=0.1)
    livekit_cloud.until("traces")
    assert {"agent_session", "agent_turn", "llm_node", "tts_node", "function_tool"} <= livekit_cloud.spans()
    assert not {"conversation", "stt", "llm", "tts"} & livekit_cloud.spans()


async def test_a_caller_who_cuts_in_and_hangs_up_in_mid_answer(livekit_url, worker, the_trace):
    story = "Once upon a time there was a fox who lived in a wood near an old mill, and never came out."
    with CascadeServer([story, story], ["Tell me a story.", "Another one, please."]) as services:
        worker(services)
        async with Caller(livekit_url, "shop-2", "kind-agent") as caller:
            await caller.is_answered()
            caller.say(0.8)
            await caller.hears_the_agent(1.0)
            caller.say(0.6)
            await caller.hears_the_agent(3.0)
    root, _ = the_trace()
    (cut,) = named(root, "interrupted")
    _, agent = tracks(root)
    first, *_ = lengths(caller.track)
    assert cut.metadata["heard_ms"] == pytest.approx(first * 1000, abs=150)
    assert lengths(agent)[0] == pytest.approx(first, abs=0.1)
    # What was generated, and played to nobody, is not heard.
    assert sum(lengths(agent)) == pytest.approx(sum(lengths(caller.track)), abs=0.4)
    assert root.metadata["interruption_count"] == 1  # hanging up is none
    assert root.status == "success"


def lengths(track):
    return [end - begin for begin, end in stretches(track)]


def rests(track):
    return [later - end for (_, end), (later, _) in itertools.pairwise(stretches(track))]


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
