"""Where conversations go, and what may be sent there."""
