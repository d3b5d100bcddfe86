"""Prompt templates: the sets named in papers on CLIP, and how texts are inserted into them.

A template is a string with "{}" where the text goes. The wording is literal, "a origami" included: CLIP's published
numbers were made with it. Sources: IN80 openai/CLIP (ImageNet prompts), CS85 xmed-lab/CLIP_Surgery, IN7 the seven
that OpenAI singles out of IN80, CAR15 linsun449/cliper.code (fourteen of ViLD and one), GEM WalBouss/GEM.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

_ARTICLES = ("a", "the")
_STYLED_PHOTOS = (
    "bad", "low resolution", "cropped", "bright", "dark", "close-up", "black and white", "pixelated",
    "jpeg corrupted", "blurry", "good",
)  # fmt: skip
_STYLED_THINGS = ("hard to see", "clean", "dirty", "cool", "large", "nice", "weird", "small")
_PICTURES = (
    "a sculpture", "a rendering", "graffiti", "a tattoo", "a drawing", "a painting", "a doodle", "a sketch",
    "a rendition", "art", "a photo", "itap",
)  # fmt: skip
_MATERIALS = ("embroidered", "plastic", "origami", "toy", "cartoon", "plushie")
_SIZES = ("small", "medium", "large")


def _imagenet80() -> tuple[str, ...]:
    return (
        *(f"a {style} photo of {article} {{}}." for style in _STYLED_PHOTOS for article in _ARTICLES),
        *(f"a photo of {article} {style} {{}}." for style in _STYLED_THINGS for article in _ARTICLES),
        *(f"{picture} of {article} {{}}." for picture in _PICTURES for article in _ARTICLES),
        *(f"{article} {material} {{}}." for material in _MATERIALS for article in _ARTICLES),
        *(f"{article} {{}} in a video game." for article in _ARTICLES),
        "a photo of many {}.",
        "a photo of my {}.",
        "a photo of one {}.",
        "itap of my {}.",
    )


_SCENES = ("there is a", "there is the", "this is a", "this is the", "this is one")

TEMPLATE_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "IN80": _imagenet80(),
        "CS85": (*_imagenet80(), *(f"{start} {{}} in the scene." for start in _SCENES)),
        "IN7": (
            "itap of a {}.",
            "a bad photo of a {}.",
            "a origami {}.",
            "a photo of the large {}.",
            "a {} in a video game.",
            "art of the {}.",
            "a photo of the small {}.",
        ),
        "CAR15": (
            "a clean origami {}.",
            "a photo of a {}.",
            "This is a photo of a {}",
            "There is a {} in the scene",
            "There is the {} in the scene",
            "a photo of a {} in the scene",
            *(f"a photo of a {size} {{}}." for size in _SIZES),
            *(f"This is a photo of a {size} {{}}." for size in _SIZES),
            *(f"There is a {size} {{}} in the scene." for size in _SIZES),
        ),
        "GEM": ("a photo of a {}.",),
    }
)
"""Name of a set -> its templates."""


def resolve_templates(templates: str | Sequence[str] | None) -> tuple[str, ...]:
    """The templates given by an argument; () means the texts as given.

    Args:
        templates: None, the name of a set ("IN80", "CS85", "IN7", "CAR15", "GEM"), one template, or several.

    Raises:
        ValueError: an unknown name, a template without "{}", or no templates at all.
        TypeError: a template that is not a string.
    """
    if templates is None:
        return ()
    if isinstance(templates, str):
        if "{}" in templates:
            return (templates,)
        if (known := TEMPLATE_SETS.get(templates.upper())) is None:
            raise ValueError(
                f"templates={templates!r} is neither a set ({', '.join(TEMPLATE_SETS)}) nor a template: a template "
                'says with "{}" where the text goes, as in "a photo of a {}."'
            )
        return known
    chosen = tuple(templates)
    if not chosen:
        raise ValueError(
            'templates is empty; leave it out (None) for the texts as given, or pass ("a photo of a {}.",).'
        )
    for index, template in enumerate(chosen):
        if not isinstance(template, str):
            raise TypeError(
                f'template {index} is a {type(template).__name__}; templates are strings with "{{}}".'
            )
        if "{}" not in template:
            raise ValueError(
                f'template {index}, {template!r}, has no "{{}}", so every text would give the same prompt; write '
                '"{}" where the text goes, as in "a photo of a {}."'
            )
    return chosen


def expand(texts: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every text in every template, text by text; the texts themselves without templates.

    Braces inside a text stay as they are.
    """
    if not templates:
        return list(texts)
    return [template.replace("{}", text) for text in texts for template in templates]
