"""The emoji world: pictures with perfect ground truth, for tests, training and honest figures."""

from clipsight.world.datasets import write_tsv, write_voc, write_webdataset
from clipsight.world.make import check_request, make_scene, make_scenes
from clipsight.world.scene import Caption, Foil, Scene, SceneObject, SceneRelation
from clipsight.world.sprites import COLORS, DAMAGES, nouns

__all__ = [
    "COLORS",
    "DAMAGES",
    "Caption",
    "Foil",
    "Scene",
    "SceneObject",
    "SceneRelation",
    "check_request",
    "make_scene",
    "make_scenes",
    "nouns",
    "write_tsv",
    "write_voc",
    "write_webdataset",
]
