"""Finding and opening the pictures of benchmarks below one folder."""

from dataclasses import dataclass
from hashlib import blake2b
from os.path import isfile
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from clipsight.bench.composition.item import PictureRef
from clipsight.bench.composition.scenes import is_scene, scene_picture
from clipsight.errors import PictureError
from clipsight.pictures import read_picture

_ENDINGS = (".jpg", ".png", ".jpeg", ".webp")


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Where pictures of one origin may lie below the pictures folder.

    Attributes:
        title: what to download.
        folders: tried in this order; "" is the pictures folder itself.
    """

    title: str
    folders: tuple[str, ...]


def _coco(part: str) -> Collection:
    return Collection(
        title=f"COCO {part} pictures", folders=(f"coco/{part}", part, f"coco/images/{part}", "coco", "")
    )


COLLECTIONS: dict[str, Collection] = {
    "coco_val2017": _coco("val2017"),
    "coco_val2014": _coco("val2014"),
    "coco_train2014": _coco("train2014"),
    "flickr30k": Collection(
        title="Flickr30k pictures", folders=("flickr30k", "flickr30k/flickr30k-images", "flickr30k-images", "")
    ),
    "visual_genome": Collection(
        title="Visual Genome pictures (VG_100K and VG_100K_2, or one folder of ID.jpg)",
        folders=(
            "vg", "vg/VG_100K", "vg/VG_100K_2", "VG_100K", "VG_100K_2", "visual_genome",
            "visual_genome/VG_100K", "visual_genome/VG_100K_2", "vg_gqa_images", "aro/images", "images", "",
        ),
    ),
    "aro": Collection(
        title="the pictures of ARO (vgr_vga_images.zip), or Visual Genome",
        folders=(
            "aro/images", "images", "aro", "vg", "vg/VG_100K", "vg/VG_100K_2", "VG_100K", "VG_100K_2",
            "visual_genome", "",
        ),
    ),
    "swig": Collection(
        title="SWiG pictures (images_512)", folders=("swig", "swig/images_512", "images_512", "")
    ),
    "hake": Collection(title="HAKE pictures", folders=("hake", "")),
    "visual7w": Collection(
        title="Visual7W pictures (v7w_ID.jpg)", folders=("visual7w", "visual7w/images", "visual7w_images", "")
    ),
    "visdial_val2018": Collection(
        title="VisDial v1.0 validation pictures",
        folders=("visdial", "VisualDialog_val2018", "visdial/VisualDialog_val2018", ""),
    ),
    "winoground": Collection(
        title="Winoground pictures (images.zip)", folders=("winoground/images", "winoground", "images", "")
    ),
    "whatsup": Collection(
        title="What'sUp pictures (controlled_images, controlled_clevr)", folders=("whatsup", "")
    ),
    "cola": Collection(
        title="the pictures that Cola names, by file name, or Visual Genome",
        folders=(
            "cola", "cola/images", "vg_gqa_images", "vg", "vg/VG_100K", "vg/VG_100K_2", "VG_100K",
            "VG_100K_2", "visual_genome", "",
        ),
    ),
    "mmvp_vlm": Collection(
        title="MMVP-VLM pictures",
        folders=("mmvp_vlm/MLLM_VLM Images", "MMVP_VLM/MLLM_VLM Images", "MLLM_VLM Images", "mmvp_vlm", ""),
    ),
    "colorswap": Collection(
        title="ColorSwap pictures", folders=("colorswap/images", "colorswap", "images", "")
    ),
    "eqben": Collection(
        title="EqBen pictures (eqben_image_full or subset_image)",
        folders=("eqben", "eqben/image", "eqben/images", "eqben/image_subset", "image_subset", ""),
    ),
    "svo_probes": Collection(
        title="pictures of SVO-Probes by picture id (ID.jpg)", folders=("svo_probes", "svo_probes/images", "")
    ),
    "voc2007": Collection(
        title="PASCAL VOC 2007 test pictures",
        folders=("voc2007", "VOC2007/JPEGImages", "VOCdevkit/VOC2007/JPEGImages", "voc2007/JPEGImages", ""),
    ),
    "negbench": Collection(title="NegBench's synthetic pictures", folders=("negbench", "")),
    "zero_shot": Collection(title="pictures to classify, where they lie", folders=()),
    "world": Collection(title="scenes of the emoji world, drawn when needed", folders=()),
}  # fmt: skip


class ImageRoot:
    """The pictures of benchmarks below one folder.

    Args:
        root: the folder; None has no pictures but scenes of the emoji world.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._found: dict[tuple[str, str], Path | None] = {}
        self._contents: dict[Path, str] = {}

    def find(self, ref: PictureRef) -> Path | None:
        """The file of a picture, None where there is none.

        Tried, in the folders of its collection: the path as named, then its last part alone; a name without an ending
        with the usual ones. An absolute path is taken as it is.
        """
        key = (ref.collection, ref.file)
        if key not in self._found:
            self._found[key] = self._search(ref)
        return self._found[key]

    def key(self, ref: PictureRef) -> str | None:
        """A name for what the model will see: the hash of the file's bytes and the crop. None without a file.

        Equal pictures of different benchmarks, or of one moved elsewhere, have equal names.
        """
        if is_scene(ref):
            return _hash(scene_picture(ref).tobytes())
        path = self.find(ref)
        if path is None:
            return None
        if path not in self._contents:
            try:
                self._contents[path] = _hash(path.read_bytes())
            except OSError:
                return None
        content = self._contents[path]
        return content if ref.crop is None else _hash(f"{content} {ref.crop}".encode())

    def open(self, ref: PictureRef) -> Image.Image:
        """The picture, cropped where the benchmark crops; what lies outside the file's picture is black.

        Raises:
            PictureError: the file is missing or no picture.
        """
        if is_scene(ref):
            return scene_picture(ref)
        path = self.find(ref)
        if path is None:
            raise PictureError(f"no file for {ref.file} of {ref.collection} is below {self._root}.")
        picture = read_picture(_from_npy(path) if path.suffix == ".npy" else path)
        if ref.crop is None:
            return picture
        x, y, width, height = ref.crop
        left, top = round(x), round(y)
        return picture.crop((left, top, max(left + 1, round(x + width)), max(top + 1, round(y + height))))

    def _search(self, ref: PictureRef) -> Path | None:
        name = PurePosixPath(ref.file)
        if Path(ref.file).is_absolute():
            return Path(ref.file) if isfile(ref.file) else None
        if self._root is None:
            return None
        endings = ("",) if name.suffix else _ENDINGS
        for folder in COLLECTIONS[ref.collection].folders:
            for file in dict.fromkeys((str(name), name.name)):
                for ending in endings:
                    path = self._root / folder / f"{file}{ending}"
                    if isfile(path):
                        return path
        return None


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _from_npy(path: Path) -> np.ndarray:
    """A video frame as EqBen stores them: (H, W, 3) bytes, blue first."""
    try:
        frame = np.load(path, allow_pickle=False)
        return np.ascontiguousarray(frame[:, :, ::-1])
    except (OSError, ValueError, EOFError, IndexError) as error:
        raise PictureError(
            f"cannot read the picture {str(path)!r}: {error}; copy or download it again."
        ) from error
