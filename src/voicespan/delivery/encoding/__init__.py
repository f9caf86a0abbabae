"""Spans as bytes: LangSmith's attributes, the journal of a folder, protobuf."""
