"""The same on OpenAI Live: a second of silence, and it hangs up."""

from __future__ import annotations

import base64

from openai import OpenAI


def call() -> None:
    with OpenAI().live.connect() as connection:
        connection.session.start(session={"model": "gpt-live-1"})
        connection.session.input_audio.append(audio=base64.b64encode(bytes(48_000)).decode())
        connection.session.close()
        for event in connection:
            if event.type == "session.closed":
                break


if __name__ == "__main__":
    call()
