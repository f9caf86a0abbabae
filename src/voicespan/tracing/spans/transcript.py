"""What was said, in the order in which it was spoken.

An entry takes its place when its message first appears, not when its words arrive: the user's transcript
is often ready only after the agent's answer. It keeps a bounded amount of text: past the limit it loses
from the middle, since how a call began and how it ended say the most.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from voicespan.content.truncation import cut_text, encode
from voicespan.protocol.events import LocalId
from voicespan.runtime.bounded import put
from voicespan.runtime.settings import NO_LIMIT
from voicespan.tracing.messages import Written, with_parts, without_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.protocol.events import Role

#: Entries without words weigh something as well.
_ENTRY_WEIGHT = 100
#: Of one message: characters, parts and function calls.
_LONGEST_TEXT = 250_000
_MOST_PARTS = 64
_MOST_CALLS = 128
#: So many are found by their id, the newest; an older one's frames are long over.
_MOST_FOUND = 500
#: An entry is put after one of the last so many, or at the end.
_MOST_LOOKED_AT = 1_000
#: Stands for words that are in a message's JSON.
_KEPT = ""


class Entry:
    """One message; `text` is None until its words are known.

    A long call has thousands, and the root has all of them: at its end, and each time that it is noted what it
    would have if it ended now. So the message is kept as JSON once that was asked for, and its words only there.
    """

    # As few as can be: that is what a message costs beside its words.
    __slots__ = (
        "_answered", "_json", "_text", "awaits_transcript", "facts", "given", "parts", "role", "tool_calls",
    )  # fmt: skip

    def __init__(self, role: Role) -> None:
        self.role = role
        #: Of which it is made, by their index; None where it is one, as nearly all are.
        self.parts: dict[int, str] | None = None
        #: The model has it: it is part of an input.
        self.given = False
        self.awaits_transcript = False
        self.tool_calls: tuple[dict[str, Any], ...] = ()
        self.facts: dict[str, Any] | None = None
        self._answered: tuple[str, str | None] | None = None  # the call, and the name of the function
        self._text: str | None = None  # `_KEPT` where they are in the JSON
        self._json: str | None = None

    @property
    def text(self) -> str | None:
        """Its words."""
        if self._json is not None and self._text is not None:
            text: str = without_parts(json.loads(self._json))["content"]
            return text
        return self._text

    @text.setter
    def text(self, text: str | None) -> None:
        self._text, self._json = text, None

    def note(self, **facts: Any) -> None:
        """Tell more of the message."""
        self._open()
        self.facts = {**(self.facts or {}), **facts}

    def answers(self, call_id: str, name: str | None) -> None:
        """The message is what a function gave back."""
        self._open()
        self._answered = (call_id, name)

    def calls(self, tool_call: dict[str, Any]) -> None:
        """The message asks for a function."""
        self._open()
        self.tool_calls = (*self.tool_calls, tool_call)

    def _open(self) -> None:
        self._text, self._json = self.text, None

    def json(self) -> str:
        """The message as JSON, as OpenTelemetry writes it."""
        if self._json is None:
            self._json = encode(with_parts(self.message()), NO_LIMIT)
            self._text = None if self._text is None else _KEPT
        return self._json

    def message(self) -> dict[str, Any]:
        """The entry as LangSmith and the chat APIs write a message."""
        message: dict[str, Any] = {"role": self.role, "content": self.text or ""}
        call_id, name = self._answered or (None, None)
        if name is not None:
            message["name"] = name
        if self.tool_calls:
            message["tool_calls"] = list(self.tool_calls)
        if call_id is not None and not isinstance(call_id, LocalId):
            message["tool_call_id"] = call_id
        if self.facts:
            message["metadata"] = dict(self.facts)
        return message

    @property
    def finish_reason(self) -> str:
        """Why the model stopped with it, as far as the message itself says it: the generation's span knows."""
        return "tool_call" if self.tool_calls else ""

    @property
    def has_content(self) -> bool:
        """Whether anything is known of it beyond that it exists."""
        return self._text is not None or bool(self.tool_calls)

    @property
    def weight(self) -> int:
        return _ENTRY_WEIGHT + len(self.text or "") + sum(len(str(call)) for call in self.tool_calls)


class Transcript:
    """The entries of a conversation, findable by item id."""

    def __init__(self, limit: int) -> None:
        """`limit`: how many characters are kept."""
        self._limit = limit
        self._entries: list[Entry] = []
        self._by_id: dict[str, Entry] = {}
        self._weight = 0
        #: How many messages were left out of the middle.
        self.omitted = 0
        self._cut_after: Entry | None = None
        #: A hash of what was transcribed last, by item and part.
        self._transcribed: dict[str, int] = {}

    def is_repeated(self, item_id: str, part: int, text: str | None) -> bool:
        """Whether this part of the item was last transcribed with these very words; they are remembered."""
        key, words = f"{part} {item_id}", hash(text)
        if self._transcribed.get(key) == words:
            return True
        put(self._transcribed, key, words)
        return False

    def place(self, item_id: str, role: Role, after: str | None = None, before: str | None = None) -> Entry:
        """The entry of `item_id`, made at its place if it is new: after or before another one, or at the end."""
        entry = self._by_id.get(item_id)
        if entry is None:
            entry = Entry(role)
            # Before it is known itself: some say that they come after themselves.
            previous = self._by_id.get(after) if after is not None else None
            self._by_id[item_id] = entry
            if len(self._by_id) > _MOST_FOUND:
                del self._by_id[next(iter(self._by_id))]
            following = self._by_id.get(before) if before is not None else None
            if following is not None and following is not entry:
                self._entries.insert(self._index(following), entry)
            elif previous is None or previous is self._entries[-1]:
                self._entries.append(entry)
            else:
                self._entries.insert(self._index(previous) + 1, entry)
            self._weigh(_ENTRY_WEIGHT)
        return entry

    def write(self, entry: Entry, text: str | None, part: int = 0) -> None:
        """Give an entry its words, or one of its parts (again, where a later frame knows better)."""
        before = len(entry.text or "")
        if text is not None:
            _write_part(entry, part, cut_text(text, _LONGEST_TEXT))
        entry.awaits_transcript = False
        self._weigh(len(entry.text or "") - before)

    def call(self, entry: Entry, tool_call: dict[str, Any]) -> None:
        """Add a function call to an assistant's entry."""
        if len(entry.tool_calls) < _MOST_CALLS:
            entry.calls(tool_call)
            self._weigh(len(str(tool_call)))

    def find(self, item_id: str) -> Entry | None:
        return self._by_id.get(item_id)

    def remove(self, item_id: str) -> None:
        entry = self._by_id.pop(item_id, None)
        if entry is not None:
            self._entries.remove(entry)
            self._weigh(-entry.weight)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def messages(self) -> list[Written]:
        """All messages of which something is known, the gap in the middle marked."""
        messages: list[Written] = []
        for entry in self._entries:
            if entry.has_content:
                messages.append(Written(entry.role, entry.json(), entry.finish_reason))
            if entry is self._cut_after:
                gap = {"role": "system", "content": f"[{self.omitted} messages left out here]"}
                messages.append(Written("system", encode(with_parts(gap), NO_LIMIT), ""))
        return messages

    def _index(self, entry: Entry) -> int:
        # From the end: what is looked for is nearly always among the last few.
        last = len(self._entries) - 1
        for index in range(last, max(last - _MOST_LOOKED_AT, -1), -1):
            if self._entries[index] is entry:
                return index
        return last

    def _weigh(self, change: int) -> None:
        self._weight += change
        # A quarter over before anything is cut: each cut walks the list.
        if self._weight > self._limit * 5 // 4:
            self._cut()

    def _cut(self) -> None:
        # Anew: entries that were cut may have got their words since.
        self._weight = sum(entry.weight for entry in self._entries)
        kept = 0
        first = 0
        while first < len(self._entries) - 1 and kept + self._entries[first].weight <= self._limit // 2:
            kept += self._entries[first].weight
            first += 1
        last = first
        while last < len(self._entries) - 1 and self._weight > self._limit:
            self._weight -= self._entries[last].weight
            last += 1
        gone = set(map(id, self._entries[first:last]))
        self._by_id = {name: entry for name, entry in self._by_id.items() if id(entry) not in gone}
        self.omitted += last - first
        del self._entries[first:last]
        self._cut_after = self._entries[first - 1] if first else None


def _write_part(entry: Entry, part: int, text: str) -> None:
    if entry.parts is None:
        if part == 0:
            entry.text = text
            return
        entry.parts = {} if entry.text is None else {0: entry.text}
    if part in entry.parts or len(entry.parts) < _MOST_PARTS:
        entry.parts[part] = text
    entry.text = cut_text(" ".join(entry.parts[part] for part in sorted(entry.parts)), _LONGEST_TEXT)
