"""Every result shows itself: one line, verdicts in a terminal, a sheet in a file and in a notebook, all alike."""

import io
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from clipsight.results import Anomaly, Classification, Points, Segmentation, Tags
from results.scenes import PROVENANCE, explanation
from results.test_words import words

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
EVIL = "<script>alert(1)</script> \x1b[31m"
LONG = replace(PROVENANCE, contrast_texts=tuple(f"name{k}" for k in range(184)))


def classification(labels=("cat", EVIL, "car")) -> Classification:
    values = torch.tensor([0.7, 0.2, 0.1])
    return Classification(
        labels=labels, probabilities=values, similarity=values, source="x.jpg", image=PICTURE, provenance=LONG
    )


def tags(labels=("cat", EVIL, "car")) -> Tags:
    values = torch.tensor([0.95, 0.5, 0.01])
    return Tags(
        labels=labels, scores=values, similarity=values, presence=values, presence_reason="", source="x.jpg",
        image=PICTURE, provenance=LONG,
    )  # fmt: skip


def anomaly() -> Anomaly:
    return Anomaly(
        image=PICTURE, name=EVIL, map=torch.rand(112, 112), score=0.51, view_scores=torch.tensor([0.51]),
        views=("whole",), temperature=None, normal=("{}",), abnormal=("broken {}",), source="x.jpg", provenance=LONG,
    )  # fmt: skip


def segmentation() -> Segmentation:
    labels = torch.zeros(60, 80, dtype=torch.int32)
    labels[:, 40:] = 1
    return Segmentation(
        image=PICTURE, classes=("cat", EVIL), words=(("cat",), (EVIL,)), background=False, labels=labels,
        probability=torch.rand(60, 80), scores=torch.tensor([0.6, 0.5]), areas=torch.tensor([0.5, 0.5]),
        source="x.jpg", provenance=LONG,
    )  # fmt: skip


MADE = {
    "explanation": lambda: replace(explanation((EVIL, "dog")), provenance=replace(LONG, grid=(14, 14))),
    "classification": classification,
    "tags": tags,
    "anomaly": anomaly,
    "segmentation": segmentation,
    "words": lambda: words(f"a red car and {EVIL}"),
}
each = pytest.mark.parametrize("make", MADE.values(), ids=MADE)


class Tagged(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.sources = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]


@each
def test_one_line_says_what_was_asked_by_what_and_dumps_nothing(make):
    shown = repr(make())
    assert "clipsight-tiny" in shown
    assert len(shown) < 260
    assert "\n" not in shown
    assert "name77" not in shown


@each
def test_a_sheet_is_labelled_and_of_one_style(make):
    sheet = make().grid()
    pixels = np.asarray(sheet)
    assert sheet.mode == "RGB"
    assert 600 < sheet.width <= 1484
    assert pixels[:30].min() == pixels[:, :30].min() == pixels[:, -30:].min() == 255  # the margin
    assert (pixels == (0x16, 0x19, 0x1D)).all(-1).sum() > 20  # words in ink
    assert (pixels == (0xD5, 0xD9, 0xDE)).all(-1).sum() >= sheet.width - 100  # the line above the foot


@each
def test_a_notebook_gets_it_escaped_whole_and_small(make):
    shown = make()._repr_html_()
    found = Tagged(shown)
    assert not {"script", "link", "iframe"} & set(found.tags)
    assert all(source.startswith("data:image/") for source in found.sources)
    assert len(shown) < 400_000
    assert "name77" not in shown
    assert make()._repr_png_().startswith(b"\x89PNG")


@each
def test_a_program_that_is_no_terminal_gets_the_verdicts(make, capsys, monkeypatch):
    monkeypatch.setattr(Image.Image, "show", lambda self: pytest.fail("a viewer was opened"))
    made = make()
    made.show()
    out = capsys.readouterr().out
    assert [line.rstrip() for line in out.splitlines()] == [line.rstrip() for line in made.lines()]
    assert "\x1b" not in out


def test_a_terminal_with_a_screen_opens_the_sheet_and_a_notebook_displays(monkeypatch):
    opened, displayed = [], []
    monkeypatch.setattr(Image.Image, "show", lambda self: opened.append(self.size))
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    made = tags()
    made.show()
    assert opened == [made.grid().size]
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=displayed.append))
    made.show()
    assert displayed == [made]
    assert len(opened) == 1


def test_the_picture_keeps_its_shape_beside_bars():
    wide = np.asarray(replace(tags(), image=np.zeros((60, 180, 3), np.uint8)).grid())
    black = np.argwhere((wide == 0).all(-1))
    height, width = np.ptp(black, axis=0) + 1
    assert width / height == pytest.approx(3, rel=0.02)
    assert height <= 400


def test_results_without_their_picture_still_have_a_sheet():
    for made in (classification(), tags()):
        assert replace(made, image=None).grid().height > 100


def test_bars_are_as_long_as_their_values(tmp_path):
    made = classification()
    pixels = np.asarray(Image.open(made.save(tmp_path / "c.png")))
    blue = (pixels == (0, 0x72, 0xB2)).all(-1)
    lengths = sorted({int(row.sum()) for row in blue if row.any()}, reverse=True)
    assert [round(one / lengths[0], 2) for one in lengths] == [
        1,
        pytest.approx(2 / 7, abs=0.01),
        pytest.approx(1 / 7, abs=0.01),
    ]


def test_points_lie_on_their_sheet_where_they_are():
    xy = np.array([[20, 15], [70, 50]])
    points = Points(text="dog", xy=xy, labels=np.array([1, 0]), image=PICTURE, source="x.jpg")
    assert repr(points) == "Points('dog': 1 on it, 1 off it)"
    plain = np.asarray(replace(points, xy=xy[:0], labels=points.labels[:0]).grid()).astype(int)
    sheet = np.asarray(points.grid()).astype(int)
    assert "no clear peak" in repr(replace(points, xy=xy[:0], labels=points.labels[:0]))
    left = 40 + (sheet.shape[1] - 80 - 28) // 2 + 28
    blue = np.argwhere((sheet[:, left:] == (0, 0x72, 0xB2)).all(-1)).mean(0)
    orange = np.argwhere((sheet[:, left:] == (0xD5, 0x5E, 0)).all(-1)).mean(0)
    zoom = (sheet.shape[1] - left - 40) / 80
    assert (orange - blue)[::-1] / zoom == pytest.approx([50, 35], abs=1)
    assert sheet.shape[1] == plain.shape[1]
    with pytest.raises(ValueError, match="without their picture"):
        replace(points, image=None).grid()
