"""Events become the trace of a conversation: its root, its spans, its transcript."""
