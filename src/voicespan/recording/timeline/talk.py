"""How two sides share a call: when each speaks, when both do, and when nobody does.

The detectors keep the last few minutes of speech; this keeps the sums of the whole call. What the detectors cannot
change any more is added with `fold`, in order, so each stretch of time counts once.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

from voicespan.recording.timeline.segment import NS

if TYPE_CHECKING:
    from collections.abc import Iterable

#: A silence of this length or longer is dead air.
DEAD_AIR = 5 * NS
#: An agent that is silent so soon after the user's onset has yielded.
YIELDS_WITHIN = 2 * NS

_USER, _AGENT = 0, 1
_ENDS, _STARTS = 0, 1


class Talk(NamedTuple):
    """What the recording knows of a call. Times in nanoseconds; `_at`: of the monotonic clock.

    Attributes:
        hears_user: Whether any audio of the user was recorded; without it nothing is known of that side.
        hears_agent: The same of the agent.
        spoken: From the first speech to the last; 0 without any.
        silence: The part of `spoken` in which nobody speaks.
        overlap: The part in which both speak.
        dead_air: The silences of `DEAD_AIR` or longer, together.
        agent_interrupts: How often the agent began to speak while the user spoke.
        talk_overs: How often the user began to speak while the agent spoke.
        yields: After how many of these the agent was silent within `YIELDS_WITHIN`.
        agent_audible_at: When the agent was first audible at all.
        microphone_dead: Whether the user's audio never rose above -60 dBFS; None: too little of it was recorded.
        inaudible_answers: How many answers had audio that never did.
    """

    hears_user: bool
    hears_agent: bool
    user: int
    agent: int
    overlap: int
    silence: int
    spoken: int
    longest_silence: int
    dead_air: int
    dead_air_count: int
    agent_interrupts: int
    talk_overs: int
    yields: int
    user_spoke_at: int | None
    agent_audible_at: int | None
    microphone_dead: bool | None
    inaudible_answers: int


class TalkTimes:
    """The sums of one call."""

    __slots__ = (
        "_at", "_began", "_first_at", "_is_talk_over", "_may_yield", "_silent_at",
        "agent", "agent_interrupts", "dead_air", "dead_air_count", "longest_silence", "overlap", "silence",
        "talk_overs", "until", "user", "user_spoke_at", "yields",
    )  # fmt: skip

    def __init__(self) -> None:
        #: Everything before is in the sums.
        self.until = 0
        self.user = self.agent = self.overlap = self.silence = self.longest_silence = self.dead_air = 0
        self.dead_air_count = self.agent_interrupts = self.talk_overs = self.yields = 0
        self.user_spoke_at: int | None = None
        self._at = 0
        #: Since when each side speaks; None: it does not.
        self._began: tuple[int | None, int | None] = (None, None)
        self._first_at: int | None = None
        self._silent_at = 0
        #: What the user says now began while the agent spoke.
        self._is_talk_over = False
        #: When the user began to speak over what the agent says now, as far as the agent can still yield.
        self._may_yield: tuple[int, ...] = ()

    def copy(self) -> TalkTimes:
        """Others that can be added to."""
        return copy.copy(self)

    @property
    def spoken(self) -> int:
        """From the first speech to the last, in nanoseconds."""
        if self._first_at is None:
            return 0
        speaks = self._began != (None, None)
        return (self._at if speaks else self._silent_at) - self._first_at

    def fold(self, user: Iterable[tuple[int, int]], agent: Iterable[tuple[int, int]], until: int) -> None:
        """Add what was said before `until`, which nothing changes any more.

        Args:
            user: When the user spoke: starts and ends, in order. What was added before may be among them.
            agent: The same of the agent.
            until: In nanoseconds of the monotonic clock.
        """
        edges: list[tuple[int, int, int]] = []
        for side, times in ((_USER, user), (_AGENT, agent)):
            speaks = self._began[side] is not None
            for start, end in times:
                if end <= self.until or start >= until:
                    continue
                if start >= self.until:
                    edges.append((start, _STARTS, side))
                else:
                    speaks = False
                if end <= until:
                    edges.append((end, _ENDS, side))
            if speaks:
                # It was cut since.
                edges.append((self.until, _ENDS, side))
        # At the same time, an end comes before a start.
        for at, kind, side in sorted(edges):
            self._go_on(at)
            if kind == _STARTS:
                self._start(side, at)
            else:
                self._end(side, at)
        if self._began != (None, None):
            self._go_on(until)
        self.until = until

    def _go_on(self, at: int) -> None:
        """Time passes, to `at`."""
        took = at - self._at
        user, agent = self._began[_USER] is not None, self._began[_AGENT] is not None
        self.user += took if user else 0
        self.agent += took if agent else 0
        self.overlap += took if user and agent else 0
        self._at = at

    def _start(self, side: int, at: int) -> None:
        user, agent = self._began
        if self._first_at is None:
            self._first_at = at
        elif user is None and agent is None:
            self._add_silence(at - self._silent_at)
        if side == _USER:
            self.user_spoke_at = at if self.user_spoke_at is None else self.user_spoke_at
            self._is_talk_over = agent is not None
            if agent is not None:
                self.talk_overs += 1
                self._may_yield = (*(each for each in self._may_yield if at - each <= YIELDS_WITHIN), at)
            self._began = (at, agent)
        else:
            # An agent that pauses while it is spoken over, and goes on, interrupts nobody.
            if user is not None and not self._is_talk_over:
                self.agent_interrupts += 1
                self._is_talk_over = True
            self._began = (user, at)

    def _end(self, side: int, at: int) -> None:
        user, agent = self._began
        if side == _USER:
            self._began = (None, agent)
        else:
            self._began = (user, None)
            self.yields += sum(at - each <= YIELDS_WITHIN for each in self._may_yield)
            self._may_yield = ()
        if self._began == (None, None):
            self._silent_at = at

    def _add_silence(self, lasted: int) -> None:
        self.silence += lasted
        self.longest_silence = max(self.longest_silence, lasted)
        if lasted >= DEAD_AIR:
            self.dead_air += lasted
            self.dead_air_count += 1
