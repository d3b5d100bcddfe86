"""A recipe for a tower: the published block numbers where there are some, and what to say where there are none."""

from dataclasses import dataclass, replace

from clipsight.errors import Unsupported
from clipsight.surgery.blocks import scale_blocks
from clipsight.surgery.edit import Denoise
from clipsight.surgery.recipe import Recipe
from clipsight.towers.view import VisionView


@dataclass(frozen=True)
class Fitted:
    """A recipe as it runs on one tower, and what its user should know about that."""

    recipe: Recipe
    notes: tuple[str, ...] = ()


def fit(recipe: Recipe, view: VisionView) -> Fitted:
    """The recipe for the tower's depth and width.

    A depth that the authors state gets their block numbers. At another depth the numbers stay as they are written
    (`elsewhere="as written"`), as in the released code, if the tower has such blocks before its last; else they are
    moved in proportion. Both are untested settings, and the notes say so.
    """
    depth, notes = len(view.blocks), list(_width_notes(recipe, view.width))
    known = {one.written_for: one for one in (*recipe.others, recipe)}
    if recipe.written_for is None:
        return Fitted(recipe, tuple(notes))
    if depth in known:
        kept = {"id": recipe.id, "others": (), "variant_of": recipe.variant_of, "setting": recipe.setting}
        return Fitted(replace(known[depth], **kept), tuple(notes))
    published = " and ".join(str(number) for number in sorted(number for number in known if number))
    untested = f"{recipe.id} is published for towers of {published} blocks and untested at {depth}"
    if recipe.elsewhere == "as written" and _has_blocks(recipe, depth):
        notes.append(
            f"{untested}: the released code's block numbers are used; {recipe.id}.scaled moves them in proportion."
        )
        return Fitted(recipe, tuple(notes))
    notes.append(f"{untested}: its block numbers were moved in proportion.")
    return Fitted(scale_blocks(recipe, recipe.written_for, depth), tuple(notes))


def _has_blocks(recipe: Recipe, depth: int) -> bool:
    try:
        return all(
            at < depth
            for record in recipe.records
            if record.span.first > 0
            for at in record.span.indices(depth)
        )
    except Unsupported:
        return False


def _width_notes(recipe: Recipe, width: int) -> tuple[str, ...]:
    if not isinstance(recipe.edit, Denoise) or width in dict(recipe.edit.sinks):
        return ()
    known = " and ".join(str(one) for one, _ in recipe.edit.sinks)
    return (
        f"{recipe.id} has published sink channels for towers of width {known}; for width {width} they are estimated "
        "from each picture: untested.",
    )
