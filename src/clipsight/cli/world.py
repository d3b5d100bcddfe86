"""`clipsight world`: write a data set of the emoji world, with perfect ground truth."""

from pathlib import Path
from typing import Literal

from rich.markup import escape

from clipsight.cli.outcome import DONE, Misuse, terminal
from clipsight.cli.progress import with_progress


def world(
    out: Path,
    /,
    *,
    layout: Literal["tsv", "webdataset", "voc"] = "tsv",
    count: int = 1000,
    seed: int = 0,
    split: Literal["train", "heldout"] | None = None,
    size: int = 112,
) -> int:
    """Write a data set of the emoji world, with perfect ground truth.

    Args:
        out: The folder to write to; it must be new or empty.
        layout: Pictures with captions and roles as a TSV or as webdataset shards, or a VOC-like segmentation
            tree.
        count: How many scenes.
        seed: Scenes of a seed and a split are always the same.
        split: `heldout` shows combinations that `train` never shows. Without one: `train` for tsv and webdataset,
            `heldout` for voc.
        size: Side of the square pictures in pixels.
    """
    from clipsight.world import check_request, write_tsv, write_voc, write_webdataset

    if count < 1:
        raise Misuse(f"--count {count} writes nothing; give 1 or more.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f"{out} exists and is not an empty folder; give a new name, nothing was written."
        )
    chosen = split or ("heldout" if layout == "voc" else "train")
    try:
        check_request(chosen, size, seed, count)
    except ValueError as error:
        raise Misuse(str(error)) from error
    write = {"tsv": write_tsv, "webdataset": write_webdataset, "voc": write_voc}[layout]
    write(
        out, count, seed, chosen, size, watch=lambda scenes: with_progress(scenes, count, lambda _: "scenes")
    )
    where = escape(str(out.resolve()))
    terminal().print(f"{count} scenes of the {chosen} split (seed {seed}, {size} px) written to {where}")
    return DONE
