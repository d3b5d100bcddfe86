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
    if recipe.written_for in (None, depth):
        return Fitted(recipe, tuple(notes))
    known = {one.written_for: one for one in recipe.others}
    if depth in known:
        return Fitted(_exchanged(recipe, known[recipe.written_for], known[depth]), tuple(notes))
    published = " and ".join(str(number) for number in sorted({recipe.written_for, *known} - {None}))
    untested = f"{recipe.id} is published for towers of {published} blocks and untested at {depth}"
    if recipe.elsewhere == "as written" and _has_blocks(recipe, depth):
        scaled = f"{recipe.variant_of.split('.scaled')[0] or recipe.id}.scaled"
        notes.append(
            f"{untested}: the released code's block numbers are used; {scaled} moves them in proportion."
        )
        return Fitted(recipe, tuple(notes))
    notes.append(f"{untested}: its block numbers were moved in proportion.")
    moved = scale_blocks(replace(recipe, others=()), recipe.written_for, depth)
    return Fitted(replace(moved, written_for=depth), tuple(notes))


def _exchanged(recipe: Recipe, base: Recipe, other: Recipe) -> Recipe:
    """The recipe with what depends on the depth taken from `other`, except where its user changed that."""
    parts = {
        name: getattr(other, name)
        for name in ("kernel", "streams", "residual")
        if getattr(recipe, name) == getattr(base, name)
    }
    return replace(recipe, **parts, written_for=other.written_for, others=())


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
