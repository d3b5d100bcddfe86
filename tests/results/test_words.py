"""Word attributions: sums, files, and drawings that say the same with and without colour."""

import base64
import io
import json
import re
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from clipsight.draw import LOWERS, RAISES
from clipsight.results.pages import OPACITY
from clipsight.results.words import WordAttribution, WordScore
from clipsight.results.words_facts import figures, segments
from results.scenes import PROVENANCE

CAPTION = "a red car, left of a big dog"
ROLES = {
    "red": "attribute",
    "car": "object",
    "left": "relation",
    "of": "relation",
    "big": "attribute",
    "dog": "object",
}
SCORES = {"a": 0.01, "red": -0.02, "car": 0.08, "left": 0.0, "of": 0.005, "big": 0.03, "dog": 0.06}


def words(caption=CAPTION, *, dropped="", **fields) -> WordAttribution:
    """Each word of a caption is one token; start and end have scores of their own."""
    seen = len(caption.rstrip()) - len(dropped) if dropped else len(caption)
    found = [(m.group(), *m.span()) for m in re.finditer(r"\w+|[^\w\s]+", caption) if m.start() < seen]
    parts, scores = [], [0.4]
    for position, (text, start, end) in enumerate(found, 1):
        role = ROLES.get(text, "other") if text[0].isalnum() else ""
        score = SCORES.get(text, -0.005)
        parts.append(WordScore(text=text, start=start, end=end, score=score, role=role, tokens=(position,)))
        scores.append(score)
    made = {
        "image": np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8),
        "caption": caption,
        "tokens": ("<start>", *(text for text, *_ in found), "<end>"),
        "places": (None, *((start, end) for _, start, end in found), None),
        "kinds": ("start", *["text"] * len(found), "end"),
        "token_scores": torch.tensor([*scores, 0.05]),
        "words": tuple(part for part in parts if part.role),
        "marks": tuple(part for part in parts if not part.role),
        "dropped": dropped,
        "similarity": 0.283,
        "unit": "cosine lost without the word",
        "roles_by": "rules 1",
        "trust": ("Leave one out.",),
        "source": "dog.jpg",
        "provenance": replace(
            PROVENANCE, method="perturbation", settings={"op": "zero_emb"}, contrast="none"
        ),
    }
    return WordAttribution(**made | fields)


ODD = "<script>alert(1)</script> & “狗” 🐶 $x$ \x1b[31m red\u202e"


def test_words_marks_start_and_end_have_what_the_tokens_have():
    w = words()
    parts = sum(one.score for one in (*w.words, *w.marks))
    assert parts + w.start_score + w.end_score == pytest.approx(float(w.token_scores.sum()))
    assert len(w) == len(w.scores) == len(w.roles) == 8
    assert [mark.text for mark in w.marks] == [","]
    assert w["dog"].score == 0.06
    assert w[","].start == 9
    with pytest.raises(KeyError, match="left"):
        w["cat"]


def test_what_roles_have_together():
    w = words()
    found = w.by_role["object"]
    assert (found.count, found.sum, found.mean, found.share) == pytest.approx((2, 0.14, 0.07, 0.14 / 0.22))
    assert w.by_role["other"].count == 3  # the comma too
    assert sum(found.share for found in w.by_role.values()) == pytest.approx(1)
    assert w.gap == pytest.approx(0.07 / (0.015 / 4))
    assert words(roles_by="").by_role == {}


def test_the_gap_of_the_reference_note():
    """Scores 0.40, 0.10, 0.30, 0.20 of object, composition, object, composition: means 0.35 and 0.15."""
    texts, roles = ("car", "red", "dog", "of"), ("object", "attribute", "object", "relation")
    parts, at = [], 0
    for text, role, score in zip(texts, roles, (0.4, 0.1, 0.3, 0.2), strict=True):
        parts.append(WordScore(text=text, start=at, end=at + len(text), score=score, role=role))
        at += len(text) + 1
    w = words(" ".join(texts), words=tuple(parts), marks=())
    assert w.gap == pytest.approx(0.35 / 0.15)
    assert w.by_role["relation"].share + w.by_role["attribute"].share == pytest.approx(0.3)


@pytest.mark.parametrize("role", ["object", "attribute"])
def test_there_is_no_gap_where_a_side_has_nothing(role):
    w = words()
    kept = tuple(word for word in w.words if word.role == role)
    assert np.isnan(words(words=kept).gap)
    negative = tuple(replace(word, score=-abs(word.score) - 0.01) for word in w.words)
    assert np.isnan(words(words=negative).gap)


def test_top_words_come_highest_first_and_nan_not_at_all():
    w = words()
    assert [word.text for word in w.top(3)] == ["car", "dog", "big"]
    assert w.top(0) == []
    broken = tuple(replace(word, score=float("nan")) for word in w.words[:7]) + w.words[7:]
    assert [word.text for word in words(words=broken).top()] == ["dog"]


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"tokens": ("a",)}, "tokens, places, kinds"),
        ({"token_scores": torch.zeros(11, dtype=torch.float64)}, r"\.float\(\)"),
        ({"kinds": ("start", *["word"] * 9, "end")}, "'word'"),
        ({"words": (WordScore(text="cat", start=0, end=3, score=1.0),)}, "as given"),
        ({"words": (WordScore(text="", start=0, end=0, score=1.0),)}, "as given"),
        ({"spans": (WordScore(text="a", start=0, end=1, score=1.0, role="verb"),)}, "'verb'"),
        ({"against": ("a foil",)}, "each has one"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, hint):
    with pytest.raises(ValueError, match=hint):
        words(**fields)


def rich_one() -> WordAttribution:
    """Everything at once: odd characters, a cut, foils, spans, checks, NaN."""
    caption = f"{ODD} dog and the end"
    return words(
        caption,
        dropped="the end",
        spans=(
            WordScore(
                text="dog and", start=caption.index("dog and"), end=caption.index("dog and") + 7, score=0.07
            ),
        ),
        against=("a <b>cat</b>", "mat"),
        against_similarity=(0.21, float("nan")),
        against_words=((WordScore(text="cat", start=5, end=8, score=-0.01, tokens=(2,)),), ()),
        checks={"rank correlation with random towers": 0.1, "agreement": float("nan")},
        similarity=float("nan"),
    )


@pytest.mark.parametrize("suffix", ["npz", "json"])
@pytest.mark.parametrize("make", [words, rich_one])
def test_files_give_back_everything(tmp_path, make, suffix):
    w = make()
    back = WordAttribution.load(w.save(tmp_path / f"w.{suffix}"))
    assert back.to_dict() == w.to_dict()
    assert torch.equal(back.token_scores, w.token_scores)
    assert back.words == w.words
    if suffix == "npz":
        assert np.array_equal(back.image, w.image)
    else:
        assert back.image is None
    assert WordAttribution.load(replace(w, image=None).save(tmp_path / "none.npz")).image is None


def test_json_is_plain_and_says_what_matters(tmp_path):
    data = json.loads(rich_one().save(tmp_path / "w.json").read_text("utf-8"))
    assert data["kind"] == "words"
    assert data["similarity"] is None
    assert data["words"][-1] == {
        "text": "and", "start": data["caption"].index("and"), "end": data["caption"].index("and") + 3,
        "score": -0.005, "role": "other", "tokens": [len(data["tokens"]) - 2],
    }  # fmt: skip
    assert data["start_score"] == pytest.approx(0.4)
    assert set(data["by_role"]) == {"object", "attribute", "relation", "other"}
    assert data["against_words"][0][0]["text"] == "cat"
    assert "image" not in data


def test_files_are_kept_and_others_refused(tmp_path):
    w, path = words(), tmp_path / "w.json"
    w.save(path)
    with pytest.raises(FileExistsError, match="overwrite"):
        w.save(path)
    w.save(path, overwrite=True)
    with pytest.raises(ValueError, match=r"\.png, \.npz, \.json, \.html"):
        w.save(tmp_path / "w.txt")
    path.write_text('{"kind": "explanation", "format": 1}')
    with pytest.raises(ValueError, match="'explanation', not 'words'"):
        WordAttribution.load(path)
    path.write_text('{"kind": "words", "format": 1}')
    with pytest.raises(ValueError, match="missing"):
        WordAttribution.load(path)
    path.write_text('{"kind": "words", "format": 99}')
    with pytest.raises(ValueError, match="upgrade"):
        WordAttribution.load(path)
    path.write_text("not JSON")
    with pytest.raises(ValueError, match="not JSON"):
        WordAttribution.load(path)
    assert not list(tmp_path.glob(".*"))


class Reader(HTMLParser):
    """Collects what a browser would see and fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("make", [words, rich_one])
def test_the_page_is_whole_and_runs_nothing(make):
    w = make()
    page = w.to_html()
    seen = Reader(page)
    assert "script" not in seen.tags
    assert not {name for name, _ in seen.attributes} & {"style", "onclick", "onerror", "href"}
    assert all(
        value.startswith("data:image/jpeg;base64,") for name, value in seen.attributes if name == "src"
    )
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page
    classes = {name for value in (v for n, v in seen.attributes if n == "class") for name in value.split()}
    grounds = {name for name in classes if re.fullmatch(r"[gb]\d+", name)}
    assert len(grounds) >= 2 * len(w.words)
    assert all(f".{name}{{" in style for name in grounds)
    for one in (*w.words, *w.spans):
        assert one.text.strip("\u202e") in seen.text
    if w.dropped:
        assert w.dropped in seen.text
        assert "<b>cat" not in page


def test_the_notebook_form_is_inline_and_escaped():
    shown = rich_one()._repr_html_()
    seen = Reader(shown)
    assert not {"script", "style", "link"} & set(seen.tags)
    assert any(name == "style" and "background:rgba(213,94,0" in value for name, value in seen.attributes)
    assert "alert(1)" in seen.text


@pytest.mark.parametrize("colour", [RAISES, LOWERS])
@pytest.mark.parametrize(("paper", "ink"), [((255, 255, 255), (22, 25, 29)), ((20, 23, 27), (236, 239, 243))])
def test_words_are_readable_at_full_colour_on_light_and_dark_paper(colour, paper, ink):
    ground = [OPACITY * c + (1 - OPACITY) * p for c, p in zip(colour, paper, strict=True)]

    def luminance(rgb):
        linear = [c / 3294.6 if c <= 10.3 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(ground), luminance(ink)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_plain_text_marks_roles_signs_and_what_is_not_seen():
    text = str(words(f"{CAPTION} and more words", dropped="more words"))
    lines = text.splitlines()
    assert "a ‹red› car, «left of» a ‹big› dog and [not seen: more words]" in lines[2]
    row = {line.split()[0]: line for line in lines[4:12]}
    assert row["red"].split() == ["red", "attribute", "−0.0200", "▒" * 6]
    assert row["car"].split()[:3] == ["car", "object", "+0.0800"]
    assert row["car"].count("█") == 24
    assert "█" not in row["left"] + row["red"]
    assert any(line.split()[:3] == ["(start", "token)", "+0.4000"] for line in lines)
    assert lines[-2].strip() == "not seen, beyond the model's context: more words"
    assert lines[-1].strip() == "Leave one out."
    assert "\x1b" not in str(rich_one())


def printed(w: WordAttribution, **settings) -> str:
    out = io.StringIO()
    Console(file=out, width=200, highlight=False, **settings).print(w)
    return out.getvalue()


def test_a_terminal_shows_colours_with_their_own_ink_and_underlines_objects(monkeypatch):
    monkeypatch.delenv("NO_COLOR")
    shown = printed(words(), force_terminal=True, color_system="truecolor")
    car = re.search(r"\x1b\[([\d;]*)mcar\x1b", shown)[1].split(";")
    assert car[0] == "4"  # underlined
    assert {"38", "48"} <= set(car)  # ink and ground
    red = re.search(r"\x1b\[([\d;]*)mred\x1b", shown)[1]
    assert "4" not in red.split(";")[:1]
    ground = [int(part) for part in red.split("48;2;")[1].split(";")]
    assert ground[2] > ground[0]  # blue: it lowers the match


def test_without_colour_the_same_is_said():
    plain = re.sub(r"\x1b\[[\d;]*m", "", printed(words(), force_terminal=True, color_system=None))
    assert [line.rstrip() for line in plain.splitlines()] == str(words()).splitlines()


def test_segments_are_the_whole_caption():
    for w in (words(), rich_one()):
        assert "".join(one.text for one in segments(w)) == w.caption


def test_numbers_line_up():
    assert figures(0.4, 0.0561) == "0.4000"
    assert figures(-0.00001, 0.0561) == "0.0000"
    assert figures(-12.345, 40.0) == "−12.3"
    assert figures(float("nan"), 1.0) == "NaN"
    assert figures(0.0, 0.0) == "0.000"


@pytest.mark.parametrize(
    "w",
    [
        words(),
        rich_one(),
        words("dog", image=None),
        words("a big red dog left of a car, " * 12, image=np.zeros((400, 30, 3), np.uint8)),
        words("hyperparameterization" * 12, image=np.zeros((30, 900, 3), np.uint8)),
        words(words=(), marks=(), caption="?", token_scores=torch.full((3,), torch.nan)),
    ],
    ids=["plain", "odd", "one", "long", "wide word", "nothing"],
)
def test_sheets_of_every_kind(w, tmp_path):
    path = w.save(tmp_path / "w.png")
    with Image.open(path) as picture:
        assert picture.mode == "RGB"
        assert picture.width == 1440
        assert picture.height < 1800
        assert json.loads(picture.text["clipsight"])["caption"] == w.caption
        assert np.asarray(picture)[:, -20:].min() == 255  # nothing runs over the edge


def test_colour_of_a_sheet_is_the_sign():
    def amount(w, colour):
        pixels = np.asarray(w.figure()).reshape(-1, 3)
        return int((pixels == colour).all(-1).sum())

    up = words("dog car", image=None)
    down = words("red red", image=None)
    assert amount(up, RAISES) > 1000
    assert amount(up, LOWERS) == 0
    assert amount(down, LOWERS) > 1000
    assert amount(down, RAISES) == 0


def test_repr_names_the_highest_words():
    assert repr(words()) == (
        "WordAttribution('car' 0.08, 'dog' 0.06, 'big' 0.03; perturbation on clipsight-tiny)"
    )
