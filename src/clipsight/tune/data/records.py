"""What a record of a data file says: captions, the roles of their words, and captions that are false for its picture.

Three forms are read. A row with one caption may have columns of roles (`clipsight.records.columns`). A row
may have a list of captions. And a record may describe a scene, as `clipsight.world.write_webdataset` writes it:
{"captions": [{"text", "spans"}], "foils": [{"caption", "foil", "caption_spans"}]}.
"""

import ast
from collections.abc import Mapping
from typing import Any

from clipsight.records import CAPTION, BadRow, Row, column, has_roles, json_value, require_column
from clipsight.roles.columns import row_roles
from clipsight.roles.extract import extract_roles
from clipsight.tune.data.example import Example, RoleSpan
from clipsight.tune.data.phrases import phrases_of

FOILS = ("neg_captions", "neg_caption", "negative_captions", "negative_caption", "foils")
"""Columns of captions that are false for the picture: one, a list, or a list written as text as NegCLIP's files do."""


def read_record(row: Row, *, own_roles: bool, text: str | None = None) -> tuple[Example, ...]:
    """The captions of a record, as examples whose picture is not known yet.

    Args:
        row: an object. own_roles: whether to read the roles that it states.
        text: the caption, if it stands outside the record, which then needs none.

    Raises:
        BadRow: no caption, or something that is not what these forms hold.
    """
    if not isinstance(row.value, dict):
        raise BadRow('the record is no object; write one with a caption, as in {"caption": "a dog"}')
    if _is_scene(row.value):
        return _scene(row.value, own_roles=own_roles)
    name = "captions" if isinstance(row.value.get("captions"), list) else column(row, CAPTION)
    if name is None and text is None:
        require_column(row, CAPTION)
    foils = _foils(row)
    if name is not None and isinstance(row.value[name], list):
        return tuple(Example(picture="", caption=caption, foils=foils) for caption in row.texts(name))
    caption = Row(value={"text": text}, line=0, key="").text("text") if name is None else row.text(name)
    spans = phrases_of(row_roles(row, caption, "column")) if own_roles and has_roles(row) else None
    return (Example(picture="", caption=caption, spans=spans, foils=foils),)


def _is_scene(value: Mapping[str, Any]) -> bool:
    captions = value.get("captions")
    return isinstance(captions, list) and bool(captions) and isinstance(captions[0], dict)


def _scene(value: Mapping[str, Any], *, own_roles: bool) -> tuple[Example, ...]:
    """The captions of a scene, and behind them the true captions that foils were made from."""
    try:
        spans = {_text(one, "text"): one["spans"] for one in value["captions"]}
        foils: dict[str, list[str]] = {caption: [] for caption in spans}
        for pair in value.get("foils", ()):
            caption = _text(pair, "caption")
            if caption not in spans:
                if own_roles and "caption_spans" not in pair:
                    continue  # the file does not say which words of this caption are what
                spans[caption], foils[caption] = pair.get("caption_spans"), []
            foils[caption].append(_text(pair, "foil"))
        return tuple(
            Example(
                picture="",
                caption=caption,
                spans=_phrases(caption, places) if own_roles else None,
                foils=tuple(foils[caption]),
            )
            for caption, places in spans.items()
        )
    except BadRow:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise BadRow(
            f"it is not a scene as clipsight writes them ({type(error).__name__}: {error})"
        ) from error


def _text(value: Any, name: str) -> str:
    return Row(value=value, line=0, key="").text(name)


def _phrases(caption: str, places: Any) -> tuple[RoleSpan, ...]:
    spans = [(int(start), int(end), str(role)) for start, end, role in places]
    return phrases_of(extract_roles(caption, "column", spans=spans))


def _foils(row: Row) -> tuple[str, ...]:
    name = column(row, FOILS)
    value = row.value[name] if name is not None else None
    if name is None or value in ("", None, []):
        return ()
    if isinstance(value, str):
        value = _listed(value) if value.lstrip().startswith("[") else [value]
    return Row(value={name: value}, line=row.line, key=row.key).texts(name) if value else ()


def _listed(text: str) -> Any:
    """A list written as text, in JSON or in Python."""
    for read in (json_value, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    raise BadRow(f"{text!r:.60} begins like a list and is none")
