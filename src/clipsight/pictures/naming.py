"""How to write a file's name in a sentence."""

_LONGEST = 300


def shown(name: str) -> str:
    """The name in quotes, odd characters escaped, the middle of a very long one left out."""
    cut = name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 3 :]}"
    return repr(cut)
