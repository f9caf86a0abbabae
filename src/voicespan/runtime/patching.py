"""Replaces attributes of a library's classes once it is imported, and restores them."""

from __future__ import annotations

import sys
from types import CellType
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from wrapt import register_post_import_hook

from voicespan.runtime import supported
from voicespan.runtime.guard import guarded, warn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from types import ModuleType

_ABSENT = object()
#: How many wrappers one over another are looked through.
_DEEPEST = 8


class PatchingInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # ships no types
    """Replaces attributes of classes, in modules that may be imported much later.

    Under `opentelemetry-instrument` this runs in every Python process of an image, with or without the
    library: it imports nothing and never raises, since an exception would keep every other
    instrumentor of the process from being loaded.
    """

    #: The modules that hold the classes.
    modules: ClassVar[tuple[str, ...]] = ()
    _active = False
    _hooked = False
    _replaced: ClassVar[list[tuple[Any, str, Any, Any]]] = []

    def __init_subclass__(cls) -> None:
        """Each instrumentor is one object with its own list."""
        super().__init_subclass__()
        cls._replaced = []

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: a library that is missing is no conflict, and one that is too old is left alone."""
        return ()

    def instrument(self, **kwargs: Any) -> None:
        """Patch the library. Called again, with other arguments say, it goes on with those."""
        if self.is_instrumented_by_opentelemetry:
            self._start(kwargs)
        else:
            super().instrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        self._start(kwargs)

    @guarded
    def _start(self, arguments: Mapping[str, Any]) -> None:
        self._configure(arguments)
        self._active = True
        for name in self.modules:
            if name in sys.modules:
                self._set(sys.modules[name])
            elif not type(self)._hooked:  # noqa: SLF001  a flag of this class
                register_post_import_hook(self._imported, name)
        type(self)._hooked = True  # noqa: SLF001

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002  the base's signature
        self._stop()

    @guarded
    def _stop(self) -> None:
        self._active = False
        self._stopped()
        covered = []
        while self._replaced:
            owner, name, ours, original = replaced = self._replaced.pop()
            if owner.__dict__.get(name) is not ours:
                # Somebody wrapped it after us. Ours stays below, lets everything through from now on,
                # and must not be set a second time.
                covered.append(replaced)
            elif original is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
        self._replaced.extend(covered)

    @guarded
    def _imported(self, module: ModuleType) -> None:
        if self._active:
            self._set(module)

    @guarded
    def _set(self, module: ModuleType) -> None:
        # What was covered when we stopped may have been taken away since, ours with it.
        self._replaced[:] = [
            each for each in self._replaced if _wraps(each[0].__dict__.get(each[1]), each[2])
        ]
        try:
            wanted = list(self._patches(module))
        except (AttributeError, ImportError, LookupError, TypeError) as error:
            # Nothing is patched then: half of the patches would tell half of a conversation.
            warn(
                "Nothing of %s is traced: this version of it does not have what voicespan looks for in %s (%s). "
                "The application is not affected.",
                supported.tested(module.__name__),
                module.__name__,
                type(error).__name__,
            )
            return
        patched = {(owner, name) for owner, name, _, _ in self._replaced}
        for owner, name, ours in wanted:
            if (owner, name) not in patched:
                self._replaced.append((owner, name, ours, owner.__dict__.get(name, _ABSENT)))
                setattr(owner, name, ours)

    def is_tracing(self) -> bool:
        """Whether what starts here and now is to be traced."""
        return self._active and is_instrumentation_enabled()

    def _patches(self, module: ModuleType) -> Iterator[tuple[type, str, Any]]:
        """Every (class, attribute, replacement) in `module`."""
        raise NotImplementedError

    def _configure(self, arguments: Mapping[str, Any]) -> None:
        """Take what `instrument` was given."""

    def _stopped(self) -> None:
        """Nothing new is traced from now on: end what is open."""


def _wraps(outer: Any, inner: Any, depth: int = 0) -> bool:
    """Whether `outer` calls `inner`: by the `__wrapped__` of a wrapper, or by what a function closes over."""
    if outer is inner:
        return True
    if outer is None or depth >= _DEEPEST:
        return False
    cells = [cell.cell_contents for cell in getattr(outer, "__closure__", None) or () if cell != _EMPTY_CELL]
    below = [getattr(outer, "__wrapped__", None), *(each for each in cells if callable(each))]
    return any(_wraps(each, inner, depth + 1) for each in below)


_EMPTY_CELL = CellType()
