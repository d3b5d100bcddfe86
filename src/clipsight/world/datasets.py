"""Scenes as files: image-caption pairs for training, and a segmentation data set for evaluation.

Everything is written into a hidden folder beside the one that was asked for, and moved there when it is whole: what was
interrupted leaves nothing that could be taken for the whole.
"""

import csv
import io
import json
import secrets
import shutil
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clipsight.world.make import check_request, make_scenes
from clipsight.world.scene import Scene
from clipsight.world.splits import Split
from clipsight.world.sprites import nouns

_SHARD = 1000
_HIDDEN, _PART = ".clipsight-world-", ".part"
_ABANDONED = 3600.0
"""Seconds after which a hidden folder is one of a process that died."""

Watch = Callable[[Iterable[Scene]], Iterable[Scene]]
"""Passes the scenes on as they are written, for a progress bar."""


def write_tsv(
    out: Path, count: int, seed: int = 0, split: Split = "train", size: int = 112, watch: Watch = iter
) -> None:
    """Write `images/*.png` and `captions.tsv`.

    One row per caption: filepath, title (the two column names that open_clip's training reads), and roles, a JSON list
    of [start, end, role] in characters.

    Raises:
        ValueError: see `make_scenes`. FileExistsError: the folder holds `captions.tsv` already.
    """
    with (
        _fresh(out, ("images", "captions.tsv"), split, size, seed, count) as made,
        (made / "captions.tsv").open("w", newline="", encoding="utf-8") as file,
    ):
        (made / "images").mkdir()
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(("filepath", "title", "roles"))
        for scene in watch(make_scenes(count, seed, split, size)):
            name = f"images/{_name(scene)}.png"
            scene.image.save(made / name)
            table.writerows((name, caption.text, json.dumps(caption.spans)) for caption in scene.captions)


def write_webdataset(
    out: Path, count: int, seed: int = 0, split: Split = "train", size: int = 112, watch: Watch = iter
) -> None:
    """Write tar shards of 1,000 scenes: `KEY.png`, `KEY.txt` (first caption) and `KEY.json` (captions, roles, foils).

    Raises:
        ValueError: see `make_scenes`. FileExistsError: the folder holds one of the shards already.
    """
    shards = tuple(f"scenes-{number:06d}.tar" for number in range(-(-count // _SHARD)))
    with _fresh(out, shards, split, size, seed, count) as made:
        scenes = iter(watch(make_scenes(count, seed, split, size)))
        for name in shards:
            with tarfile.open(made / name, "w") as shard:
                for scene in islice(scenes, _SHARD):
                    picture = io.BytesIO()
                    scene.image.save(picture, "PNG")
                    _add(shard, f"{_name(scene)}.png", picture.getvalue())
                    _add(shard, f"{_name(scene)}.txt", scene.captions[0].text.encode())
                    _add(shard, f"{_name(scene)}.json", json.dumps(describe(scene)).encode())


def write_voc(
    out: Path, count: int, seed: int = 0, split: Split = "heldout", size: int = 112, watch: Watch = iter
) -> None:
    """Write a data set in the layout of Pascal VOC.

    `JPEGImages/*.jpg`, `SegmentationClass/*.png` (0 background, 1… the nouns in the order of `classes.txt`, whose first
    line is background), `SegmentationObject/*.png` (0 background, 1… the objects), `ImageSets/Segmentation/SPLIT.txt`.

    Raises:
        ValueError: see `make_scenes`. FileExistsError: the folder holds `classes.txt` already.
    """
    folders = ("JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation")
    written = (*folders[:3], "ImageSets", "classes.txt")
    with _fresh(out, written, split, size, seed, count) as made:
        for folder in folders:
            (made / folder).mkdir(parents=True)
        classes = ("background", *nouns())
        (made / "classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
        palette = _palette(256)
        with (made / "ImageSets" / "Segmentation" / f"{split}.txt").open("w", encoding="utf-8") as listing:
            for scene in watch(make_scenes(count, seed, split, size)):
                name = _name(scene)
                scene.image.save(made / "JPEGImages" / f"{name}.jpg", quality=95)
                labels, objects = (np.zeros((size, size), np.uint8) for _ in range(2))
                for number, (item, mask) in enumerate(zip(scene.objects, scene.masks, strict=True), 1):
                    labels[mask], objects[mask] = classes.index(item.name), number
                for folder, values in (("SegmentationClass", labels), ("SegmentationObject", objects)):
                    picture = Image.fromarray(values)
                    picture.putpalette(palette)
                    picture.save(made / folder / f"{name}.png")
                listing.write(name + "\n")


def describe(scene: Scene) -> dict[str, Any]:
    """Everything about a scene as JSON data."""
    return {
        "split": scene.split,
        "seed": scene.seed,
        "index": scene.index,
        "objects": [
            {"name": o.name, "color": o.color, "size": o.size, "damage": o.damage, "center": o.center}
            for o in scene.objects
        ],
        "relations": [[r.subject, r.name, r.other] for r in scene.relations],
        "captions": [{"text": c.text, "spans": c.spans} for c in scene.captions],
        "foils": [
            {"kind": f.kind, "caption": f.caption, "foil": f.foil, "caption_spans": f.caption_spans}
            for f in scene.foils
        ],
    }


@contextmanager
def _fresh(out: Path, names: Sequence[str], split: Split, size: int, seed: int, count: int) -> Iterator[Path]:
    """A folder to write in, whose entries are moved to `out` when the block ends; made for no impossible request.

    Args:
        names: what will be in it; the last is moved last, and nothing there is replaced.
    """
    check_request(split, size, seed, count)
    _refuse_existing(out, names)
    place = out if out.is_dir() else out.parent
    place.mkdir(parents=True, exist_ok=True)
    for left in place.glob(f"{_HIDDEN}*{_PART}"):
        if left.stat().st_mtime < time.time() - _ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
    made = place / f"{_HIDDEN}{secrets.token_hex(6)}{_PART}"
    made.mkdir()
    try:
        yield made
        if not out.exists():
            made.rename(out)
            return
        _refuse_existing(out, names)
        for name in names:
            (made / name).rename(out / name)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _refuse_existing(out: Path, names: Sequence[str]) -> None:
    if there := next((name for name in names if (out / name).exists()), None):
        raise FileExistsError(f"{out} already holds {there}; give another folder, or remove that one first.")


def _name(scene: Scene) -> str:
    return f"{scene.split}-{scene.seed}-{scene.index:07d}"


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    shard.addfile(entry, io.BytesIO(data))


def _palette(count: int) -> list[int]:
    """PASCAL VOC's colours: the bits of the number spread over red, green and blue."""
    colours = []
    for number in range(count):
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
        colours += rgb
    return colours
