"""`clipsight world`: write a data set of the emoji world, with perfect ground truth."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from clipsight.cli.outcome import SUCCESS, UsageError, print_json, say
from clipsight.cli.progress import waiting, with_progress
from clipsight.cli.registry import verb


@verb(90)
def world(
    folder: Path | None = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(show_default=False)] = None,
    layout: Literal["tsv", "webdataset", "voc"] = "tsv",
    count: int = 1000,
    seed: int = 0,
    split: Literal["train", "heldout"] | None = None,
    size: int = 112,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Write a data set of the emoji world, with perfect ground truth.

    The folder appears when it is complete: an interrupted run leaves none.

    Args:
        folder: Folder to write to.
        out: The same, as an option.
        layout: Images with captions and roles as a TSV file or as webdataset shards, or a segmentation tree in the
            style of PASCAL VOC.
        count: Number of scenes.
        seed: The scenes of a seed and a split are always the same.
        split: `heldout` shows combinations that `train` never shows. Defaults to `train` for tsv and webdataset, and to
            `heldout` for voc.
        size: Side of the square images, in pixels.
        overwrite: Replace a folder that this command wrote. Any other folder that holds something is always kept.
        json: Print one JSON document to standard output, and nothing else.
    """
    with waiting():
        from clipsight.world import check_request, replacing_folder, write_tsv, write_voc, write_webdataset

    if (folder is None) == (out is None):
        raise UsageError("give one folder to write to, such as clipsight world scenes.")
    place = folder or out
    assert place is not None
    if count < 1:
        raise UsageError(f"--count {count} writes nothing; give 1 or more.")
    chosen = split or ("heldout" if layout == "voc" else "train")
    try:
        check_request(chosen, size, seed, count)
    except ValueError as error:
        raise UsageError(str(error)) from error
    write = {"tsv": write_tsv, "webdataset": write_webdataset, "voc": write_voc}[layout]
    with replacing_folder(place, overwrite=overwrite) as made:
        write(
            made,
            count,
            seed,
            chosen,
            size,
            watch=lambda scenes: with_progress(scenes, count, lambda _: "scenes"),
        )
    if json:
        print_json({"folder": str(place), "layout": layout, "split": chosen, "seed": seed, "count": count})
    else:
        say(f"{count} scenes of the {chosen} split (seed {seed}, {size} px) written to {place.resolve()}")
    return SUCCESS
