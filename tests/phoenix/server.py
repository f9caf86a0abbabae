"""A real Arize Phoenix, started for the tests and for the pictures of the docs."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request

from ports import LOOPBACK, free_port


class Phoenix:
    """One process, which starts in a quarter of a minute."""

    def __init__(self, command, folder):
        self.port, self.grpc = free_port(), free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._log = folder / "log"
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PHOENIX_WORKING_DIR": str(folder),
            "PHOENIX_HOST": LOOPBACK,
            "PHOENIX_PORT": str(self.port),
            "PHOENIX_GRPC_PORT": str(self.grpc),
            "PHOENIX_TELEMETRY_ENABLED": "false",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([command, "serve"], env=environ, stdout=log, stderr=log)

    def wait(self):
        deadline = time.monotonic() + 120
        while True:
            assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, self._log.read_text(encoding="utf-8")
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=5).close()
            except OSError:
                time.sleep(0.1)
            else:
                return

    def close(self):
        self._process.kill()
        self._process.wait()

    def get(self, path):
        """What its REST API has."""
        with urllib.request.urlopen(f"{self.url}/v1/{path}", timeout=20) as answer:
            return json.load(answer)["data"]

    def ask(self, query):
        """What its GraphQL API has, which its pages are made of."""
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            said = json.load(answer)
        assert "errors" not in said, said
        return said["data"]
