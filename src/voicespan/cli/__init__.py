"""The command `voicespan`."""
