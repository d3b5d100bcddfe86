"""Class folders to classify by: everything that can be read is an item, everything else is named."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clipsight.bench.composition.benchmark import BENCHMARKS, ReadOptions
from clipsight.bench.composition.folder import read_benchmark
from clipsight.pictures import is_picture_file, picture_files, read_picture

ENDINGS = (
    "jpg",
    "jpeg",
    "jfif",
    "png",
    "webp",
    "bmp",
    "gif",
    "tif",
    "tiff",
    "ppm",
    "pgm",
    "tga",
    "JPG",
    "dib",
)
OTHERS = ("notes.txt", "labels.csv", "drawing.eps", "README", "list.json", "Thumbs.db")


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"jpg": "JPEG", "jfif": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "pgm": "PPM"}.get(
        path.suffix[1:].lower()
    )
    image = Image.new("L" if path.suffix == ".pgm" else "RGB", (6, 5), 90)
    image.save(path, kind or (path.suffix[1:].upper() if path.suffix else "PNG"))


def reading(folder: Path):
    return read_benchmark(BENCHMARKS["zero_shot"], None, ReadOptions(zero_shot=(folder,)))


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_opens_is_an_item(tmp_path, ending):
    picture(tmp_path / f"a.{ending}")
    assert read_picture(tmp_path / f"a.{ending}").size == (6, 5)
    assert is_picture_file(tmp_path / f"a.{ending}")


def test_six_pictures_of_which_two_are_seldom(tmp_path):
    for name in ("cat/a.jpg", "cat/b.ppm", "cat/c.jfif", "dog/a.png", "dog/b.jpg", "dog/deep/c.webp"):
        picture(tmp_path / name)
    found = reading(tmp_path)
    assert len(found.items) == 6
    assert found.malformed == ()


@settings(
    max_examples=30, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    names=st.lists(
        st.one_of(
            st.sampled_from(ENDINGS).map("p.{}".format), st.sampled_from(OTHERS), st.just("without_ending")
        ),
        min_size=1,
        max_size=12,
    )
)
def test_items_and_named_failures_are_all_files(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("zero")
    for kind in ("cat", "dog"):
        (folder / kind).mkdir()
    pictures = 0
    for number, name in enumerate(names):
        path = folder / ("cat", "dog")[number % 2] / f"{number}-{name}"
        if name in OTHERS:
            path.write_bytes(b"%!PS-Adobe" if name.endswith("eps") else b"text, no picture")
        else:
            picture(path)
            pictures += 1
    found = reading(folder)
    assert len(found.items) == pictures
    assert len(found.items) + len(found.malformed) == len(names)
    assert all("no picture" in bad.reason for bad in found.malformed)


def test_files_beside_the_class_folders_are_named(tmp_path):
    for name in ("cat/a.jpg", "dog/a.jpg", "lost.jpg"):
        picture(tmp_path / name)
    (tmp_path / "classes.json").write_text('{"cat": "a cat", "dog": "a dog"}')
    (tmp_path / ".hidden").write_text("")
    found = reading(tmp_path)
    assert len(found.items) == 2
    assert [(bad.file, "beside the class folders" in bad.reason) for bad in found.malformed] == [
        ("lost.jpg", True)
    ]


def test_a_table_keeps_its_rows(tmp_path):
    for name in ("0.jpg", "1.jpg", "2.jpg", "sub/3.jpg"):
        picture(tmp_path / name)
    text = 'filepath;label\n0.jpg;cat\n1.jpg;"dog\n2.jpg;cat\nsub\\3.jpg;"dog"\n'
    (tmp_path / "table.csv").write_text(text, encoding="utf-16")
    found = reading(tmp_path / "table.csv")
    assert found.malformed == ()
    assert [Path(one.pictures[0].file).name for one in found.items] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert all(Path(one.pictures[0].file).is_file() for one in found.items)


def test_pictures_of_a_folder(tmp_path):
    for name in ("b.png", "a.jpg", "deep/c.ppm", ".hidden/d.png", "no_ending"):
        picture(tmp_path / name)
    (tmp_path / "x.txt").write_text("")
    pictures, others = picture_files(tmp_path)
    assert [one.relative_to(tmp_path).as_posix() for one in pictures] == [
        "a.jpg",
        "b.png",
        "deep/c.ppm",
        "no_ending",
    ]
    assert others == [tmp_path / "x.txt"]
