"""Audio as bytes and files: the libraries stand here and nowhere else."""
