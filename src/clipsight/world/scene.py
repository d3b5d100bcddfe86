"""A scene of the emoji world: its objects, its picture, and perfect ground truth."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool
from PIL import Image

from clipsight.world.sprites import Damage

Size = Literal["small", "large"]
Role = Literal["object", "attribute", "relation"]
FoilKind = Literal["replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att", "add_obj", "add_att"]


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One sprite in a scene."""

    name: str
    color: str | None
    """The tint, None for the sprite's own colours."""
    size: Size
    damage: Damage | None
    center: tuple[float, float]
    """(x, y) as fractions of the picture's side."""
    extent: float
    """Side of the sprite's cell as a fraction of the picture's side."""
    mirrored: bool
    angle: float
    """Rotation in degrees, counter-clockwise."""

    @property
    def damaged(self) -> bool:
        """Whether the sprite is scratched, pierced or stained."""
        return self.damage is not None


@dataclass(frozen=True, kw_only=True)
class SceneRelation:
    """`objects[subject]` stands in relation `name` to `objects[other]`."""

    subject: int
    name: str
    other: int


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A true sentence about a scene; spans are (start, end, role) in characters, in order, not overlapping."""

    text: str
    spans: tuple[tuple[int, int, Role], ...]


@dataclass(frozen=True, kw_only=True)
class Foil:
    """A true caption and a minimally changed one that is false for the picture (SugarCrepe's seven kinds)."""

    caption: str
    foil: str
    kind: FoilKind
    caption_spans: tuple[tuple[int, int, Role], ...]
    foil_spans: tuple[tuple[int, int, Role], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """One picture of the emoji world.

    Attributes:
        image: RGB picture, size×size pixels.
        masks: visible pixels of each object, (objects, H, W); pairwise disjoint.
        damage_masks: visible changed pixels of each object, (objects, H, W); the inside of a hole belongs to it
            although the background shows there.
        objects: the objects, back to front.
        relations: every relation that holds clearly.
        captions: true sentences in varied phrasing.
        foils: false sentences, each with the true one it was made from.
    """

    image: Image.Image
    masks: Bool[np.ndarray, "O H W"]
    damage_masks: Bool[np.ndarray, "O H W"]
    objects: tuple[SceneObject, ...]
    relations: tuple[SceneRelation, ...]
    captions: tuple[Caption, ...]
    foils: tuple[Foil, ...]
    split: str
    seed: int
    index: int

    def mask(self, name: str) -> Bool[np.ndarray, "H W"]:
        """Visible pixels of all objects of that name."""
        return np.any([m for o, m in zip(self.objects, self.masks, strict=True) if o.name == name], axis=0)
