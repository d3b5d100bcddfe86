"""Errors and the warning of clipsight.

Messages carry four facts: what was asked, what was got, the usual cause, what to type next.
"""


class ClipsightError(Exception):
    """Root of the errors that clipsight itself raises."""


class Unsupported(ClipsightError):
    """The model cannot do what was asked; the message says why and names the nearest alternative."""


class PictureError(ClipsightError, ValueError):
    """A picture that cannot be read; the message names the file."""


class CheckpointError(ClipsightError, ValueError):
    """Weights that cannot be read or do not fit the architecture."""


class HubUnreachable(ClipsightError, OSError):
    """Weights that must be downloaded and could not be."""


class ClipsightWarning(UserWarning):
    """Something was done differently from what was asked, or needs the user's eye."""


def first_line(error: Exception) -> str:
    """What an error of another library says, for a sentence of ours: its first line, at most 160 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
