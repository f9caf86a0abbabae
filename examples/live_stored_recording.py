"""A session of OpenAI Live that the service records itself, with its own stereo file on the trace.

The service keeps a recording only of sessions that are stored (`store: true`), for 30 days: the caller on the left,
the agent on the right, as voicespan's own recordings have them. It can be fetched once the session is closed, and takes
its time; so the trace waits for it.

    export OPENAI_API_KEY=... LANGSMITH_API_KEY=...
    python live_stored_recording.py question.wav      # 16 bit, mono, 24 kHz
"""

import base64
import sys
import time
import wave

from openai import NotFoundError, OpenAI

import voicespan

PIECE_MS = 100
RATE = 24_000
SILENCE = bytes(RATE * PIECE_MS // 1000 * 2)


def main(path: str) -> None:
    provider = voicespan.configure()
    client = OpenAI()
    with voicespan.conversation() as conversation:
        # The trace is held for the recording, at most so many seconds after the end.
        conversation.expect_recording(timeout=60)
        session_id = talk(client, path)
    conversation.attach_recording(download(client, session_id), "audio/wav")
    provider.force_flush()


def talk(client: OpenAI, path: str) -> str:
    """Ask what the file asks, and listen for two seconds; returns the session's id."""
    session_id = ""
    with client.live.connect() as connection:
        connection.session.start(session={"model": "gpt-live-1", "store": True})
        for piece in pieces(path):
            connection.session.input_audio.append(audio=base64.b64encode(piece).decode())
            time.sleep(PIECE_MS / 1000)
        connection.session.close()
        for event in connection:
            if event.type == "session.started":
                session_id = event.session.id
            elif event.type in ("session.input_transcript.delta", "session.output_transcript.delta"):
                print(event.delta, end="", flush=True)
            elif event.type == "session.closed":
                # No close frame follows: who reads on gets an exception.
                break
    return session_id


def pieces(path: str):
    """The file's audio in pieces of 100 ms, and two seconds of silence."""
    with wave.open(path) as file:
        while piece := file.readframes(RATE * PIECE_MS // 1000):
            yield piece
    for _ in range(20):
        yield SILENCE


def download(client: OpenAI, session_id: str, patience: float = 30.0) -> bytes:
    """The service's recording, as soon as it is there."""
    until = time.monotonic() + patience
    while True:
        try:
            return client.live.sessions.download_recording(session_id).read()
        except NotFoundError:  # noqa: PERF203  it is not there yet
            if time.monotonic() > until:
                raise
            time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1])
