"""A row of a file of captions, whatever its columns are called."""

from collections.abc import Iterator
from pathlib import Path

from clipsight.bench.word_gap.caption import CorpusCaption, foils_of
from clipsight.records import CAPTION, PICTURE, BadRow, Row, picture_path, require_column
from clipsight.roles.columns import row_roles


def read_row(
    row: Row, file: str, *, roles: str, images: Path | None, per_picture: int, foils: bool, seed: int
) -> Iterator[CorpusCaption]:
    """The captions of a row: one, or of a list of them the first `per_picture`.

    Args:
        row: one record. file: its file's name.
        roles: an extractor's id; "column" takes the row's own.
        images: folder that pictures lie below; None for captions alone.
        per_picture: see above. foils: whether to make foils. seed: of the foils.

    Raises:
        BadRow: no caption, no picture, or roles that do not fit.
    """
    name = require_column(row, CAPTION)
    several = isinstance(row.get(name), list)
    captions = row.texts(name)[:per_picture] if several else (row.text(name),)
    if several and roles == "column":
        raise BadRow(
            f"{name!r} is a list, and roles cannot belong to several captions; give each a row of its own"
        )
    picture = None
    if images is not None:
        picture = picture_path(images, row.text(require_column(row, PICTURE)))
    for number, caption in enumerate(captions):
        yield CorpusCaption(
            file=file,
            line=row.line,
            caption=caption,
            roles=row_roles(row, caption, roles),
            cluster=str(picture) if picture is not None else f"{file}/{row.key}/{number}",
            picture=picture,
            foils=foils_of(caption, seed) if foils else (),
        )
