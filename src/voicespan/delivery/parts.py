"""What a processor needs with its first conversation: loaded in one go, and in most processes never."""

from __future__ import annotations

from voicespan.delivery import backend_pipeline, folder_pipeline, spool_pipeline
from voicespan.delivery.encoding import cost
from voicespan.delivery.shutdown import wait_at_exit
from voicespan.tracing import conversation_recording
from voicespan.tracing.context import conversation_context
from voicespan.tracing.scope import current_conversation
from voicespan.tracing.spans import translator

__all__ = ["Parts", "conversation_recording", "translator"]


class Parts:
    """The names that it uses of them."""

    to_backend = staticmethod(backend_pipeline.to_backend)
    to_spool = staticmethod(spool_pipeline.to_spool)
    to_folder = staticmethod(folder_pipeline.to_folder)
    wait_at_exit = staticmethod(wait_at_exit)
    current_conversation = staticmethod(current_conversation)
    conversation_context = staticmethod(conversation_context)


cost.load()
