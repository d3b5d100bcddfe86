"""Training data by name.

| name | what is read |
|---|---|
| `FILE.tsv`, `FILE.csv`, `FILE.jsonl` | rows, see `records`; `filepath` and `title` as open_clip has them, or others |
| `coco:FILE.json` | COCO's or Karpathy's file of captions |
| `shards:PATTERN`, `FILE.tar` | tar shards, see `shards` |
| `world:SEED:COUNT` | scenes of the emoji world's training split, with true roles and foils |
"""

import re
from pathlib import Path

from clipsight.records import Row
from clipsight.tune.data.collected import Collected, Pictures, collect
from clipsight.tune.data.files import SUFFIXES, FilePictures, gather_coco, gather_table
from clipsight.tune.data.gathering import Gathering
from clipsight.tune.data.options import DataOptions, Progress
from clipsight.tune.data.records import read_record
from clipsight.tune.data.scenes import Scenes
from clipsight.tune.data.shards import ShardPictures, gather_shards, shard_files

_WORLD = re.compile(r"world:(\d+):(\d+)")


def open_examples(
    name: str, options: DataOptions | None = None, progress: Progress | None = None
) -> Collected:
    """Open training data: one example a caption, the same ones in the same order each time.

    Records that cannot be used (malformed, without a picture's file) are left out, counted, and warned of;
    `Collected.malformed` has them all. Pictures are not decoded yet.

    Args:
        name: see the head of this file. options: how it is opened. progress: told of slow work.

    Raises:
        FileNotFoundError: no such file. ValueError: another kind of name, or nothing that can be used.
        Unsupported: a package that is not installed.

    Example:
        >>> examples = open_examples("world:7:100", DataOptions(per_picture=2))
        >>> examples[0].caption, examples[0].spans
    """
    options = options or DataOptions()
    into = Gathering(options)
    return collect(name, into, _gather(name, options, into, progress), options, progress)


def _gather(name: str, options: DataOptions, into: Gathering, progress: Progress | None) -> Pictures:
    """Take a source's examples; returns what opens their pictures."""
    if world := _WORLD.fullmatch(name):
        return _gather_scenes(int(world[1]), int(world[2]), options, into, progress)
    if name.startswith("shards:") or name.endswith(".tar"):
        paths = shard_files(name.removeprefix("shards:"))
        gather_shards(paths, options.cache, into, progress)
        return ShardPictures(paths)
    coco = name.startswith("coco:")
    path = Path(name.removeprefix("coco:"))
    if not coco and path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"the data {name!r} is not known by its name: give a file ({', '.join(SUFFIXES)}, .tar), coco:FILE.json, "
            "shards:PATTERN, or world:SEED:COUNT, such as world:7:5000."
        )
    if not path.is_file():
        raise FileNotFoundError(f"the data {name!r} is not there; correct the name.")
    (gather_coco if coco else gather_table)(path, options.images or path.parent, into)
    return FilePictures(options.cache)


def _gather_scenes(
    seed: int, count: int, options: DataOptions, into: Gathering, progress: Progress | None
) -> Pictures:
    scenes = Scenes(
        seed,
        count,
        options.scene_size,
        cache=options.cache,
        processes=options.processes,
        progress=progress,
    )
    for index, record in enumerate(scenes.records):
        row = Row(value=record, line=0, key=str(index))
        into.add(index, read_record(row, own_roles=into.own_roles), f"world:{seed}/{index}")
    return scenes
