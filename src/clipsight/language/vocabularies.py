"""Class names of the eight data sets of open-vocabulary segmentation, as in the published programs.

They are in `clipsight/assets/vocabularies.toml`, with their sources.
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from clipsight.language.names import BACKGROUND, Names


def vocabularies() -> dict[str, tuple[str, ...]]:
    """Benchmark -> its naming variants, "S" and "P" first."""
    return {name: tuple(variants) for name, variants in _read()["benchmarks"].items()}


def vocabulary(benchmark: str, variant: str = "S") -> Names:
    """The classes of a benchmark with the words that a family of programs uses for them.

    Args:
        benchmark: "VOC21", "PC60", "COCO-Object", "VOC20", "PC59", "COCO-Stuff", "Cityscapes" or "ADE20K".
        variant: "S" with SCLIP's synonyms, "P" plain names; "proxyclip", "sfp", "corrclip", "freecp" where those
            repositories have words of their own (for Cityscapes "corrclip" is its first version). Only VOC and
            COCO-Object have synonyms: elsewhere "S" and "P" are the same.

    The vocabulary of COCO-Object has bed both as a thing and, in "S" and "proxyclip", as a background word: its bed
    can never be found, here as in the published programs; `Names.notes` says so.

    Raises:
        ValueError: another benchmark or variant.

    Example:
        >>> len(vocabulary("VOC21")), len(vocabulary("VOC21").queries)
        (21, 56)
    """
    data = _read()
    if benchmark not in data["benchmarks"]:
        raise ValueError(
            f"benchmark {benchmark!r} is not known; give one of {', '.join(data['benchmarks'])}."
        )
    variants = data["benchmarks"][benchmark]
    if variant not in variants:
        raise ValueError(f"{benchmark} has no names {variant!r}; give one of {', '.join(variants)}.")
    made = variants[variant]
    classes = data["lists"][made["classes"]]
    words = data["synonyms"].get(made.get("synonyms"), {})
    background = data["lists"].get(made.get("background"), [])
    return Names(
        classes=(*((BACKGROUND,) if background else ()), *classes),
        words=(
            *((tuple(background),) if background else ()),
            *(tuple(words.get(name, [name])) for name in classes),
        ),
        background=bool(background),
    )


@cache
def _read() -> dict[str, Any]:
    return tomllib.loads((files("clipsight") / "assets" / "vocabularies.toml").read_text(encoding="utf-8"))
