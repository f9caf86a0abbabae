"""What may be stored of what was said: hidden, redacted, masked, cut."""
