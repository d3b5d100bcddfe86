"""A caption as CLIP's tokenizer reads it, case kept: Unicode repaired, HTML entities resolved, blanks joined.

Words are cut from this text, so that captions which a model reads alike have the same words; their places are in the
caption as given.
"""

import html
from collections.abc import Sequence
from functools import lru_cache

from clipsight.language.places import Place, places


@lru_cache(maxsize=4096)
def as_read(caption: str) -> str:
    """What the tokenizer reads of a caption, but for the case, which is kept where it changes no letter's length."""
    if caption.isascii() and caption.isprintable() and "&" not in caption:
        return caption
    import ftfy  # CLIP's tokenizer comes with it

    text = " ".join(html.unescape(html.unescape(ftfy.fix_text(caption))).split())
    lowered = text.lower()
    return text if len(lowered) == len(text) else lowered


def in_caption(caption: str, read: str, spans: Sequence[Place]) -> list[Place]:
    """Where spans of the text as read are in the caption as given."""
    return list(spans) if read == caption else places(caption, read, spans)
