"""Result files of others: damaged, tampered with or made to fill the memory, each is one ValueError that names it."""

import io
import json
import random
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest

import clipsight
from clipsight.results import Explanation, Segmentation, WordAttribution
from clipsight.results.io import write_npz
from clipsight.untrusted import MOST_DEPTH, parse_json
from clipsight.world import make_scene


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with one file of each kind."""
    folder, lens, picture = (
        tmp_path_factory.mktemp("results"),
        clipsight.load("clipsight-tiny"),
        make_scene(0).image,
    )
    lens.explain(picture, ["a dog", "a car"]).save(folder / "explanation.npz")
    lens.segment(picture, ["dog", "car"]).save(folder / "segmentation.npz")
    lens.words(picture, "a dog left of a red car").save(folder / "words.npz")
    lens.words(picture, "a dog left of a red car").save(folder / "words.json")
    lens.anomaly(picture, "dog").save(folder / "anomaly.npz")
    return folder


def readers(made: Path):
    from clipsight.results import Anomaly

    return {
        "explanation.npz": Explanation,
        "segmentation.npz": Segmentation,
        "words.npz": WordAttribution,
        "words.json": WordAttribution,
        "anomaly.npz": Anomaly,
    }


def parts(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(str(arrays.pop("meta"))), arrays


def rewritten(path: Path, meta: object, arrays: dict[str, np.ndarray]) -> Path:
    with path.open("wb") as file:
        write_npz(file, meta, arrays)  # pyright: ignore[reportArgumentType]
    return path


def refused(path: Path, kind: type, said: str = ".") -> str:
    with pytest.raises(ValueError, match=said) as caught:
        kind.load(path)
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 2000
    return str(caught.value)


NAMES = ["explanation.npz", "segmentation.npz", "words.npz", "anomaly.npz"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["1", None, 1.0, True, [1], 0, -1, 10**30])
def test_a_format_that_is_no_number_of_ours(made, tmp_path, name, value):
    meta, arrays = parts(made / name)
    refused(
        rewritten(tmp_path / name, {**meta, "format": value}, arrays), readers(made)[name], "format|newer"
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_another_type(made, tmp_path, name):
    meta, arrays = parts(made / name)
    for key in meta:
        for value in (None, 7, "abc", ["x", 3], {"a": []}, [[[]]]):
            changed = {**meta, key: value}
            try:
                readers(made)[name].load(rewritten(tmp_path / name, changed, arrays))
            except ValueError as error:
                assert name in str(error)  # noqa: PT017 - some values are right for some fields
        without = {k: v for k, v in meta.items() if k != key}
        try:
            readers(made)[name].load(rewritten(tmp_path / name, without, arrays))
        except ValueError as error:
            assert name in str(error)  # noqa: PT017


@pytest.mark.parametrize(("name", "key"), [("explanation.npz", "texts"), ("segmentation.npz", "classes")])
def test_a_string_does_not_become_its_letters(made, tmp_path, name, key):
    meta, arrays = parts(made / name)
    refused(rewritten(tmp_path / name, {**meta, key: "ab"}, arrays), readers(made)[name], key)


def member(shape: tuple[int, ...], dtype: str, data: bytes) -> bytes:
    """A .npy whose header says one thing and whose data are another."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"shape": shape, "fortran_order": False, "descr": dtype})
    return out.getvalue() + data


def with_member(
    source: Path, target: Path, name: str, content: bytes, kind: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w", kind) as after:
        for one in before.namelist():
            after.writestr(one, content if one == name else before.read(one))
    return target


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((2_000_000_000_000,), "<f4"),
        ((10**30,), "<f4"),
        ((-1, 14, 14), "<f4"),
        ((2, 14, 14), "|O"),
        ((2, 14), "<c8"),
        ((2,), "<M8[s]"),
    ],
)
def test_a_header_that_asks_for_the_moon(made, tmp_path, shape, dtype):
    path = with_member(
        made / "explanation.npz", tmp_path / "e.npz", "maps.npy", member(shape, dtype, b"\0" * 100)
    )
    refused(path, Explanation, "maps.npy|header")


def test_a_small_file_that_unpacks_to_much_takes_no_memory(made, tmp_path):
    size = 1_700_000_000
    for kind in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        path = tmp_path / f"bomb{kind}.npz"
        with zipfile.ZipFile(made / "explanation.npz") as before, zipfile.ZipFile(path, "w", kind) as after:
            for name in before.namelist():
                if name != "image.npy":
                    after.writestr(name, before.read(name))
            with after.open("image.npy", "w", force_zip64=True) as out:
                out.write(member((size // 3, 1, 3), "|u1", b""))
                for _ in range(size // 3 * 3 // 10_000_000):
                    out.write(b"\0" * 10_000_000)
                out.write(b"\0" * (size // 3 * 3 % 10_000_000))
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refused(path, Explanation, "unpack to|packed")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 200_000


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 100_000, b'{"a":' * 5_000, b"\xff\xfe", b"9" * 6_000, b"[]", b"7"]
)
def test_settings_that_are_none(made, tmp_path, content):
    text = np.array(content.decode("latin1"))
    out = io.BytesIO()
    np.save(out, text)
    path = with_member(made / "explanation.npz", tmp_path / "e.npz", "meta.npy", out.getvalue())
    refused(path, Explanation)
    (tmp_path / "w.json").write_bytes(content)
    refused(tmp_path / "w.json", WordAttribution)


@pytest.mark.parametrize("name", [*NAMES, "words.json"])
def test_files_with_bytes_changed_or_cut(made, tmp_path, name):
    whole, dice, kind = (made / name).read_bytes(), random.Random(0), readers(made)[name]
    path = tmp_path / name
    for round_ in range(120):
        content = bytearray(whole)
        if round_ % 3 == 0:
            del content[dice.randrange(len(content)) :]
        else:
            for _ in range(dice.choice((1, 4, 60))):
                content[dice.randrange(len(content))] = dice.randrange(256)
        path.write_bytes(content)
        try:
            kind.load(path)
        except ValueError as error:
            assert name in str(error)  # noqa: PT017 - what reads the same is no fault


def test_members_missing_and_twice(made, tmp_path):
    with (
        zipfile.ZipFile(made / "explanation.npz") as before,
        zipfile.ZipFile(tmp_path / "e.npz", "w") as after,
    ):
        for name in before.namelist():
            if name != "maps.npy":
                after.writestr(name, before.read(name))
    refused(tmp_path / "e.npz", Explanation, "maps")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "e.npz", "a") as after:
        after.writestr("image.npy", b"")
    refused(tmp_path / "e.npz", Explanation)


def test_honest_files_load_as_before(made):
    for name, kind in readers(made).items():
        assert kind.load(made / name)


def test_json_within_its_limits():
    deep = "[" * MOST_DEPTH + "]" * MOST_DEPTH
    assert parse_json(deep)
    assert parse_json('{"a": "[[[[{{{{\\"["}') == {"a": '[[[[{{{{"['}
    with pytest.raises(ValueError, match="deeper"):
        parse_json(f"[{deep}]")
    with pytest.raises(ValueError, match="'a' twice"):
        parse_json('{"a": 1, "a": 2}')
