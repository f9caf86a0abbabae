"""The Realtime API of whichever `openai` is installed: GA and beta, sync and async, through one interface."""

from __future__ import annotations

import contextlib
import importlib
import inspect
from dataclasses import dataclass
from typing import Any

import openai

VERSION = tuple(int(part) for part in openai.__version__.split(".")[:2])

#: The first version that has it, so that what a test does not find is missing and not overlooked.
SINCE = {
    "call_id": (2, 1),
    "send_raw": (2, 31),
    "dispatch_events": (2, 32),
    "reconnect": (2, 32),
    "queue": (2, 32),
    "flush on send": (3, 43),
}


@dataclass(frozen=True)
class API:
    """One of the four pairs of classes that speak the protocol."""

    beta: bool
    asynchronous: bool

    def __str__(self) -> str:
        return f"{'beta' if self.beta else 'ga'}-{'async' if self.asynchronous else 'sync'}"

    def has(self, feature: str) -> bool:
        # The beta API got its last feature before any of these.
        return not self.beta and SINCE[feature] <= VERSION

    @property
    def module(self) -> Any:
        return importlib.import_module(f"openai.resources.{'beta.' if self.beta else ''}realtime.realtime")

    @property
    def connection_class(self) -> Any:
        return getattr(self.module, "AsyncRealtimeConnection" if self.asynchronous else "RealtimeConnection")

    @property
    def manager_class(self) -> Any:
        return getattr(self.module, f"{self.connection_class.__name__}Manager")

    def client(self, server: Any, **options: Any) -> Any:
        kind = openai.AsyncOpenAI if self.asynchronous else openai.OpenAI
        return kind(api_key="a-key-for-tests", websocket_base_url=server.url, max_retries=0, **options)

    def azure_client(self, server: Any, **options: Any) -> Any:
        kind = openai.AsyncAzureOpenAI if self.asynchronous else openai.AzureOpenAI
        return kind(
            api_key="a-key-for-tests",
            api_version="2025-08-28",
            azure_endpoint="https://voice.openai.azure.com",
            websocket_base_url=server.url,
            **options,
        )

    def connect(self, client: Any, **options: Any) -> Any:
        """The manager that `connect()` returns."""
        resource = client.beta.realtime if self.beta else client.realtime
        return resource.connect(**options)


APIS = [API(beta, asynchronous) for beta in (False, True) for asynchronous in (False, True)]


async def settled(result: Any) -> Any:
    """What a call returned, awaited where that is needed. (A sync call has blocked by then.)"""
    return await result if inspect.isawaitable(result) else result


@contextlib.asynccontextmanager
async def opened(manager: Any) -> Any:
    """`with manager` or `async with manager`."""
    if hasattr(manager, "__aenter__"):
        async with manager as connection:
            yield connection
    else:
        with manager as connection:
            yield connection


async def iterated(connection: Any) -> Any:
    """`for event in connection` or `async for event in connection`."""
    if hasattr(connection, "__aiter__"):
        async for event in connection:
            yield event
    else:
        for event in connection:
            yield event


def arrived(server: Any, number: int = 0) -> list[Any]:
    """Every frame that the server got on a connection which the client has closed."""
    server.connections[number].wait_closed()
    return server.connections[number].received
