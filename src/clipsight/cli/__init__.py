"""The command line: the Python API, printed out. Every option has the API's name and default."""

from clipsight.cli.app import main

__all__ = ["main"]
