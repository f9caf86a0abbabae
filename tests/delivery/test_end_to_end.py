"""A conversation's spans, through processor, spool and sender, into LangSmith's ingest."""

from __future__ import annotations


def test_a_conversation_becomes_one_tree_with_its_recording(agent, langsmith_server, spool_dir):
    voice = agent()
    conversation = voice.conversation(thread_id="caller-42")
    voice.child(conversation, "turn_complete")
    voice.child(conversation, "lookup", tracer=voice.provider.get_tracer("the-app"))
    conversation.attach_recording(b"RIFF-not-really", "audio/wav")
    conversation.end()

    assert voice.deliver()

    [root] = langsmith_server.roots
    assert root.id == conversation.run_id
    assert root.metadata["ls_modality"] == "audio"
    assert root.metadata["ls_audio_attach_status"] == "attached"
    assert root.attachments["conversation"].content == b"RIFF-not-really"
    assert root.attachments["conversation"].mime_type == "audio/wav"
    assert [run.name for run in root.children] == ["turn_complete", "lookup"]
    assert {run.thread_id for run in langsmith_server.runs} == {"caller-42"}
    assert list(spool_dir.iterdir()) == []


def test_nothing_is_sent_while_the_conversation_is_open(agent, langsmith_server, spool_dir):
    voice = agent()
    conversation = voice.conversation()
    voice.child(conversation)

    assert voice.deliver()

    assert langsmith_server.requests == []
    [folder] = spool_dir.glob("[!.]*")
    assert {"meta.json", "open.pb", "spans-000.journal"} <= {path.name for path in folder.iterdir()}
    conversation.end()
    assert voice.deliver()
    assert len(langsmith_server.runs) == 2


def test_children_go_before_the_root_and_the_root_goes_alone(agent, langsmith_server):
    voice = agent()
    conversation = voice.conversation()
    voice.child(conversation)
    voice.child(conversation)
    conversation.end()
    assert voice.deliver()

    assert [request.status for request in langsmith_server.requests] == [200, 200]
    assert langsmith_server.dropped == []
