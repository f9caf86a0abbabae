"""How long a conversation's root waits for a recording that was promised, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from voicespan.delivery.spool.folder import RecordingResult


@dataclass
class ExpectedRecording:
    """A recording that one side may make: the client, or our recorder."""

    #: Seconds after the conversation that it is waited for; None: nobody said that it is coming.
    within: float | None = None
    #: Monotonic seconds; None: the conversation is open.
    deadline: float | None = None
    #: What came, or why nothing did.
    outcome: RecordingResult | None = None

    @property
    def attached(self) -> bool:
        """Whether there is a file."""
        return self.outcome is not None and self.outcome.status == "attached"

    def left(self, now: float) -> float:
        """Seconds that it is still to be waited for."""
        if self.outcome is not None or self.within is None or self.deadline is None:
            return 0.0
        return max(self.deadline - now, 0.0)

    def expect(self, seconds: float, now: float) -> None:
        """It is coming within so many seconds after the conversation, or from now on if that is over."""
        self.within = max(seconds, self.within or 0.0)
        if self.deadline is not None:
            self.deadline = max(self.deadline, now + seconds)

    def ended(self, now: float) -> None:
        """The conversation is over."""
        self.deadline = now + (self.within or 0.0)

    def hurry(self, seconds: float, now: float) -> None:
        """It is not waited for any longer than `seconds`."""
        if self.within is not None:
            self.within = min(self.within, seconds)
        if self.deadline is not None:
            self.deadline = min(self.deadline, now + seconds)

    def result(self) -> RecordingResult | None:
        """What became of it; None: nobody had said that it is coming."""
        if self.outcome is None and self.within is not None:
            return RecordingResult("timeout")
        return self.outcome
