"""Where each piece of audio belongs: arithmetic, no libraries, no files."""
