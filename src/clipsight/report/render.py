"""Templates of `templates/` filled with facts: everything is escaped, pages load nothing from outside."""

import io
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("clipsight.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["sha256"] = lambda text: b64encode(sha256(str(text).encode()).digest()).decode()
    return made


def render(template: str, **facts: Any) -> Markup:
    """A template with its facts; being markup, the outcome may be a fact of another template.

    Pages extend `base.html.j2`. Its policy allows the page's own style and script by their hash, pictures inside the
    page, and nothing else.

    Args:
        template: file in `templates/`.
        facts: plain data: strings, numbers, lists, dicts, dataclasses. A fact that the template asks for and that is
            missing is an error.
    """
    return Markup(_environment().get_template(template).render(facts))


def data_uri(picture: Image.Image | str, kind: str = "PNG") -> str:
    """A picture, or the text of an SVG, as the address of an image inside a page; `kind`: "PNG" or "JPEG"."""
    if isinstance(picture, str):
        return f"data:image/svg+xml;base64,{b64encode(picture.encode()).decode()}"
    buffer = io.BytesIO()
    options = {"quality": 88} if kind == "JPEG" else {}
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{b64encode(buffer.getvalue()).decode()}"
