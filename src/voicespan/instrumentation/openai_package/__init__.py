"""The ways in of the `openai` package: its Realtime and its Live connections are made alike."""
