"""Every way in and every way out: each frame is seen exactly once, and arrives as it was sent."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from realtime_api import APIS, arrived, iterated, opened, settled

from voicespan.testing.openai_realtime import Close, Hold, Send

CREATED = {"type": "session.created", "event_id": "event_0", "session": {"type": "realtime", "id": "sess_1"}}
FRAMES = [{"type": "rate_limits.updated", "event_id": f"event_{n}", "rate_limits": []} for n in range(1, 6)]
IDS = ["event_0", *(frame["event_id"] for frame in FRAMES)]
ONCE = dict.fromkeys(IDS, 1)


# In.


async def by_recv(connection, count):
    return [(await settled(connection.recv())).event_id for _ in range(count)]


async def by_recv_bytes(connection, count):
    frames = [await settled(connection.recv_bytes()) for _ in range(count)]
    assert all(type(frame) is bytes for frame in frames)
    # What is public and pure is not counted, however often it is called.
    return [connection.parse_event(frame).event_id for frame in frames]


async def by_iteration(connection, count):
    found = []
    async for event in iterated(connection):
        found.append(event.event_id)
        if len(found) == count:
            break
    return found


async def by_all_in_turn(connection, count):
    return [
        *await by_recv(connection, 1),
        *await by_recv_bytes(connection, 2),
        *await by_iteration(connection, count - 4),
        *await by_recv(connection, 1),
    ]


@pytest.mark.parametrize("read", [by_recv, by_recv_bytes, by_iteration, by_all_in_turn])
async def test_frames_that_come_in(api, read, trace, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED, *FRAMES)])
    async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
        assert await read(connection, len(IDS)) == IDS
    assert trace.received == ONCE
    assert trace.fact("event_count") == len(IDS)


@pytest.mark.parametrize("registered_on", ["connection", "manager"])
@pytest.mark.parametrize("api", [api for api in APIS if api.has("dispatch_events")], ids=str)
async def test_frames_that_are_dispatched(api, registered_on, trace, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED, *FRAMES), Close()])
    heard, first, never = [], [], []
    manager = api.connect(api.client(server), model="gpt-realtime")

    def register(target):
        target.on("rate_limits.updated", lambda event: heard.append(event.event_id))
        target.once("rate_limits.updated", lambda event: first.append(event.event_id))
        target.on("session.created", never.append)
        target.off("session.created", never.append)

    if registered_on == "manager":
        register(manager)
    async with opened(manager) as connection:
        if registered_on == "connection":
            register(connection)
        await settled(connection.dispatch_events())
    assert (heard, first, never) == (IDS[1:], IDS[1:2], [])
    assert trace.received == ONCE
    assert trace.fact("event_count") == len(IDS)


async def test_the_frame_is_the_one_that_the_socket_gave(api, trace, openai_realtime_server):
    server = openai_realtime_server(
        [Send('{"type": "of the future",  "event_id":"event_0", "text":"\u00e9\U0001f600"}')]
    )
    async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
        frame = await settled(connection.recv_bytes())
    assert frame == '{"type": "of the future",  "event_id":"event_0", "text":"\u00e9\U0001f600"}'.encode()
    assert trace.received == {"event_0": 1}


@pytest.mark.parametrize("api", [api for api in APIS if api.asynchronous], ids=str)
@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_read_that_is_given_up_loses_no_frame(api, how, trace, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED), Hold(), Send(*FRAMES)])
    async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
        await connection.recv()
        # The server holds, so the read is pending for certain.
        if how == "timeout":
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(connection.recv(), 0.01)
        else:
            reading = asyncio.ensure_future(connection.recv_bytes())
            await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        await asyncio.to_thread(server.release)
        assert await by_recv(connection, len(FRAMES)) == IDS[1:]
    assert trace.received == ONCE
    assert trace.fact("status") == "completed"


# Out.

MESSAGE = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello!"}]}
SESSION = {"type": "realtime", "instructions": "Be brief."}
BETA_SESSION = {"instructions": "Be brief."}


def update(connection, api, **event_id):
    return connection.session.update(session=BETA_SESSION if api.beta else SESSION, **event_id)


def commit_event(api):
    """A client event as an object of the package's own type."""
    types = "openai.types.beta.realtime" if api.beta else "openai.types.realtime"
    kind = __import__(types, fromlist=["x"]).InputAudioBufferCommitEvent
    return kind(type="input_audio_buffer.commit", event_id="sent")


RESOURCES = {
    "session.update": update,
    "response.create": lambda connection, api, **event_id: connection.response.create(**event_id),
    "response.cancel": lambda connection, api, **event_id: connection.response.cancel(**event_id),
    "input_audio_buffer.commit": lambda connection, api, **event_id: connection.input_audio_buffer.commit(
        **event_id
    ),
    "input_audio_buffer.clear": lambda connection, api, **event_id: connection.input_audio_buffer.clear(
        **event_id
    ),
    "output_audio_buffer.clear": lambda connection, api, **event_id: connection.output_audio_buffer.clear(
        **event_id
    ),
    "conversation.item.create": lambda connection, api, **event_id: connection.conversation.item.create(
        item=MESSAGE, **event_id
    ),
    "conversation.item.delete": lambda connection, api, **event_id: connection.conversation.item.delete(
        item_id="item_1", **event_id
    ),
    "conversation.item.truncate": lambda connection, api, **event_id: connection.conversation.item.truncate(
        item_id="item_1", content_index=0, audio_end_ms=500, **event_id
    ),
    "conversation.item.retrieve": lambda connection, api, **event_id: connection.conversation.item.retrieve(
        item_id="item_1", **event_id
    ),
}
COMMIT = {"type": "input_audio_buffer.commit", "event_id": "sent"}
SENDS = {
    "send a dict": lambda connection, api: connection.send(COMMIT),
    "send by keyword": lambda connection, api: connection.send(event=COMMIT),
    "send an object": lambda connection, api: connection.send(commit_event(api)),
    "send_raw text": lambda connection, api: connection.send_raw(json.dumps(COMMIT)),
    "send_raw bytes": lambda connection, api: connection.send_raw(json.dumps(COMMIT).encode()),
    "send_raw by keyword": lambda connection, api: connection.send_raw(data=json.dumps(COMMIT)),
}


@pytest.mark.parametrize("name", RESOURCES)
async def test_frames_that_a_resource_sends(api, name, trace, openai_realtime_server):
    server = openai_realtime_server([])
    async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
        await settled(RESOURCES[name](connection, api, event_id="sent"))
    assert [frame["type"] for frame in arrived(server)] == [name]
    assert trace.sent == {"sent": 1}
    assert trace.fact("event_count") == 1


@pytest.mark.parametrize("way", SENDS)
async def test_frames_that_the_connection_sends(api, way, trace, openai_realtime_server):
    if "send_raw" in way and not api.has("send_raw"):
        assert not hasattr(api.connection_class, "send_raw")
        return
    server = openai_realtime_server([])
    async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
        await settled(SENDS[way](connection, api))
    assert arrived(server) == [COMMIT]
    assert trace.sent == {"sent": 1}
    assert trace.fact("event_count") == 1


async def test_audio_is_counted_and_leaves_no_span(api, trace, openai_realtime_server):
    server = openai_realtime_server([])
    async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
        for _ in range(3):
            await settled(connection.input_audio_buffer.append(audio="AAAA"))
        await settled(connection.send({"type": "input_audio_buffer.append", "audio": "AAAA"}))
    assert [frame["type"] for frame in arrived(server)] == ["input_audio_buffer.append"] * 4
    assert trace.spans == [trace.root]
    assert trace.fact("event_count") == 4


async def test_what_cannot_be_sent_is_not_counted(api, trace, openai_realtime_server):
    server = openai_realtime_server([])
    async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
        with pytest.raises(TypeError):
            await settled(connection.send({"type": "session.update", "session": {"instructions": object()}}))
        with pytest.raises(TypeError):
            await settled(connection.send())
    assert trace.fact("event_count") == 0


@pytest.mark.parametrize("api", [api for api in APIS if api.has("queue")], ids=str)
async def test_frames_that_are_queued_before_the_connection_opens(api, trace, openai_realtime_server):
    server = openai_realtime_server([])
    manager = api.connect(api.client(server), model="gpt-realtime")
    event = {"type": "session.update", "event_id": "queued_1", "session": dict(SESSION)}
    manager.send(event)
    # What is queued is what it was then, whatever becomes of the application's dict.
    event["event_id"] = "changed"
    manager.send(event=commit_event(api))
    async with opened(manager) as connection:
        await settled(connection.send({"type": "response.create", "event_id": "sent_after"}))
    assert [frame["event_id"] for frame in arrived(server)] == ["queued_1", "sent", "sent_after"]
    assert trace.sent == {"queued_1": 1, "sent": 1, "sent_after": 1}
    assert trace.fact("event_count") == 3


@pytest.mark.parametrize("api", [api for api in APIS if api.has("queue")], ids=str)
async def test_frames_that_are_queued_while_the_connection_is_open(api, trace, openai_realtime_server):
    server = openai_realtime_server([])
    manager = api.connect(api.client(server), model="gpt-realtime")
    async with opened(manager) as connection:
        manager.send({**COMMIT, "event_id": "queued"})
        await settled(connection.send({**COMMIT, "event_id": "sent"}))
    # Earlier versions keep it for a reconnect.
    expected = ["queued", "sent"] if api.has("flush on send") else ["sent"]
    assert [frame["event_id"] for frame in arrived(server)] == expected
    assert trace.sent == dict.fromkeys(expected, 1)
    assert trace.fact("event_count") == len(expected)


@pytest.mark.parametrize("api", [api for api in APIS if not api.asynchronous], ids=str)
def test_reading_and_writing_in_different_threads(api, trace, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED, *FRAMES)])
    with api.connect(api.client(server), model="gpt-realtime") as connection:
        found = []
        reading = threading.Thread(target=lambda: found.extend(connection.recv().event_id for _ in IDS))
        reading.start()
        for number in range(20):
            connection.send({"type": "input_audio_buffer.commit", "event_id": f"sent_{number}"})
        reading.join()
    assert found == IDS
    assert trace.received == ONCE
    assert trace.sent == {f"sent_{number}": 1 for number in range(20)}
    assert trace.fact("event_count") == len(IDS) + 20
