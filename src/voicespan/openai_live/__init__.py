"""Traces the OpenAI Live API as the `openai` package speaks it."""
