"""What puts the parts together, in code or without."""
