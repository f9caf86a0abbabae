"""The agent of `livekit_text.py` in a conversation of the application's own."""

from __future__ import annotations

import asyncio
import sys

import livekit_text

import voicespan


async def main(*arguments: str) -> None:
    with voicespan.conversation(thread_id="caller-7", tags=["hotline"]) as conversation:
        await livekit_text.main(*arguments)
        conversation.set_metadata(rating=5)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
