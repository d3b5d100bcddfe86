"""Files that are cut, damaged, gigantic by their own word, or no files: refused in one sentence, or read rightly."""

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clipsight.errors import PictureError
from clipsight.pictures import decoding, read_picture
from inputs import corpus

REPEATED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_cut_at_every_marker_are_refused(tmp_path: Path, progressive: bool) -> None:
    data, path = corpus.rich_jpeg(progressive=progressive), tmp_path / "cut.jpg"
    path.write_bytes(data)
    assert isinstance(corpus.read_or_refused(path), Image.Image)
    cuts = dict(corpus.jpeg_cuts(data))
    kinds = {name.split()[0] for name in cuts}
    assert kinds >= {"SOI", "APP0", "APP1", "APP2", "COM", "DQT", "DHT", "SOS", "EOI", "scan"}
    assert kinds >= ({"SOF2"} if progressive else {"SOF0", "DRI"})
    del cuts["EOI after the marker"]
    for where, cut in cuts.items():
        path.write_bytes(data[:cut])
        assert isinstance(corpus.read_or_refused(path), str), where


def test_pngs_cut_in_every_chunk_are_refused_or_whole(tmp_path: Path) -> None:
    data, path = corpus.rich_png(), tmp_path / "cut.png"
    path.write_bytes(data)
    whole = np.asarray(read_picture(path))
    names = {name for name, *_ in corpus.png_chunks(data)}
    assert names == {"IHDR", "iCCP", "tEXt", "zTXt", "PLTE", "tRNS", "pHYs", "eXIf", "IDAT", "IEND"}
    last = max(start + length for name, start, length in corpus.png_chunks(data) if name == "IDAT")
    for where, cut in corpus.png_cuts(data):
        path.write_bytes(data[:cut])
        got = corpus.read_or_refused(path)
        if cut < last:
            assert isinstance(got, str), where
        else:
            assert isinstance(got, str) or np.array_equal(np.asarray(got), whole), where


def test_pngs_with_a_wrong_check_sum_or_bit_are_refused_or_whole(tmp_path: Path) -> None:
    data, path = corpus.rich_png(), tmp_path / "sum.png"
    path.write_bytes(data)
    whole = np.asarray(read_picture(path))
    for name, start, length in corpus.png_chunks(data):
        broken = bytearray(data)
        broken[start + 8 + length] ^= 0x40
        path.write_bytes(broken)
        got = corpus.read_or_refused(path)
        assert isinstance(got, str) or np.array_equal(np.asarray(got), whole), name
        if name in ("IHDR", "PLTE"):
            assert isinstance(got, str), name
        if name == "IDAT":  # the data has a sum of its own
            broken = bytearray(data)
            broken[start + 8 + length // 2] ^= 0x40
            path.write_bytes(broken)
            assert isinstance(corpus.read_or_refused(path), str)


SMALL = {
    "gif": corpus.encoded(corpus.picture().quantize(64), "GIF"),
    "webp": corpus.encoded(corpus.picture(), "WEBP"),
    "lossless.webp": corpus.encoded(corpus.picture(), "WEBP", lossless=True),
    "tif": corpus.encoded(corpus.picture(), "TIFF"),
    "lzw.tif": corpus.encoded(corpus.picture(), "TIFF", compression="tiff_lzw"),
    "deflate.tif": corpus.encoded(corpus.picture(), "TIFF", compression="tiff_deflate"),
    "bmp": corpus.encoded(corpus.picture(), "BMP"),
    "ppm": corpus.encoded(corpus.picture(), "PPM"),
    "jpg": corpus.encoded(corpus.picture(), "JPEG"),
    "png": corpus.encoded(corpus.picture(), "PNG"),
}


@pytest.mark.parametrize("name", SMALL)
def test_other_formats_cut_anywhere_are_refused_or_whole(tmp_path: Path, name: str) -> None:
    data, path = SMALL[name], tmp_path / f"cut.{name}"
    path.write_bytes(data)
    whole = np.asarray(read_picture(path))
    refused = 0
    cuts = sorted({*range(1, min(len(data), 80)), *range(1, len(data), 41), len(data) - 2, len(data) - 1})
    for cut in cuts:
        path.write_bytes(data[:cut])
        got = corpus.read_or_refused(path)
        refused += isinstance(got, str)
        assert isinstance(got, str) or np.array_equal(np.asarray(got), whole), cut
    assert refused > len(cuts) / 2


@REPEATED
@given(
    name=st.sampled_from(sorted(SMALL)),
    places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    early=st.booleans(),
)
def test_any_damage_is_a_picture_or_a_sentence(tmp_path: Path, name: str, places, early: bool) -> None:
    data = bytearray(SMALL[name])
    for where, value in places:
        data[int(where * (min(60, len(data)) if early else len(data) - 1))] = value
    path = tmp_path / f"damaged.{name}"
    path.write_bytes(data)
    corpus.read_or_refused(path)


@REPEATED
@given(start=st.sampled_from([data[:20] for data in SMALL.values()]), rest=st.binary(max_size=300))
def test_any_bytes_are_a_picture_or_a_sentence(tmp_path: Path, start: bytes, rest: bytes) -> None:
    path = tmp_path / "any.bin"
    path.write_bytes(start + rest)
    corpus.read_or_refused(path)


def _in_a_process_of_its_own(code: str, folder: Path, seconds: float) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, cwd=folder, env=environment, timeout=seconds, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux alone")
def test_bombs_are_refused_in_little_memory(tmp_path: Path) -> None:
    made = corpus.bombs()
    for name, data in made.items():
        assert len(data) < 100_000
        (tmp_path / name).write_bytes(data)
    said = _in_a_process_of_its_own(
        """
        import json, os, resource
        from PIL import Image
        from clipsight.errors import PictureError
        from clipsight.pictures import read_picture

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

        before, said = peak(), {}
        for guard in (Image.MAX_IMAGE_PIXELS, None):  # also for a program that switched Pillow's own guard off
            Image.MAX_IMAGE_PIXELS = guard
            for name in sorted(os.listdir()):
                if guard is None and name == "filled.png":
                    continue  # below our own limit
                try:
                    read_picture(name)
                except PictureError as error:
                    said[name + str(guard)] = str(error)
        said["megabytes"] = peak() - before
        print(json.dumps(said))
        """,
        tmp_path,
        seconds=60,
    )
    assert int(said.pop("megabytes")) < 100
    assert len(said) == 2 * len(made) - 1
    for name, message in said.items():
        assert name.split(".")[0] in message
        assert name.startswith(("text", "profile")) or "megapixels" in message, message


def test_the_limit_is_where_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MOST_PIXELS", 10_000)
    for kind in ("PNG", "TIFF"):
        path = tmp_path / f"limit.{kind.lower()}"
        Image.new("L", (100, 100)).save(path)
        assert read_picture(path).size == (100, 100)
        Image.new("L", (101, 100)).save(path)
        with pytest.raises(PictureError, match="101 × 100 pixels"):
            read_picture(path)
    with pytest.raises(PictureError, match="101 × 100 pixels"):
        read_picture(np.zeros((100, 101), np.uint8))


def test_a_wrong_extension_is_no_matter_but_a_wrong_content_is(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    corpus.picture().save(path, "PNG")
    assert np.array_equal(np.asarray(read_picture(path)), np.asarray(corpus.picture()))
    (tmp_path / "no_extension").write_bytes(path.read_bytes())
    assert read_picture(tmp_path / "no_extension").size == (32, 24)
    for content in (
        b"only words",
        b"%PDF-1.7\n",
        b"<svg/>",
        b"PK\3\4",
        b"\x7fELF",
        b"\0" * 1000,
        b"\xff\xd8",
        b"GIF89a",
    ):
        path.write_bytes(content)
        assert isinstance(corpus.read_or_refused(path), str), content
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    said = corpus.read_or_refused(path)
    assert "PostScript" in said  # refused before a program is run on it


@pytest.mark.skipif(os.name == "nt", reason="pipes, sockets and devices as files")
def test_pipes_sockets_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink("pipe.png", tmp_path / "link.png")
    server = socket.socket(socket.AF_UNIX)
    folder = Path.cwd()
    try:
        os.chdir(tmp_path)  # names of sockets are short
        server.bind("socket.png")
    finally:
        os.chdir(folder)
    said = _in_a_process_of_its_own(
        """
        import json
        from clipsight.errors import PictureError
        from clipsight.pictures import read_picture

        said = {}
        for name in ("pipe.png", "link.png", "socket.png", "/dev/zero", "/dev/null"):
            try:
                read_picture(name)
            except PictureError as error:
                said[name] = str(error)
        print(json.dumps(said))
        """,
        tmp_path,
        seconds=30,  # a pipe that nobody writes into would be waited for without end
    )
    server.close()
    assert len(said) == 5
    for name, message in said.items():
        assert name in message
        assert "not an ordinary file" in message


def test_empty_files_folders_and_links_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    os.symlink("nowhere", tmp_path / "link.png")
    os.symlink("round.png", tmp_path / "round.png")
    for name, words in (
        ("empty.png", "is empty"),
        ("folder.png", "is a folder"),
        ("link.png", "a link to a file that does not exist"),
        ("round.png", "a link"),
        ("gone.png", "no such file"),
        ("empty.png/inside.png", "no such file"),
        ("a\0b.png", "no such file"),
        ("x" * 5000, "no such file"),
    ):
        with pytest.raises(PictureError, match=words) as caught:
            read_picture(f"{tmp_path}/{name}")
        assert len(str(caught.value)) < 600


@pytest.mark.skipif(os.name == "nt", reason="POSIX rights")
def test_what_may_not_be_read_says_so() -> None:
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, whose parents are closed to other users
        folder = Path(name)
        (folder / "closed").mkdir(mode=0o700)
        for path in (folder / "closed" / "in.png", folder / "file.png"):
            corpus.picture().save(path)
        os.chmod(folder, 0o755)
        os.chmod(folder / "file.png", 0o000)
        os.chmod(folder / "closed", 0o000)
        try:
            with corpus.nobody():
                with pytest.raises(PictureError, match=r"file\.png.*not permitted; change its rights"):
                    read_picture(folder / "file.png")
                with pytest.raises(PictureError, match=r"in\.png.*may not be entered"):
                    read_picture(folder / "closed" / "in.png")
        finally:
            os.chmod(folder / "closed", 0o700)


@pytest.mark.parametrize(
    "name", [b"new\nline.png", b"caf\xe9.png", b"esc\x1b[31m.png", b"-dash.png", b"[red].png", "漢字🐶.png".encode()]
)  # fmt: skip
def test_odd_names_are_read_and_named_in_one_line(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    try:
        corpus.picture().save(path)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    assert read_picture(path).size == (32, 24)
    path.write_bytes(b"no picture")
    said = corpus.read_or_refused(path)
    assert isinstance(said, str)
    assert said.isprintable()
    said.encode()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://example.org/a.jpg", "nothing is fetched; download it"),
        ("HTTPS://example.org/a.jpg?size=3", "nothing is fetched; download it"),
        ("ftp://example.org/a.jpg", "nothing is fetched; download it"),
        ("s3://bucket/a.jpg", "nothing is fetched; download it"),
        ("data:image/png;base64,iVBORw0KGgo=" + "A" * 10_000, "nothing is fetched; download it"),
        ("file:///home/me/a%20b.jpg", "give the path alone, without 'file://'"),
        (Path("https://example.org/a.jpg"), "nothing is fetched; download it"),  # a Path has one stroke fewer
        ("C:/photos/a.jpg", "no such file"),
        ("data.jpg", "no such file"),
    ],
)
def test_addresses_are_not_fetched(address: str | Path, words: str) -> None:
    with pytest.raises(PictureError, match=words) as caught:  # the tests refuse connections besides
        read_picture(address)
    assert len(str(caught.value)) < 600


def test_a_closed_picture_says_so(tmp_path: Path) -> None:
    corpus.picture().save(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as closed:
        pass
    with pytest.raises(PictureError, match=r"p\.png.*closed.*before it is closed"):
        read_picture(closed)


def test_too_little_memory_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: Image.Image) -> None:
        raise MemoryError

    corpus.picture().save(tmp_path / "p.bmp")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(PictureError, match=r"p\.bmp.*the memory is too small"):
        read_picture(tmp_path / "p.bmp")


def test_a_tiff_whose_tags_run_out_of_the_file(tmp_path: Path) -> None:
    short = corpus.tiff_claiming(16, 16, bytes(768))
    path = tmp_path / "tags.tif"
    path.write_bytes(short)
    assert isinstance(corpus.read_or_refused(path), Image.Image)
    for place in range(8 + 768, len(short), 3):
        path.write_bytes(short[:place] + struct.pack("<I", 0xFFFFFFF0) + short[place + 4 :])
        corpus.read_or_refused(path)


def test_a_png_whose_chunk_claims_gigabytes(tmp_path: Path) -> None:
    data = corpus.encoded(corpus.picture(), "PNG")
    for _, start, _ in corpus.png_chunks(data):
        (tmp_path / "chunk.png").write_bytes(data[:start] + struct.pack(">I", 0x7FFFFFF0) + data[start + 4 :])
        got = corpus.read_or_refused(tmp_path / "chunk.png")
        assert isinstance(got, str) or np.array_equal(np.asarray(got), np.asarray(corpus.picture()))
