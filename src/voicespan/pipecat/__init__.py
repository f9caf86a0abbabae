"""Pipecat: a pipeline that runs is one conversation."""

from voicespan.pipecat.instrumentor import PipecatInstrumentor as PipecatInstrumentor

__all__ = ["PipecatInstrumentor"]
