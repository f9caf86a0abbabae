"""Real Collectors with the shipped configurations; only ports and folders differ."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import binary
import pytest
from binary import CONFIGURATIONS
from opentelemetry.sdk.trace import TracerProvider
from ports import LOOPBACK, free_port

from voicespan.delivery import LangSmithSpanProcessor
from voicespan.testing import LangSmithServer
from voicespan.tracing.conversation import Conversation


@pytest.fixture(scope="session")
def otelcol():
    """The Collector's path; where there is none the tests that run one are skipped."""
    found = binary.find()
    if found is None:
        pytest.skip(binary.MISSING)
    return found


class Collector:
    """One process, on ports of its own that it keeps through restarts."""

    def __init__(self, otelcol, folder, configurations, overlay="", **environ):
        self.http, self.grpc = free_port(), free_port()
        self.folder = folder
        folder.mkdir()
        self._log = folder / "log"
        own = folder / "own.yaml"
        own.write_text(_OWN.format(http=self.http, grpc=self.grpc) + overlay, encoding="utf-8")
        self._command = [str(otelcol)]
        # A path of its own, instead of a name, stays what it is.
        for path in [*(CONFIGURATIONS / name for name in configurations), own]:
            self._command += ["--config", str(path)]
        self._environ = {"PATH": os.environ["PATH"], "QUEUE_DIRECTORY": str(folder / "queue"), **environ}
        self._process = None

    @property
    def url(self):
        return f"http://{LOOPBACK}:{self.http}"

    @property
    def log(self):
        return self._log.read_text(encoding="utf-8")

    def start(self, **environ):
        """Start it, with these variables changed from now on."""
        self._environ.update(environ)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environ, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def stop(self, number=signal.SIGTERM):
        self._process.send_signal(number)
        self._process.wait(timeout=30)

    def close(self):
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _answers(self):
        with socket.socket() as probe:
            connected = probe.connect_ex((LOOPBACK, self.http)) == 0
            # Where nobody listens a socket may happen to get this very port, and connect to itself.
            return connected and probe.getsockname() != probe.getpeername()


#: Laid over what is shipped. Health and metrics have fixed ports, of which a machine has one each.
_OWN = """
receivers:
  otlp:
    protocols:
      http: {{endpoint: "127.0.0.1:{http}"}}
      grpc: {{endpoint: "127.0.0.1:{grpc}"}}
service:
  telemetry:
    metrics: {{level: none}}
"""

#: The backend is one that tests can ask: OTLP over HTTP. `service:` goes on where the one above ends.
GATEWAY = """
  pipelines:
    PIPELINE:
      exporters: [otlp_http/backend]
extensions:
  health_check: {endpoint: "127.0.0.1:0"}
exporters:
  otlp_http/backend:
    traces_endpoint: ${env:BACKEND}/otel/v1/traces
"""


@pytest.fixture
def patched(tmp_path):
    """The existing configuration with the lines that its diff adds."""
    path = tmp_path / "existing.yaml"
    shutil.copy(CONFIGURATIONS / "existing.yaml", path)
    with (CONFIGURATIONS / "existing.diff").open("rb") as lines:
        subprocess.run(["patch", "--fuzz=0", "--silent", str(path)], stdin=lines, check=True)
    return path


@pytest.fixture
def langsmith():
    with LangSmithServer() as server:
        yield server


@pytest.fixture
def backend():
    """What was there already: takes whatever is not a conversation."""
    with LangSmithServer(api_keys=()) as server:
        yield server


@pytest.fixture
def collector(otelcol, tmp_path):
    """A function that starts a Collector with configurations of `collector/`."""
    with ExitStack() as running:

        def start(name, *configurations, overlay="", **environ):
            started = Collector(otelcol, tmp_path / name, configurations, overlay, **environ)
            running.callback(started.close)
            started.start()
            return started

        yield start


@pytest.fixture
def gateway(collector, langsmith, backend):
    def start(
        *more,
        name="gateway",
        project="voices",
        base="gateway.yaml",
        pipeline="traces/backend",
        key=None,
        endpoint=None,
        **environ,
    ):
        return collector(
            name,
            base,
            *more,
            overlay=GATEWAY.replace("PIPELINE", pipeline),
            LANGSMITH_API_KEY=langsmith.api_key if key is None else key,
            LANGSMITH_ENDPOINT=endpoint or langsmith.url,
            LANGSMITH_PROJECT=project,
            BACKEND=backend.url,
            **environ,
        )

    return start


#: Round the shipped `server`: as in nginx's own image, but for folders and the port.
_NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""


@pytest.fixture
def keeper(langsmith, tmp_path):
    """The URL of an nginx with the shipped template before LangSmith."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("no nginx (on Debian: apt-get install nginx-light)")
    folder, address = tmp_path / "nginx", f"{LOOPBACK}:{free_port()}"
    folder.mkdir()
    server = (CONFIGURATIONS / "keep.conf.template").read_text(encoding="utf-8")
    server = server.replace("127.0.0.1:8080", address).replace("${LANGSMITH_ENDPOINT}", langsmith.url)
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, server=server), encoding="utf-8")
    command = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with subprocess.Popen(command) as process:
        yield f"http://{address}"
        process.terminate()


@pytest.fixture(params=["gateway", "existing"])
def either_gateway(request, gateway, patched):
    """The one that is shipped, and somebody's own with the lines of the diff."""
    changed = {"base": patched, "pipeline": "traces"} if request.param == "existing" else {}
    return partial(gateway, **changed)


@pytest.fixture
def agent(collector):
    return lambda gateway: collector("agent", "agent.yaml", GATEWAY_ENDPOINT=gateway.url)


class Application:
    """Holds conversations and delivers them to a Collector. It has no key."""

    def __init__(self, url):
        self.processor = LangSmithSpanProcessor()
        assert self.processor.destination.url == url
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)
        self.recordings = {}

    def converse(self, *, recording=200_000, sound=b"", thread_id=None, **attributes):
        """A whole conversation with a recording of so many bytes, which no two have alike."""
        conversation = Conversation(tracer_provider=self.provider, thread_id=thread_id)
        with conversation.use():
            tracer = self.provider.get_tracer("voicespan")
            tracer.start_span("turn_complete", attributes=attributes).end()
        sound += random.Random(len(self.recordings)).randbytes(recording)
        conversation.attach_recording(sound, "audio/ogg")
        conversation.end()
        self.recordings[conversation.run_id] = hashlib.sha256(sound).hexdigest()
        return conversation

    def deliver(self, seconds=50):
        return self.processor.force_flush(seconds * 1000)

    @property
    def waiting(self):
        """The folders in its spool."""
        return list(Path(os.environ["VOICESPAN_SPOOL_DIR"]).glob("[!.]*"))

    def is_whole(self, root):
        """Whether everything of that conversation is there, and as it was."""
        sound = root.attachments["conversation"].content
        return (
            root.status == "success"
            and [child.name for child in root.children] == ["turn_complete"]
            and hashlib.sha256(sound).hexdigest() == self.recordings[root.id]
        )


@pytest.fixture
def application(monkeypatch, tmp_path):
    started = []

    def start(collector):
        url = f"{collector.url}/v1/traces"
        for name in list(os.environ):
            if name.startswith(("LANGSMITH_", "LANGCHAIN_", "VOICESPAN_END")):
                monkeypatch.delenv(name)
        monkeypatch.setenv("LANGSMITH_CONFIG_FILE", str(tmp_path / "no-profiles.json"))
        monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(tmp_path / "spool"))
        monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "0")
        monkeypatch.setenv("VOICESPAN_ENDPOINT", url)
        started.append(Application(url))
        return started[-1]

    yield start
    for application in started:
        application.processor.shutdown()
