"""The version, where everything that names it finds it without asking the package metadata."""

VERSION = "0.1.0"
