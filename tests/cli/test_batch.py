"""A thousand pictures, some of them bad: the others stand, and what failed is listed at the end."""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsight.cli import main
from clipsight.pictures import read_picture
from clipsight.results import Explanation

ASK = ("--label", "dog", "--label", "cat", "--label", "tree")


BAD = {
    "0007": "damaged",
    "0020": "empty",
    "0021": "is a folder",
    "0022": "no picture format",
    "0030": "not an ordinary file",
}
"""Name of a bad picture -> what is said of it."""


def photos(count: int) -> None:
    """Tiny pictures, each of a colour of its own, in place of which some hold what is no picture."""
    folder = Path("photos")
    folder.mkdir()
    for number in range(count):
        if f"{number:04}" not in BAD:
            colour = (number % 256, number // 4, 255 - number % 256)
            Image.new("RGB", (8, 8), colour).save(folder / f"{number:04}.png", compress_level=0)
    (folder / "0007.png").write_bytes((folder / "0000.png").read_bytes()[:80])
    (folder / "0020.png").touch()
    (folder / "0021.png").mkdir()
    (folder / "0022.png").write_text("only words")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "0030.png")
    else:
        (folder / "0030.png").touch()


def check_listing(err: str, count: str) -> None:
    first, *lines = err.splitlines()
    assert first == f"clipsight: 5 of {count} images failed:"
    for line, (name, said) in zip(lines, BAD.items(), strict=True):
        assert line.startswith(f"clipsight: cannot read the picture 'photos/{name}.png'")
        assert said in line or os.name == "nt"


@pytest.mark.slow
def test_five_bad_files_of_a_thousand_stop_nothing(lens, run):
    plain = lens.classify
    lens.classify = lambda image, *rest, **named: (
        plain(image, *rest, **named) if read_picture(image) else None
    )
    photos(1000)
    code, out, err = run(
        "classify", "photos/*.png", *ASK, "--top", "1", "--out", "answers", "--format", "json"
    )
    assert code == 1
    check_listing(err, "1,000")
    assert len(out.splitlines()) == 995
    assert len(os.listdir("answers")) == 995
    assert not list(Path("answers").glob(".*"))
    code, out, err = run("classify", "photos/*.png", *ASK, "--json", "--out", "again", "--format", "json")
    document = json.loads(out)
    assert (code, len(document["results"])) == (1, 995)
    check_listing(err, "1,000")
    assert [Path(failed["image"]).stem for failed in document["failures"]] == list(BAD)
    assert all(failed["error"].startswith("cannot read the picture") for failed in document["failures"])


def test_the_bundled_model_answers_the_rest(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(100)
    words = ("--model", "clipsight-tiny", "--templates", "none", "--json", "--format", "json")
    code, out, err = run("classify", "photos/*.png", *ASK, *words)
    document = json.loads(out)
    assert (code, len(document["results"])) == (1, 95)
    check_listing(err, "100")
    cosines = np.array([result["result"]["similarity"] for result in document["results"]])
    assert np.isfinite(cosines).all()
    assert len(np.unique(cosines[:, 0])) == 95  # each its own answer


def test_one_picture_that_fails_is_one_line(lens, run):
    code, out, err = run("classify", "broken.png", *ASK)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "1 of 1" not in err


def test_a_reason_that_all_share_is_said_once(lens, run, monkeypatch):
    def explain(*_: object, **__: object) -> None:
        raise ValueError("this size cuts patches; give another.")

    monkeypatch.setattr(type(lens), "explain", explain)
    code, _, err = run("explain", "dog.jpg", "cat.png", "--text", "a dog")
    assert (code, err) == (
        1,
        "clipsight: 2 of 2 images failed, each for the same reason: this size cuts patches; give another.\n",
    )


def test_a_mistake_of_ours_in_one_picture_stops_no_other(lens, run, monkeypatch):
    def classify(image: str, *rest: object, **named: object) -> object:
        if image == "dog.jpg":
            raise ZeroDivisionError("division by zero")
        return plain(image, *rest, **named)

    plain = lens.classify
    lens.classify = classify
    code, out, err = run("classify", "dog.jpg", "cat.png", *ASK)
    assert code == 1
    assert "cat.png" in out
    assert "dog.jpg: this ZeroDivisionError (division by zero) is a bug; add --debug" in err
    with pytest.raises(ZeroDivisionError):
        run("classify", "dog.jpg", *ASK, "--debug")


def test_a_command_that_is_stopped_lists_what_failed_so_far(lens, run):
    plain = lens.classify

    def classify(image: str, *rest: object, **named: object) -> object:
        if image == "dog.jpg":
            raise KeyboardInterrupt
        return plain(image, *rest, **named)

    lens.classify = classify
    code, out, err = run("classify", "cat.png", "broken.png", "dog.jpg", *ASK)
    assert code == 130
    assert "cat.png" in out
    count, broken, stopped = err.splitlines()
    assert count.endswith("1 of 3 images failed:")
    assert "broken.png" in broken
    assert stopped == "clipsight: stopped."


def test_a_full_disk_is_said_for_each_picture_and_leaves_nothing(lens, run, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = run("explain", "dog.jpg", "cat.png", "--text", "a dog", "--out", "new")
    assert code == 1
    assert "cat.png: cannot write, No space left on device: new/cat.explain.png" in err
    assert not list(Path("new").iterdir())


def test_addresses_are_not_fetched(lens, run):
    code, _, err = run(
        "classify", "https://example.org/a.jpg", "http://example.org/*.jpg?x=[1]", "file:///b.png", *ASK
    )
    assert (code, lens.loaded) == (1, [])
    _, *lines = err.splitlines()
    assert len(lines) == 3
    assert all("it is an address" in line for line in lines)


def test_one_name_that_the_system_refuses_does_not_stop_the_others(lens, run):
    names = ("x" * 5000 + ".png", "a\0b.png", "dog.jpg/inside.png", "dog.jpg")
    code, out, err = run("classify", *names, *ASK)
    assert code == 1
    assert "dog.jpg" in out
    assert len(err.splitlines()) == 4
    assert max(map(len, err.splitlines())) < 700


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are Unicode there")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_odd_names_are_done_and_printed_harmlessly(lens, monkeypatch, capsys, encoding):
    names = [b"caf\xe9.png", b"new\nline.png", b"esc\x1b[31m.png", "漢字🐶.png".encode(), b"[red]x.png"]
    for name in names:
        Image.new("RGB", (8, 8), "red").save(os.fsdecode(name))
    names.append(b"bad\xff\n.png")
    Path(os.fsdecode(names[-1])).touch()

    def typed(*words: str) -> tuple[int, str]:
        printed = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding, errors="strict"))
        monkeypatch.setattr(sys, "argv", ["clipsight", *words, "--", *map(os.fsdecode, names)])
        code = main()
        sys.stdout.flush()
        return code, printed.getvalue().decode(encoding)

    code, out = typed("explain", "--text", "a dog", "--out", "new", "--format", "npz")
    err = capsys.readouterr().err
    assert code == 1
    assert "\x1b" not in out + err
    assert (out.count(" -> "), err.count("\n")) == (5, 2)
    assert len(os.listdir("new")) == 5
    kept = Explanation.load(os.fsdecode(b"new/caf\xe9.explain.npz"))
    assert os.fsencode(kept.source) == b"caf\xe9.png"
    code, out = typed("classify", "--label", "a dog", "--json", "--out", "labels")
    document = json.loads(out)
    assert [os.fsencode(result["image"]) for result in document["results"]] == names[:-1]
    assert [os.fsencode(failed["image"]) for failed in document["failures"]] == names[-1:]
