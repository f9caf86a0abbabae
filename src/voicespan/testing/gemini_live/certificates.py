"""TLS for the server: `google-genai` speaks nothing else to a server, also on this machine."""

from __future__ import annotations

import contextlib
import functools
import os
import ssl
import tempfile
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator


class Authority:
    """A certificate authority that exists for this process alone, and its certificate for 127.0.0.1."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self._certificate = self._authority.issue_cert("127.0.0.1", "localhost")

    def server_context(self) -> ssl.SSLContext:
        """What the server shows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate.configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        """What makes a client trust it, and nobody else."""
        return ssl.create_default_context(cadata=self._authority.cert_pem.bytes().decode())

    @contextlib.contextmanager
    def file(self) -> Iterator[str]:
        """The path of a file that names it, for `SSL_CERT_FILE`."""
        with tempfile.TemporaryDirectory(prefix="voicespan-") as directory:
            path = os.path.join(directory, "authority.pem")  # noqa: PTH118  goes into the environment
            self._authority.cert_pem.write_to_path(path)
            yield path


@functools.cache
def authority() -> Authority:
    """The process's authority: keys are made once, since that takes longer than a test."""
    return Authority()
