"""Captions of held-out scenes of the emoji world, with the roles, pictures and foils that are known to be true."""

from collections.abc import Iterator, Sequence

from clipsight.bench.word_gap.caption import CorpusCaption, FoilPair
from clipsight.roles.extract import extract_roles
from clipsight.world import make_scenes

CAPTIONS = 2
"""Of each scene: one that lists what is there, and one that relates two things where two are there."""


def world_captions(seeds: Sequence[int], count: int) -> Iterator[CorpusCaption]:
    """The first two captions of each scene, once if they are equal; foils come with the first.

    Args:
        seeds: of the scenes. count: how many of each seed.
    """
    for seed in seeds:
        for scene in make_scenes(count, seed, "heldout"):
            name = f"world/{seed}/{scene.index}"
            foils = tuple(FoilPair(foil.kind, foil.caption, foil.foil) for foil in scene.foils)
            captions = {caption.text: caption for caption in scene.captions[:CAPTIONS]}
            for number, caption in enumerate(captions.values()):
                yield CorpusCaption(
                    file=name,
                    line=0,
                    caption=caption.text,
                    roles=extract_roles(caption.text, "column", spans=caption.spans),
                    cluster=name,
                    picture=scene.image,
                    foils=() if number else foils,
                )
