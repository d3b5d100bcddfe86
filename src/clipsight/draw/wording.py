"""Texts of the user made safe to show: control characters named, never obeyed."""

import unicodedata


def printable(text: str) -> str:
    """`text` on one line, with control characters escaped, so that it cannot steer a terminal.

    An empty or blank text becomes "(empty text)".
    """
    shown = "".join(_shown(c) for c in text).strip()
    return shown or "(empty text)"


def _shown(char: str) -> str:
    category = unicodedata.category(char)
    if char.isspace():
        return " "
    if category in ("Cc", "Cs") or char in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
        return f"\\u{ord(char):04x}" if ord(char) > 0xFF else f"\\x{ord(char):02x}"
    return char


def number(value: int | float) -> str:
    """A score in three significant digits with a true minus sign; "NaN" for NaN."""
    if value != value:
        return "NaN"
    text = f"{value:.3g}" if value and abs(value) < 0.1 else f"{value:.3f}"
    return text.replace("-", "−")
