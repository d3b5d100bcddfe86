"""Adapt a recipe to a tower: use published block numbers if there are any, and add notes if there are none."""

from dataclasses import dataclass, replace

from clipsight.errors import Unsupported
from clipsight.features.blocks import scale_blocks
from clipsight.features.edit import Denoise
from clipsight.features.recipe import ClassToken, LastBlock, Recipe, Stream
from clipsight.towers.view import TowerShape


@dataclass(frozen=True)
class Fitted:
    """A recipe as it runs on one tower, with notes for its user."""

    recipe: Recipe
    notes: tuple[str, ...] = ()


def adapt_to_depth(recipe: Recipe, view: TowerShape) -> Fitted:
    """The recipe for the tower's depth and width.

    A depth that the authors state gets their block numbers. At another depth the numbers stay as they are written
    (`elsewhere="as written"`), as in the released code, if the tower has such blocks before its last; else they are
    moved in proportion. Both are untested settings, and the notes say so. On a ResNet, whose only attention pools, a
    method's own form for that is taken where it has one.
    """
    if recipe.on_pool is not None and ends_in_pool(view):
        recipe = recipe.on_pool
    depth, notes = len(view.blocks), list(_width_notes(recipe, view.width))
    if not depth or recipe.written_for in (None, depth):
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


def why_not(recipe: Recipe, view: TowerShape) -> str:
    """Why a recipe, as it is, cannot run on this tower, in one sentence with the nearest alternative; "" if it can."""
    depth = len(view.blocks)
    if not depth and not recipe.is_plain:
        return (
            "it changes attention over patches, and this tower has none that could be changed; 'clip' reads the "
            "tower's feature map through its head."
        )
    if recipe.needs_class_token and not view.class_token:
        return "it needs a class token, and this tower has none; 'naclip' does without."
    if ends_in_pool(view) and not _fits_pool(recipe):
        return (
            "it works on the stream or on several blocks of a transformer, and this ResNet's only attention is its "
            "pooling layer; 'naclip' and 'clip_surgery' have a form for that."
        )
    if (wanted := recipe.path.count(depth)) > depth:
        return (
            f"it works in {wanted} blocks, and this tower has {depth}; clipsight.features.with_depth(recipe, {depth}) "
            "takes so many."
        )
    try:
        for record in recipe.records:
            record.span.indices(depth)
    except Unsupported as error:
        return str(error)
    return ""


def ends_in_pool(view: TowerShape) -> bool:
    """Whether the tower's only attention is a pooling layer, without a residual stream."""
    return any(not block.residual for block in view.blocks)


def _fits_pool(recipe: Recipe) -> bool:
    """A pool has no residual stream to keep, so a recipe may ask for one; but not for shares, sums or edits of it."""
    one_layer = isinstance(recipe.path, LastBlock) and not recipe.records and recipe.edit is None
    return one_layer and recipe.streams == (Stream(),) and not isinstance(recipe.residual, ClassToken)


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
