"""Which methods of the `openai` package are patched.

`with_raw_response` and `with_streaming_response` call the same methods, with a header that asks for another result.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import TypeAlias

    from voicespan.openai_audio.connection import AudioCall

    Begin: TypeAlias = Callable[[str, Any, dict[str, Any]], AudioCall | None]

MODULES = (
    "openai.resources.audio.transcriptions",
    "openai.resources.audio.translations",
    "openai.resources.audio.speech",
)
_CLASSES = {
    "transcriptions": ("Transcriptions", "AsyncTranscriptions"),
    "translations": ("Translations", "AsyncTranslations"),
    "speech": ("Speech", "AsyncSpeech"),
}


def patches(module: ModuleType, begin: Begin) -> Iterator[tuple[type, str, Any]]:
    """Every (class, attribute, replacement) in `module`."""
    kind = module.__name__.rpartition(".")[2]
    for name in _CLASSES[kind]:
        owner = getattr(module, name)
        create = owner.create
        if inspect.iscoroutinefunction(create):
            yield owner, "create", _coroutine_function(kind, create, begin)
        else:
            yield owner, "create", _function(kind, create, begin, is_async=name.startswith("Async"))


def _function(kind: str, create: Any, begin: Begin, *, is_async: bool) -> Any:
    """For a method that returns the answer, or a coroutine of it: the SDK looks at the arguments before."""
    # It warns its caller, which is to be the application's code as before.
    deprecated = getattr(create, "__deprecated__", None)
    inner = create if deprecated is None else create.__wrapped__

    @functools.wraps(create)
    def traced_create(self: Any, *args: Any, **kwargs: Any) -> Any:
        if deprecated is not None:
            warnings.warn(deprecated, DeprecationWarning, stacklevel=2)
        if is_async:
            return _awaited(inner(self, *args, **kwargs), begin, kind, self, kwargs)
        call = begin(kind, self, kwargs)
        if call is None:
            return inner(self, *args, **kwargs)
        call.begin()
        try:
            result = inner(self, *args, **kwargs)
        except BaseException as error:
            call.leave()
            call.failed(error)
            raise
        call.leave()
        call.returned(result)
        return result

    return traced_create


def _coroutine_function(kind: str, create: Any, begin: Begin) -> Any:
    @functools.wraps(create)
    async def traced_create(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await _awaited(create(self, *args, **kwargs), begin, kind, self, kwargs)

    return traced_create


async def _awaited(answer: Any, begin: Begin, kind: str, resource: Any, arguments: dict[str, Any]) -> Any:
    call = begin(kind, resource, arguments)
    if call is None:
        return await answer
    call.begin()
    try:
        result = await answer
    except BaseException as error:
        call.leave()
        call.failed(error)
        raise
    call.leave()
    call.returned(result)
    return result
