"""The instrumentor: sets and restores the patches of `sdk`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.instrumentor import TracingInstrumentor
from voicespan.openai_audio import sdk
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from voicespan.openai_audio.connection import AudioCall


class OpenAIAudioInstrumentor(TracingInstrumentor):
    """Traces `audio.transcriptions`, `audio.translations` and `audio.speech` of the `openai` package.

    In a conversation each call is its `stt` or `tts`; inside a block of the application's own
    (`conversation.stt(...)`) it completes that one. Outside of any conversation it is a span by itself, where the
    application's own spans are.

    `instrument(tracer_provider=...)` takes the provider for the spans (default: the global one). Where `openai` is
    not installed it does nothing.

    Example:
        >>> from voicespan.openai_audio import OpenAIAudioInstrumentor
        >>> OpenAIAudioInstrumentor().instrument()
        >>> OpenAIAudioInstrumentor().uninstrument()
    """

    modules = sdk.MODULES

    def _patches(self, module: ModuleType) -> Iterator[tuple[type, str, Any]]:
        return sdk.patches(module, self._begin)

    @guarded
    def _begin(self, kind: str, resource: Any, arguments: dict[str, Any]) -> AudioCall | None:
        if not self.is_tracing():
            return None
        # With the first call: most processes that instrument `openai` make none.
        from voicespan.openai_audio import connection  # noqa: PLC0415

        begin = connection.spoken if kind == "speech" else connection.transcribed
        return begin(resource, arguments, self.tracer_provider, self.clock)
