"""The emoji world: pictures with perfect ground truth, for tests, training and measurements."""

from clipsight.world.datasets import describe, write_tsv, write_voc, write_webdataset
from clipsight.world.make import check_request, make_scene, make_scenes
from clipsight.world.replacing import replacing_folder
from clipsight.world.scene import Caption, Foil, FoilKind, Scene, SceneObject, SceneRelation
from clipsight.world.sprites import COLORS, DAMAGES, nouns, plural

__all__ = [
    "COLORS",
    "DAMAGES",
    "Caption",
    "Foil",
    "FoilKind",
    "Scene",
    "SceneObject",
    "SceneRelation",
    "check_request",
    "describe",
    "make_scene",
    "make_scenes",
    "nouns",
    "plural",
    "replacing_folder",
    "write_tsv",
    "write_voc",
    "write_webdataset",
]
