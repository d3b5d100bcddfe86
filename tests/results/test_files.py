"""Saving: nothing lost, nothing half-written, nothing of others overwritten, no script smuggled in."""

import base64
import io
import json
import os
import re
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipsight.results import Classification, Explanation, atomic_write
from results.scenes import PROVENANCE, explanation


def odd() -> Explanation:
    """NaN, infinity, duplicates, quotes, NUL, a lone surrogate."""
    ex = explanation(('a "dog"', "кот\x00", "same", "same"), grid=(3, 5))
    maps = ex.maps.clone()
    maps[0, 0, 0], maps[1, 2, 4] = torch.nan, torch.inf
    presence = torch.tensor([0.1, torch.nan, 0.3, 1.0])
    return replace(ex, maps=maps, presence=presence, presence_reason="no vocabulary", source="f\udcff.jpg")


def test_npz_round_trip_loses_nothing(tmp_path: Path) -> None:
    ex = odd()
    path = ex.save(tmp_path / "x.npz")
    back = Explanation.load(path)
    for name in ("texts", "trust", "source", "presence_reason", "provenance"):
        assert getattr(back, name) == getattr(ex, name)
    for name in ("maps", "similarity", "presence"):
        assert getattr(back, name).numpy().tobytes() == getattr(ex, name).numpy().tobytes()
    assert np.array_equal(back.image, ex.image)
    with np.load(path, allow_pickle=False) as archive:
        assert json.loads(str(archive["meta"]))["provenance"]["model"] == "clipsight-tiny"


def test_json_gives_back_each_float32(tmp_path: Path) -> None:
    ex = odd()
    data = json.loads(ex.save(tmp_path / "x.JSON").read_text("utf-8"))
    maps = np.array(data["maps"], dtype=object)
    assert maps[0, 0, 0] is None
    assert maps[1, 2, 4] is None
    finite = torch.isfinite(ex.maps).numpy()
    assert np.array_equal(maps[finite].astype(np.float32), ex.maps.numpy()[finite])
    assert data["presence"] == [0.1, None, 0.3, 1.0]
    assert data["texts"] == list(ex.texts)
    assert "image" not in data
    assert data["provenance"]["settings"] == PROVENANCE.settings
    assert set(data["peaks"][0]) == {"x", "y", "score"}


def test_png_carries_how_it_was_made(tmp_path: Path) -> None:
    ex = explanation(("a dog", "кот", "person"))
    with Image.open(ex.save(tmp_path / "x.png")) as image:
        settings = json.loads(image.info["clipsight"])
        assert image.size == ex.grid().size
    assert settings["texts"] == ["a dog", "кот", "person"]
    assert settings["provenance"]["fingerprint"] == "3f9a12bc"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_html_stands_alone_and_escapes_texts(tmp_path: Path) -> None:
    evil = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "</script><!--", "dog")
    ex = explanation(evil, source="<b>.jpg", trust=evil)
    ex = replace(ex, provenance=replace(ex.provenance, notes=("<i>note</i>",), contrast_texts=("<u>x</u>",)))
    page = ex.save(tmp_path / "x.html").read_text("utf-8")
    reader = _Reader()
    reader.feed(page)
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("script") == 2
    assert not {"i", "u", "b", "link", "iframe"} & set(tags)
    for _, attributes in reader.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    data = json.loads(
        re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[0]
    )
    assert [t["words"] for t in data["texts"]] == list(evil)
    assert np.array_equal(np.array(data["texts"][3]["map"], np.float32), ex["dog"].numpy())
    assert tags.count("meter") == 4


def test_html_policy_names_its_own_script_and_style() -> None:
    page = explanation().to_html()
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0]
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[0]
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]
    for part in (script, style):
        assert base64.b64encode(sha256(part.encode()).digest()).decode() in policy
    assert "default-src 'none'" in policy


def test_html_layer_is_the_overlay_layer() -> None:
    page = explanation(("x",), image=(480, 640)).to_html()
    source = re.findall(r'class="layer" src="data:image/png;base64,([^"]*)"', page)[0]
    layer = Image.open(io.BytesIO(base64.b64decode(source)))
    assert layer.size == (640, 480)
    assert layer.mode == "RGBA"


def test_notebook_display() -> None:
    ex = explanation()
    assert ex._repr_png_().startswith(b"\x89PNG")
    shown = ex._repr_html_()
    assert "data:image/jpeg;base64," in shown
    assert len(shown) < 300_000
    assert "<script" not in shown


@pytest.mark.parametrize("suffix", [".png", ".npz", ".json", ".html"])
def test_an_existing_file_is_kept_unless_asked(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text("mine")
    with pytest.raises(
        FileExistsError, match=r"exists and was kept; choose another name or pass overwrite=True"
    ):
        explanation().save(path)
    assert path.read_text() == "mine"
    explanation().save(str(path), overwrite=True)
    assert path.stat().st_size > 1000
    assert os.listdir(tmp_path) == [path.name]


def test_names_that_cannot_be_written(tmp_path: Path) -> None:
    ex = explanation()
    with pytest.raises(ValueError, match=r"suffix '.jpg'.*\.png, \.npz, \.json, \.html"):
        ex.save(tmp_path / "x.jpg")
    with pytest.raises(ValueError, match="no suffix"):
        ex.save(tmp_path / "x")
    with pytest.raises(FileNotFoundError, match=r"folder '.*nowhere' does not exist"):
        ex.save(tmp_path / "nowhere" / "x.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        ex.save(tmp_path / "folder.png", overwrite=True)
    assert os.listdir(tmp_path) == ["folder.png"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failed_write_leaves_nothing(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "x.bin"
    if overwrite:
        path.write_bytes(b"before")

    def fail_half_way() -> None:
        with atomic_write(path, overwrite=overwrite) as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail_half_way()
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([b"before"] if overwrite else [])


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"

    def race() -> None:
        with atomic_write(path) as file:
            file.write(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(FileExistsError, match="was kept"):
        race()
    assert path.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_without_hard_links_renaming_still_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    with atomic_write(tmp_path / "x.bin") as file:
        file.write(b"whole")
    assert (tmp_path / "x.bin").read_bytes() == b"whole"


@pytest.mark.skipif(os.name == "nt", reason="POSIX file modes")
def test_files_get_the_usual_rights(tmp_path: Path) -> None:
    mine = tmp_path / "plain"
    mine.write_bytes(b"")
    with atomic_write(tmp_path / "x.bin") as file:
        file.write(b"x")
    assert (tmp_path / "x.bin").stat().st_mode == mine.stat().st_mode


def test_files_that_are_no_result_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Explanation.load(tmp_path / "none.npz")
    text = tmp_path / "text.npz"
    text.write_text("hello")
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, a=np.zeros(3))
    whole = explanation().save(tmp_path / "whole.npz")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole.read_bytes()[:-300])
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, meta=np.array([{}], dtype=object))
    for path in (text, foreign, cut, pickled):
        with pytest.raises(ValueError, match=f"{path.name}.*is not a complete clipsight result"):
            Explanation.load(path)
    newer = tmp_path / "newer.npz"
    with np.load(whole) as archive:
        parts = dict(archive)
    parts["meta"] = np.array(json.dumps(json.loads(str(parts["meta"])) | {"format": 99}))
    np.savez(newer, **parts)
    with pytest.raises(ValueError, match="format 99"):
        Explanation.load(newer)


def test_classification_saves_json_and_a_sheet(tmp_path: Path) -> None:
    c = Classification(
        labels=("a", "b"),
        probabilities=torch.tensor([0.25, 0.75]),
        similarity=torch.tensor([0.1, 0.3]),
        source="",
        provenance=PROVENANCE,
    )
    assert json.loads(c.save(tmp_path / "c.json").read_text())["labels"] == ["a", "b"]
    with pytest.raises(ValueError, match=r"one of \.png, \.json"):
        c.save(tmp_path / "c.csv")
