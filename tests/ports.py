"""Ports of this machine, for processes that cannot choose one themselves."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def free_port():
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        return free.getsockname()[1]
