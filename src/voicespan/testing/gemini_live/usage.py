"""What a turn costs, counted roughly as the vendor does, under the names that the vendor gives it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# A token for about four characters; 32 a second of what is heard, 25 of what is said.
_CHARACTERS_PER_TOKEN = 4
_INPUT_TOKENS_PER_MS = 0.032
_OUTPUT_TOKENS_PER_MS = 0.025


@dataclass
class Counted:
    """How much there was of each modality."""

    characters: int = 0
    heard_ms: float = 0.0
    said_ms: float = 0.0

    @property
    def tokens(self) -> dict[str, int]:
        """By modality, without those of which there was nothing."""
        audio = self.heard_ms * _INPUT_TOKENS_PER_MS + self.said_ms * _OUTPUT_TOKENS_PER_MS
        counts = {"TEXT": math.ceil(self.characters / _CHARACTERS_PER_TOKEN), "AUDIO": math.ceil(audio)}
        return {modality: count for modality, count in counts.items() if count}

    def add(self, other: Counted) -> None:
        """What was said becomes part of what is read next time."""
        self.characters += other.characters
        self.heard_ms += other.heard_ms
        self.said_ms += other.said_ms


def usage_metadata(context: Counted, output: Counted, thought: int) -> dict[str, Any]:
    """The `usageMetadata` of a turn; `thought`: characters of thoughts, which no total includes, as recorded."""
    read, made = context.tokens, output.tokens
    usage: dict[str, Any] = {
        "promptTokenCount": sum(read.values()),
        "responseTokenCount": sum(made.values()),
        "totalTokenCount": sum(read.values()) + sum(made.values()),
        "promptTokensDetails": [{"modality": name, "tokenCount": count} for name, count in read.items()],
        "responseTokensDetails": [{"modality": name, "tokenCount": count} for name, count in made.items()],
    }
    if thought:
        usage["thoughtsTokenCount"] = math.ceil(thought / _CHARACTERS_PER_TOKEN)
    return usage
