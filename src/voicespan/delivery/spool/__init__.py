"""Conversations on disk until they are delivered."""
