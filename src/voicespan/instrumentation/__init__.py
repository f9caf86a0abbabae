"""From somebody's socket to a connection of a conversation."""
