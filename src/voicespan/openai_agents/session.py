"""One `RealtimeSession`: the conversation, over all its agents.

What the model and the user say, and which functions run, comes by the socket. Here stands what only the session knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.instrumentation.framework_session import FrameworkSession
from voicespan.openai_agents.audio import PlayedAudio
from voicespan.protocol.events import LocalId, OperationEnded, OperationStarted
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import TracerProvider

    from voicespan.runtime.clock import Clock


class SessionTrace(FrameworkSession):
    """What is traced of one `RealtimeSession`."""

    def __init__(self, session: Any, *, tracer_provider: TracerProvider | None, clock: Clock) -> None:
        """It is about to connect."""
        config, settings = _settings_of(session)
        agent = _name(getattr(session, "_current_agent", None))
        super().__init__(
            tracer_provider=tracer_provider,
            clock=clock,
            thread_id=_group_of(settings),
            metadata={} if agent is None else {"agent": agent},
        )
        #: What left the application's block.
        self.error: BaseException | None = None
        #: What the application plays, where it says so.
        self.tracker = config.get("playback_tracker")
        self.audio = PlayedAudio(self, settings)
        if self.tracker is not None:
            self.audio.listen()

    @guarded
    def hear(self, event: Any) -> None:
        """The session tells the application of something."""
        handler = self._HANDLERS.get(getattr(event, "type", ""))
        if handler is not None and self.is_open:
            handler(self, event)

    def _handed_off(self, event: Any) -> None:
        to_agent = _name(event.to_agent)
        facts = {"from_agent": _name(event.from_agent), "to_agent": to_agent}
        self._tell("handoff", f"handoff: {to_agent}", facts)
        self.conversation.set_metadata(agent=to_agent)

    def _audio_came(self, event: Any) -> None:
        if self.tracker is not None:
            audio = event.audio
            self.audio.received(audio.item_id, audio.data)

    def _tripped(self, event: Any) -> None:
        for result in event.guardrail_results:
            output = result.output
            self._tell(
                "guardrail_tripped",
                f"guardrail: {_guardrail_name(result.guardrail)}",
                {"tripped": True, "agent": _name(getattr(result, "agent", None))},
                {"messages": [{"role": "assistant", "content": str(event.message)}]},
                {"output_info": _plain(getattr(output, "output_info", None))},
            )

    @guarded
    def guarded_tool(self, guardrail: Any, asked: Any, output: Any, began_at: int) -> None:
        """A guardrail of a function has looked at its arguments or, where `asked` has one, at its output."""
        verdict = output.behavior["type"]
        if verdict == "allow" or not self.is_open:
            return
        context = asked.context
        checked = (
            {"output": str(asked.output)}
            if hasattr(asked, "output")
            else {"arguments": context.tool_arguments}
        )
        facts = {"tripped": True, "behavior": verdict, "function": context.tool_name}
        self._tell(
            "guardrail_tripped",
            f"guardrail: {_guardrail_name(guardrail)}",
            {**facts, "tool_call_id": context.tool_call_id, "agent": _name(getattr(asked, "agent", None))},
            checked,
            {"output_info": _plain(output.output_info)},
            began_at=began_at,
        )

    def _tell(
        self,
        kind: str,
        name: str,
        facts: Mapping[str, Any],
        prompt: Any = None,
        completion: Any = None,
        *,
        began_at: int | None = None,
    ) -> None:
        key, now = LocalId.new(kind), self.now()
        began_at = now if began_at is None else began_at
        self.report(
            OperationStarted(began_at, kind, key, name, prompt=prompt, facts=dict(facts)),
            OperationEnded(now, kind, key, completion=completion),
        )

    _HANDLERS: ClassVar[dict[str, Callable[[SessionTrace, Any], None]]] = {
        "audio": _audio_came,
        "handoff": _handed_off,
        "guardrail_tripped": _tripped,
    }


def _settings_of(session: Any) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The model's configuration, and the settings that it begins with."""
    config = getattr(session, "_model_config", None) or {}
    run = getattr(session, "_run_config", None) or {}
    return config, {**(run.get("model_settings") or {}), **(config.get("initial_model_settings") or {})}


def _group_of(settings: Mapping[str, Any]) -> str | None:
    """What the SDK's own tracing groups sessions by."""
    tracing = settings.get("tracing")
    group = tracing.get("group_id") if isinstance(tracing, dict) else None
    return group if isinstance(group, str) and group else None


def _name(agent: Any) -> str | None:
    name = getattr(agent, "name", None)
    return name if isinstance(name, str) else None


def _guardrail_name(guardrail: Any) -> str:
    name = guardrail.get_name() if hasattr(guardrail, "get_name") else getattr(guardrail, "name", None)
    return name if isinstance(name, str) else "unknown"


def _plain(value: Any) -> Any:
    """What a guardrail found, if it is something that JSON has; else what it prints as."""
    return value if value is None or isinstance(value, (str, int, float, bool, list, dict)) else str(value)
