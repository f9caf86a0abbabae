"""The call of `livekit_cascade.py`, traced by LangSmith's own LiveKit processor."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings

import livekit_cascade
from langsmith.integrations.livekit import configure_livekit
from opentelemetry import trace

if __name__ == "__main__":
    warnings.simplefilter("ignore")  # it says that it is a beta
    configure_livekit(endpoint=f"{os.environ['LANGSMITH_ENDPOINT']}/otel/v1/traces")
    asyncio.run(livekit_cascade.main(*sys.argv[1:]))
    trace.get_tracer_provider().shutdown()
