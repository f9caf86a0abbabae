"""A voice agent whose author never heard of tracing: one answer, and it hangs up."""

from __future__ import annotations

from openai import OpenAI


def call() -> None:
    with OpenAI().realtime.connect(model="gpt-realtime") as connection:
        connection.response.create()
        for event in connection:
            if event.type == "response.done":
                break


if __name__ == "__main__":
    call()
