"""A folder as a destination: each conversation a directory that is complete or hidden."""
