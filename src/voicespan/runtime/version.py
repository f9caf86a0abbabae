"""The version, where everything that names it finds it without asking the package metadata."""

__version__ = "0.1.0"
