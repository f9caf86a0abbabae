"""Makes the n-th call of one kind fail, where the call is ours and not the application's."""

from __future__ import annotations

import builtins
import contextlib
import errno
import fcntl
import io
import os
import socket
import ssl
import sys
import threading
from pathlib import Path

import soundfile
import soxr

import voicespan

OURS = str(Path(voicespan.__file__).parent)
_TESTING = str(Path(OURS) / "testing")
_GUARD = str(Path(OURS) / "runtime" / "guard.py")
#: What these call is the application's, though it may pass through a method that we patched.
_THEIRS = tuple(f"{os.sep}{name}{os.sep}" for name in ("openai", "websockets", "google", "httpx", "anyio"))


def _no(number):
    return lambda: OSError(number, os.strerror(number))


#: kind -> what fails, and how.
KINDS = {
    "thread": ([(threading.Thread, "start")], lambda: RuntimeError("can't start new thread")),
    "open": ([(builtins, "open"), (io, "open"), (os, "open")], _no(errno.EMFILE)),
    "mkdir": ([(os, "mkdir")], _no(errno.ENOSPC)),
    "write": ([(os, "write")], _no(errno.ENOSPC)),
    "fsync": ([(os, "fsync")], _no(errno.EIO)),
    "rename": ([(os, "rename"), (os, "replace")], _no(errno.ENOSPC)),
    "remove": ([(os, "unlink"), (os, "rmdir")], _no(errno.EACCES)),
    "list": ([(os, "scandir"), (os, "listdir")], _no(errno.EMFILE)),
    "lock": ([(fcntl, "lockf"), (fcntl, "flock")], _no(errno.ENOLCK)),
    "connect": ([(socket.socket, "connect")], _no(errno.ECONNREFUSED)),
    "send": ([(socket.socket, "sendall")], _no(errno.ECONNRESET)),
    "resolve": ([(socket, "getaddrinfo")], lambda: socket.gaierror(socket.EAI_AGAIN, "try again")),
    "tls": (
        [
            (ssl.SSLContext, "wrap_socket"),
            (ssl.SSLContext, "load_verify_locations"),
            (ssl.SSLSocket, "sendall"),
        ],
        lambda: ssl.SSLError(1, "the handshake failed"),
    ),
    "read": ([(socket.socket, "recv_into"), (ssl.SSLSocket, "recv_into")], _no(errno.ECONNRESET)),
    "stat": ([(os, "stat"), (os, "fstat"), (os, "lstat")], _no(errno.ESTALE)),
    "soxr": ([(soxr.ResampleStream, "resample_chunk")], lambda: RuntimeError("soxr failed")),
    "soundfile": (
        [(soundfile.SoundFile, name) for name in ("_open", "write", "buffer_write", "buffer_read_into")],
        lambda: soundfile.LibsndfileError(1),
    ),
}


def _is_ours(frame):
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_TESTING) or any(each in name for each in _THEIRS):
            return False
        if name.startswith(OURS):
            return True
        frame = frame.f_back
    return False


class Fault:
    """While it is armed the `number`-th call of `kind` that is ours fails; 0: none does, and they are counted."""

    def __init__(self, kind, number):
        self.kind, self.number = kind, number
        self.count = 0
        self.where = ""
        self._is_armed = False

    def _is_due(self, frame):
        # A thread keeps the profile function with which it was started.
        if not self._is_armed:
            return False
        self.count += 1
        if self.count != self.number:
            return False
        while not frame.f_code.co_filename.startswith(OURS):
            frame = frame.f_back
        self.where = f"{frame.f_code.co_filename[len(OURS) + 1 :]}:{frame.f_lineno}"
        return True

    @contextlib.contextmanager
    def armed(self):
        self._is_armed = True
        try:
            with self._set():
                yield self
        finally:
            self._is_armed = False

    @contextlib.contextmanager
    def _set(self):
        if self.kind == "memory":
            threading.setprofile(self._profile)
            sys.setprofile(self._profile)
            try:
                yield
            finally:
                sys.setprofile(None)
                threading.setprofile(None)
            return
        places, error = KINDS[self.kind]
        with contextlib.ExitStack() as stack:
            for owner, name in places:
                original = getattr(owner, name)
                stack.callback(setattr, owner, name, original)
                setattr(owner, name, self._failing(original, error))
            yield

    def _failing(self, original, error):
        def call(*args, **kwargs):
            frame = sys._getframe(1)
            if _is_ours(frame) and self._is_due(frame):
                raise error()
            return original(*args, **kwargs)

        return call

    def _profile(self, frame, event, _argument):
        """A function of ours that another of ours calls: there is no memory for its frame."""
        if event != "call" or frame.f_back is None:
            return
        name, caller = frame.f_code.co_filename, frame.f_back.f_code.co_filename
        for each in (name, caller):
            if not each.startswith(OURS) or each.startswith(_TESTING) or each == _GUARD:
                return
        if self._is_due(frame):
            raise MemoryError
