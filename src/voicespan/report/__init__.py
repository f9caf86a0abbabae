"""A conversation read back and shown: as one file, or in a browser while it runs."""
