"""Which pictures were meant, and where each result goes."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from clipsight.cli.options import FORMATS, OutputOptions
from clipsight.cli.outcome import Misuse

_OTHER_SUFFIXES = (
    "jpg",
    "jpeg",
    "webp",
    "gif",
    "bmp",
    "tif",
    "tiff",
    "svg",
    "pdf",
    "npy",
    "csv",
    "txt",
    "htm",
    "geojson",
)


def find_pictures(words: Sequence[str]) -> list[str]:
    """Names of files, in the order given, patterns expanded where the shell did not, each file once.

    A word that names a file is that file, also when it holds `*` or `[`. A pattern that matches nothing stays
    as it is: reading it will fail and say so, as for any missing file.
    """
    found: dict[str, None] = {}
    for word in words:
        matches = [] if os.path.lexists(word) else sorted(glob.glob(word, recursive=True))
        found.update(dict.fromkeys(matches or [word]))
    return list(found)


def plan_outputs(
    pictures: Sequence[str], verb: str, options: OutputOptions, formats: Sequence[str] = FORMATS
) -> dict[str, list[Path]]:
    """The files that each picture's result is written to: `<stem>.<verb>.<format>`, or the one name given.

    The first of `formats`, those that the result can be saved as, is taken when nothing was asked for.

    Raises:
        Misuse: one file name for several results, a name and a format that differ, or two pictures of one stem.
    """
    out = options.out
    suffix = out.suffix[1:].lower() if out is not None and not out.is_dir() else ""
    if out is not None and suffix in formats:
        if len(pictures) > 1:
            raise Misuse(f"--out {out} is one file for {len(pictures)} pictures; give a folder.")
        if options.format not in ((), (suffix,)):
            asked = " ".join(options.format)
            raise Misuse(f"--out {out} and --format {asked} differ; give a folder, or leave --format out.")
        return {pictures[0]: [out]}
    if suffix in (*FORMATS, *_OTHER_SUFFIXES):
        known = ", ".join(f".{name}" for name in formats)
        raise Misuse(
            f"--out {out} ends with .{suffix}, but the result is written as {known}; or give a folder."
        )
    folder = out if out is not None else Path()
    wanted = tuple(dict.fromkeys(options.format)) or (formats[0],)
    plan = {
        picture: [folder / f"{Path(picture).stem}.{verb}.{end}" for end in wanted] for picture in pictures
    }
    taken: dict[Path, str] = {}
    for picture, files in plan.items():
        other = taken.setdefault(files[0], picture)
        if other != picture:
            raise Misuse(
                f"{other} and {picture} would both become {files[0]}; run them apart, with two --out folders."
            )
    return plan
