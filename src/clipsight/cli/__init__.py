"""The command line. Every option has the name and default of the Python API."""

from clipsight.cli.app import main

__all__ = ["main"]
