"""Which pictures were meant, and where each result goes."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from clipsight.cli.options import FORMATS, OutputOptions
from clipsight.cli.outcome import UsageError, print_note

PICTURE_SUFFIXES = frozenset(
    (
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif",
        ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".psd", ".pcx",
        ".sgi", ".rgb", ".dds", ".qoi", ".mpo",
    )
)  # fmt: skip
"""Names of image files in a folder. A file that is named itself may be called anything."""
_OTHER_SUFFIXES = (
    *(suffix[1:] for suffix in PICTURE_SUFFIXES), "svg", "pdf", "npy", "csv", "txt", "htm", "geojson",
)  # fmt: skip
"""Endings of file names that no result is written as; other endings are taken for folders."""


def looks_like_picture(name: str) -> bool:
    """Whether a name ends as those of image files do."""
    return Path(name).suffix.lower() in PICTURE_SUFFIXES


def find_pictures(words: Sequence[str]) -> list[str]:
    """Names of files, in the order given, each once; patterns are expanded, and folders stand for their images.

    A word that names a file is that file, even if it holds `*` or `[`. A pattern that matches nothing stays as it is:
    reading it will fail and say so, as for any missing file.

    Raises:
        UsageError: no words, or folders without images.
    """
    if not words:
        raise UsageError('no image was given; name files, a folder, or a pattern such as "photos/*.jpg".')
    found: dict[str, None] = {}
    for word in words:
        if os.path.isdir(word):
            found.update(dict.fromkeys(_in_folder(word)))
            continue
        matches = [] if os.path.lexists(word) else sorted(glob.glob(word, recursive=True))
        found.update(dict.fromkeys(matches or [word]))
    return list(found)


def _in_folder(folder: str) -> list[str]:
    """The images of a folder by name, without results that clipsight wrote there."""
    with os.scandir(folder) as entries:
        files = sorted(
            entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir()
        )
    own = result_marks()
    names = [name for name in files if looks_like_picture(name)]
    results = [name for name in names if own & set(name.split(".")[1:-1])]
    pictures = [os.path.normpath(os.path.join(folder, name)) for name in names if name not in results]
    left_out = [
        f"{count} {what}{'' if count == 1 else 's'}"
        for count, what in ((len(files) - len(names), "other file"), (len(results), "result file"))
        if count
    ]
    if not pictures:
        what = f" ({' and '.join(left_out)})" if left_out else ""
        raise UsageError(
            f'{folder} holds no image{what}; for those in folders below it type "{folder}/**/*.jpg".'
        )
    if left_out:
        print_note(f"of {folder}, {len(pictures)} images are read, without {' and '.join(left_out)}.")
    return pictures


def result_marks() -> set[str]:
    """What stands in the names of results: `dog.explain.png`."""
    from clipsight.cli.registry import verbs

    return {verb.name for verb in verbs()[0] if not verb.group}


def plan_outputs(
    pictures: Sequence[str], verb: str, options: OutputOptions, formats: Sequence[str] = FORMATS
) -> dict[str, list[Path]]:
    """The files that each picture's result is written to: `<stem>.<verb>.<format>`, or the one name given.

    The first of `formats`, those that the result can be saved as, is the default.

    Raises:
        UsageError: one file name for several results, a name and a format that differ, or two pictures of one stem.
    """
    out = options.out
    suffix = out.suffix[1:].lower() if out is not None and not out.is_dir() else ""
    if out is not None and suffix in formats:
        if len(pictures) > 1:
            raise UsageError(f"--out {out} is one file for {len(pictures)} images; give a folder.")
        if options.format not in ((), (suffix,)):
            asked = " ".join(options.format)
            raise UsageError(
                f"--out {out} and --format {asked} differ; give a folder, or leave --format out."
            )
        return {pictures[0]: [out]}
    if suffix in (*FORMATS, *_OTHER_SUFFIXES):
        known = ", ".join(f".{name}" for name in formats)
        raise UsageError(
            f"--out {out} ends with .{suffix}, but results are written as {known}; or give a folder."
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
            raise UsageError(
                f"{other} and {picture} would both become {files[0]}; run them separately, with two --out folders."
            )
    return plan


def refuse_inputs(outputs: Sequence[Path], inputs: Sequence[str | os.PathLike[str]]) -> None:
    """Refuse to write a file that is read, whatever it is called and whether or not it may be overwritten.

    Raises:
        UsageError: an output is an input.
    """
    read = {_identity(name): name for name in inputs}
    for file in outputs:
        if (name := read.get(_identity(file))) is not None:
            raise UsageError(f"{file} would replace the input {name}; give another name to --out.")


def _identity(name: str | os.PathLike[str]) -> object:
    """Equal for two names of one file, links followed."""
    try:
        status = os.stat(name)
    except (OSError, ValueError):
        return os.path.abspath(os.fspath(name)) if "\0" not in os.fspath(name) else os.fspath(name)
    return (status.st_dev, status.st_ino)
