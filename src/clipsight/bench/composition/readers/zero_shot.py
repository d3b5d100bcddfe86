"""Zero-shot classification: each class is its name in templates, a picture is of the nearest.

Two forms are read: a folder with a folder of pictures for each class, as ImageNet's validation pictures lie; and a
table with `filepath` and `label`. A class folder's name is its class's, "_" read as a blank, unless a file
`classes.json` beside them says other names. The thousand folders of ImageNet, n01440764 and so on, get the names that
open_clip has for them.
"""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, ReadOptions, reader
from clipsight.bench.composition.item import Choices, Item, PictureRef
from clipsight.bench.composition.protocol import Protocol
from clipsight.errors import Unsupported
from clipsight.language.prompts import resolve_templates
from clipsight.pictures import picture_files
from clipsight.records import BadRow, Malformed, Row, csv_rows, json_value, picture_path

IMAGENET = "imagenet"
_OTHERS = "others"
_CLASSES = "classes.json"
_SYNSET = re.compile(r"n\d{8}")
_PARTS = frozenset(("train", "val", "valid", "validation", "test", "dev"))
_TREE = """\
FOLDER/
├── classes.json   {"folder": "name"}, only where folders are not called as their class
├── CLASS_ONE/
│   └── any.jpg
└── CLASS_TWO/
or a table with a line of names: filepath,label"""


def classified(source: BenchmarkFiles) -> Iterator[Row | Malformed]:
    """A record for each picture of each place: where it lies, its class, the split it counts for, the classes."""
    if not source.options.zero_shot:
        raise Unsupported(
            "Nothing to classify was given: --zero-shot FOLDER, or ReadOptions(zero_shot=(path,))."
        )
    wanted = source.annotation.split == IMAGENET
    places = [path for path in source.options.zero_shot if _is_imagenet(path) == wanted]
    if not places:
        raise Unsupported(
            "nothing with the classes of ImageNet was given" if wanted else "nothing else was given"
        )
    names = [IMAGENET if wanted else _called(path) for path in places]
    if len(set(names)) < len(names):
        raise ValueError(
            f"two of the data sets to classify are called alike: {', '.join(map(str, places))}; the last part of a "
            "path (of .../val the two last) is the name of its split. Rename one, or measure them apart."
        )
    yield from chain.from_iterable(
        (_table if path.is_file() else _folder)(path, name, source.options)
        for name, path in zip(names, places, strict=True)
    )


def _called(path: Path) -> str:
    parts = path.resolve().with_suffix("").parts
    return "/".join(parts[-2:]) if parts[-1].lower() in _PARTS else parts[-1]


def _is_imagenet(path: Path) -> bool:
    return path.is_dir() and sum(_SYNSET.fullmatch(one.name) is not None for one in path.iterdir()) == 1000


def _folder(path: Path, split: str, options: ReadOptions) -> Iterator[Row | Malformed]:
    inside = sorted(one for one in path.iterdir() if not one.name.startswith(".")) if path.is_dir() else []
    folders = [one for one in inside if one.is_dir()]
    if len(folders) < 2:
        raise Unsupported(
            f"{path} has {len(folders)} class folders and there should be two or more; the usual cause is a folder too "
            "high or too low."
        )
    names = _names(path, folders)
    classes = _told_apart(names)
    choices = Choices(
        classes=tuple(classes.values()),
        names=tuple(names.values()),
        templates=resolve_templates(options.templates),
    )
    for file in inside:
        if file.is_file() and file.name != _CLASSES:
            yield Malformed(file=file.name, line=0, reason=f"it lies beside the class folders of {path}")
    for folder in folders:
        pictures, others = picture_files(folder)
        for file in pictures:
            yield Row(
                value={"file": file, "label": classes[folder.name], "split": split, "choices": choices},
                line=0,
                key=file.relative_to(path).as_posix(),
            )
        for file in others:
            name = file.relative_to(path).as_posix()
            yield Malformed(
                file=name, line=0, reason="it is no picture, neither by its ending nor by its content"
            )


def _names(path: Path, folders: list[Path]) -> dict[str, str]:
    """What the class of each folder is called, by the folder's own name.

    Raises:
        Unsupported: `classes.json` does not name each, or calls two alike; or synset numbers say no names.
    """
    said = path / _CLASSES
    if said.is_file():
        try:
            told = Row(value=json_value(said.read_text(encoding="utf-8-sig")), line=1, key="")
            names = {one.name: told.word(one.name) for one in folders}
        except (OSError, ValueError) as error:
            raise Unsupported(
                f"{said} does not say the name of every class folder ({type(error).__name__}: {error}); it should hold "
                'one object, {"folder": "name", …}.'
            ) from error
    elif all(_SYNSET.fullmatch(one.name) for one in folders):
        return _imagenet(path, folders)
    else:
        names = {one.name: one.name.replace("_", " ") for one in folders}
    if len(set(names.values())) < len(names):
        alike = sorted(name for name in set(names.values()) if list(names.values()).count(name) > 1)
        raise Unsupported(
            f"{path}: several folders are called {alike[0]!r}, and their pictures cannot be told apart. Say other "
            "names in classes.json."
        )
    return names


def _imagenet(path: Path, folders: list[Path]) -> dict[str, str]:
    from open_clip import IMAGENET_CLASSNAMES

    if len(folders) != len(IMAGENET_CLASSNAMES):
        raise Unsupported(
            f"{path} has {len(folders)} of ImageNet's {len(IMAGENET_CLASSNAMES)} class folders, and a synset's number "
            "alone does not say its name; give all folders, empty ones where there are no pictures, or a classes.json "
            'with {"n01440764": "tench", …}.'
        )
    # ImageNet numbers its classes by synset in ascending order.
    return dict(zip((one.name for one in folders), IMAGENET_CLASSNAMES, strict=True))


def _told_apart(names: dict[str, str]) -> dict[str, str]:
    """Class by folder: its name, with the folder's where another class has the name too."""
    first = {name: folder for folder, name in reversed(names.items())}
    return {folder: name if first[name] == folder else f"{name} ({folder})" for folder, name in names.items()}


def _table(path: Path, split: str, options: ReadOptions) -> Iterator[Row | Malformed]:
    rows = list(csv_rows(path, path.name))
    labels = sorted({label for row in rows if isinstance(row, Row) and (label := _label(row))})
    if len(labels) < 2:
        raise Unsupported(
            f"{path} has {len(labels)} classes in its column 'label'; a table to classify by begins with the line "
            "filepath,label and names two classes or more."
        )
    choices = Choices(
        classes=tuple(labels), names=tuple(labels), templates=resolve_templates(options.templates)
    )
    for row in rows:
        if isinstance(row, Malformed):
            yield row
            continue
        try:
            value = {
                "file": picture_path(path.parent, row.text("filepath").strip()),
                "label": row.text("label").strip(),
                "split": split,
                "choices": choices,
            }
        except BadRow as error:
            yield Malformed(file=path.name, line=row.line, reason=str(error))
        else:
            yield Row(value=value, line=row.line, key=row.key)


def _label(row: Row) -> str:
    """The class of a table's row, "" where it names none that can be read."""
    try:
        return row.text("label").strip()
    except BadRow:
        return ""


@reader(
    Benchmark(
        id="zero_shot",
        title="zero-shot classification",
        origin="a folder of class folders or a table of yours, such as ImageNet's validation pictures by synset",
        folders=("",),
        annotations=(
            Annotation(split=IMAGENET, files=(), rows=50_000, collection="zero_shot"),
            Annotation(split=_OTHERS, files=(), rows=None, collection="zero_shot"),
        ),
        rows=classified,
        protocols={"official": Protocol()},
        notes=(
            "Names and templates move zero-shot accuracy by points; texts_sha256 is of both.",
            "Two pairs of ImageNet's names are alike (missile, sunglasses): their 200 pictures can only tie here, and "
            "an arg max takes the first of each pair.",
        ),
        guard=True,
        tree=_TREE,
    )
)
def zero_shot(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """A picture of a class."""
    yield source.item(
        row,
        split=row.text("split"),
        rule="classes",
        pictures=(PictureRef(file=str(row.get("file").resolve()), collection=source.annotation.collection),),
        positives=(),
        group=row.text("label"),
        choices=row.get("choices"),
    )
