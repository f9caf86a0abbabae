"""What every room stands on: living in somebody else's process. Imports nothing else of ours."""
