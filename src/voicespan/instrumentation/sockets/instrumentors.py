"""The instrumentors of the socket libraries."""

from __future__ import annotations

import importlib
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.instrumentation.instrumentor import TracingInstrumentor
from voicespan.runtime.loading import LOADING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from voicespan.instrumentation.sockets.by_url import SocketRequest
    from voicespan.instrumentation.sockets.traced_socket import TracedSocket


class SocketInstrumentor(TracingInstrumentor):
    """Traces the sockets of one library that speak a provider's protocol, which their URL says.

    `instrument(tracer_provider=...)` takes the provider for the spans (default: the global one). Sockets that are
    open already stay untraced; those that are open at `uninstrument()` end with the status `untraced`.
    """

    #: The module with the patches: loaded when the library is imported, which in most processes never happens.
    _patched_by: ClassVar[str]
    _open: ClassVar[weakref.WeakSet[TracedSocket]]

    def __init_subclass__(cls) -> None:
        """Each instrumentor has its own sockets."""
        super().__init_subclass__()
        cls._open = weakref.WeakSet()

    def _patches(self, module: ModuleType) -> Iterator[tuple[type, str, Any]]:
        _part("by_url").load_endpoints()
        found: Iterator[tuple[type, str, Any]] = _part(self._patched_by).patches(module, self._opens)
        return found

    def _opens(self, request: SocketRequest) -> TracedSocket | None:
        """Look at the URL of a socket that is about to be opened."""
        if not self.is_tracing():
            return None
        socket: TracedSocket | None = _part("traced_socket").opening(
            request, self.tracer_provider, self.clock
        )
        if socket is not None:
            self._open.add(socket)
        return socket

    def _end_open(self) -> None:
        for socket in list(self._open):
            socket.untraced()
        self._open.clear()


class WebsocketsInstrumentor(SocketInstrumentor):
    """Traces `websockets` 13 and later: the asyncio and the sync client, and `websockets.legacy`.

    Example:
        >>> from voicespan.instrumentation.sockets import WebsocketsInstrumentor
        >>> WebsocketsInstrumentor().instrument()
        >>> WebsocketsInstrumentor().uninstrument()
    """

    modules = ("websockets.asyncio.client", "websockets.sync.client", "websockets.legacy.client")
    _patched_by = "websockets"


class AiohttpInstrumentor(SocketInstrumentor):
    """Traces `aiohttp` 3.9 and later: `ClientSession.ws_connect`.

    Example:
        >>> from voicespan.instrumentation.sockets import AiohttpInstrumentor
        >>> AiohttpInstrumentor().instrument()
        >>> AiohttpInstrumentor().uninstrument()
    """

    modules = ("aiohttp.client", "aiohttp.client_ws")
    _patched_by = "aiohttp"

    def _patches(self, module: ModuleType) -> Iterator[tuple[type, str, Any]]:
        # Most who import it want HTTP: the first socket of a provider's waits for these.
        LOADING.need("voicespan.tracing.conversation", "voicespan.instrumentation.sockets.traced_socket")
        return super()._patches(module)


class WebsocketClientInstrumentor(SocketInstrumentor):
    """Traces `websocket-client` 1.6 and later: `WebSocket` and `WebSocketApp`.

    Example:
        >>> from voicespan.instrumentation.sockets import WebsocketClientInstrumentor
        >>> WebsocketClientInstrumentor().instrument()
        >>> WebsocketClientInstrumentor().uninstrument()
    """

    modules = ("websocket._core",)
    _patched_by = "websocket_client"


def _part(name: str) -> Any:
    return importlib.import_module(f"voicespan.instrumentation.sockets.{name}")
