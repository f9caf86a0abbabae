"""The synthesised lines of the story, and what synthesises them."""
