"""The bot of `pipecat_cascade.py`, whose author traces it with LangSmith's own processor."""

from __future__ import annotations

import asyncio
import sys

from langsmith.integrations.pipecat import configure_pipecat, set_thread_id
from pipecat_cascade import make_task
from pipecat_parts import call


async def main(url):
    processor = configure_pipecat()
    set_thread_id("caller-42")
    options = {"conversation_id": "caller-42", "enable_tracing": True, "enable_turn_tracking": True}
    await call(lambda port: make_task(url, port, metrics=True, **options))
    processor.force_flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
