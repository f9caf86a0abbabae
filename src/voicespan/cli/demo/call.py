"""One call: what an agent is given to take part in it, whichever service it speaks to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import voicespan
from voicespan.cli.demo.restaurant import Restaurant
from voicespan.cli.demo.telephone import Telephone
from voicespan.recording import Recorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from opentelemetry.trace import TracerProvider

    from voicespan.cli.demo.call_clock import CallClock
    from voicespan.cli.demo.story import Cue


class Call:
    """A caller on the telephone, a restaurant, and who watches.

    Attributes:
        telephone: The caller's.
        recorder: Where both sides go as they are heard.
        clock: What it goes by.
    """

    def __init__(
        self,
        cues: tuple[Cue, ...],
        tracer_provider: TracerProvider,
        clock: CallClock,
        show: Callable[[str, str, float], None],
    ) -> None:
        """`show` is called with who says what, and at which second of the call it is known."""
        self.telephone = Telephone(cues, clock)
        self.recorder = Recorder(None)
        self._restaurant = Restaurant(tracer_provider, clock)
        self.clock = clock
        self._show = show
        self._began = 0.0

    def dialled(self) -> None:
        """From now on it is counted how long the call takes."""
        self._began = self.clock.seconds()

    def picked_up(self) -> None:
        """The agent is connected: there is a conversation now, and so something to record."""
        conversation = voicespan.current_conversation()
        if conversation is not None:
            self.recorder = conversation.recorder

    def say(self, who: str, words: str, *, heard_ms: int | None = None) -> None:
        """Somebody said something; `heard_ms`: of which only so much was heard."""
        if heard_ms is not None:
            words = f"{words}… (cut off: {heard_ms / 1000:.1f} s were heard)"
        self._show(who, words, self.clock.seconds() - self._began)

    async def function(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call one of the restaurant's functions; if the model called it wrongly, the answer says so."""
        functions: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "find_tables": self._restaurant.find_tables,
            "book_table": self._restaurant.book_table,
        }
        try:
            working = functions[name](**arguments)
        except (KeyError, TypeError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        result = await working
        shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        self.say("agent", f"[{name}({shown})]")
        return result
