"""`clipsight world`: write a data set of the emoji world, with perfect ground truth."""

from pathlib import Path
from typing import Literal

from clipsight.cli.outcome import DONE, Misuse, side_terminal, terminal


def world(
    out: Path,
    /,
    *,
    layout: Literal["tsv", "webdataset", "voc"] = "tsv",
    count: int = 1000,
    seed: int = 0,
    split: Literal["train", "heldout"] = "heldout",
    size: int = 112,
) -> int:
    """Write a data set of the emoji world, with perfect ground truth.

    Args:
        out: The folder to write to; it must be new or empty.
        layout: Pictures with captions and roles as a TSV or as webdataset shards, or a VOC-like segmentation tree.
        count: How many scenes.
        seed: Scenes of a seed and a split are always the same.
        split: `heldout` shows combinations that `train` never shows.
        size: Side of the square pictures in pixels.
    """
    from rich.markup import escape

    from clipsight import world as emoji_world

    if count < 1:
        raise Misuse(f"--count {count} writes nothing; give 1 or more.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f"{out} exists and is not an empty folder; give a new name, nothing was written."
        )
    write = {
        "tsv": emoji_world.write_tsv,
        "webdataset": emoji_world.write_webdataset,
        "voc": emoji_world.write_voc,
    }[layout]
    with side_terminal().status(f"writing {count} scenes ..."):
        write(out, count=count, seed=seed, split=split, size=size)
    terminal().print(
        f"{count} scenes of the {split} split (seed {seed}, {size} px) written to {escape(str(out.resolve()))}"
    )
    return DONE
