"""A LiveKit worker whose agent answers whoever comes into its room. Its author never heard of tracing."""

from __future__ import annotations

import os

from livekit.agents import Agent, JobContext, WorkerOptions, cli
from livekit_cascade import make_session, weather


async def entrypoint(ctx: JobContext) -> None:
    session = make_session(os.environ["SERVICES_URL"])
    more = {"record": True} if "LIVEKIT_OBSERVABILITY_URL" in os.environ else {}
    await session.start(Agent(instructions="You are kind.", tools=[weather]), room=ctx.room, **more)
    await ctx.connect()


def idle(*_) -> float:
    return 0.0


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, agent_name="kind-agent", load_fnc=idle, port=0))
