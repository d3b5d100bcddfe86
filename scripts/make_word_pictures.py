"""Draw the pictures of the pages on words, and measure what they say: the bundled model on held-out scenes.

    python scripts/make_word_pictures.py

The scenes were not picked by eye: they are the easy, the ordinary and the hard one of the gallery (`make_gallery.py`
says how those were found), with their caption of a relation and every foil that they have. The figures are means over
the first captions of held-out scenes of seeds that no picture uses. Writes `docs/assets/words_*.webp`, `words.json`.
"""

import argparse
import json
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from make_task_pictures import scenes
from PIL import Image
from torch import Tensor

import clipsight
from clipsight.attribution.faithfulness import (
    Faithfulness,
    Game,
    deletion_curve,
    insertion_curve,
    plausibility,
    word_game,
)
from clipsight.draw import LEGEND, heat, layout, strip
from clipsight.errors import ClipsightWarning
from clipsight.language.tokens import tokenize
from clipsight.results.words import WordAttribution
from clipsight.results.words_facts import segments
from clipsight.roles.extract import find_words
from clipsight.session.lens import Lens
from clipsight.world import Foil, Scene, make_scenes

SHOWN = ("attention", "gradcam", "perturbation", "gradient", "integrated_gradients", "shapley")
SIDE, ROOM, NAME, MARGIN, GAP = 190, 640, 166, 18, 28
SEED, COUNT, CHECKED = 31, 100, 30
REMOVALS = ("zero_emb", "drop")
STEPS = np.linspace(0, 1, 21)
COLOURS = (
    "#7c858f",
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
    "#b39ddb",
    "#8d6e63",
)
DECIDED = ("replace_obj", "replace_att", "replace_rel")


def block(
    scene: Scene, head: str, rows: Sequence[tuple[str, Sequence[str], WordAttribution]]
) -> layout.Block:
    """A scene beside a row for each attribution: its name, its caption in colour, lines about it."""
    lines = [
        layout.beside(
            fixed(layout.text(name, 14), NAME),
            layout.stack(strip(tuple(segments(w)), 16), layout.text(about, 13, colour=layout.FAINT)),
        )
        for name, about, w in rows
    ]
    picture = layout.picture(heat.fit(scene.image, (SIDE, SIDE)))
    body = layout.beside(picture, layout.stack(*lines, gap=4), gap=GAP)
    return layout.stack(layout.text(head, 15, colour=layout.INK, bold=True), body, gap=8)


def fixed(block: layout.Block, width: int) -> layout.Block:
    """A block in a column of its own."""
    return lambda _: layout.wider(block(width), width)


def sheet(blocks: Sequence[layout.Block], said: str) -> Image.Image:
    """Blocks beneath each other under a headline, a legend at the foot."""
    words = (
        f"Orange raises the score, blue lowers it; full colour is the strongest word of each line. {LEGEND}."
    )
    whole = layout.stack(
        layout.text(said, 18, colour=layout.INK, bold=True),
        *blocks,
        layout.text(words, 13, colour=layout.FAINT),
        gap=18,
    )
    return layout.page(whole, SIDE + GAP + NAME + ROOM + 2 * MARGIN, MARGIN)


def methods(lens: Lens, everything: dict[str, Scene]) -> Image.Image:
    """The caption of a relation of three scenes, by several methods."""
    blocks = []
    for name, scene in everything.items():
        seen, caption = lens.see(scene.image), related(scene)
        rows = [(method, (), seen.words(caption, method)) for method in SHOWN]
        blocks.append(block(scene, f"{name}, similarity {rows[0][-1].similarity:.2f}", rows))
    return sheet(blocks, "One caption, several methods")


def related(scene: Scene) -> str:
    """The first caption that names a relation, else the first."""
    told = [one.text for one in scene.captions if any(role == "relation" for *_, role in one.spans)]
    return (told or [scene.captions[0].text])[0]


def foils(lens: Lens, scene: Scene) -> Image.Image:
    """Every foil of a scene: which words tell the caption from it?"""
    seen, rows = lens.see(scene.image), []
    for foil in scene.foils:
        w = seen.words(foil.caption, "perturbation", foil.foil)
        wins = "the caption wins" if w.similarity > w.against_similarity[0] else "the foil wins"
        only = " ".join(f"{one.text} {one.score:+.3f}" for one in w.against_words[0])
        numbers = f"{w.similarity:.3f} to {w.against_similarity[0]:.3f}, {wins}"
        about = (f"against “{foil.foil}”", numbers + (f"; of the foil alone: {only}" if only else ""))
        rows.append((foil.kind, about, w))
    return sheet(
        [block(scene, "every foil of this scene", rows)],
        "Which words tell a caption from its foil",
    )


def example(lens: Lens, scene: Scene) -> Image.Image:
    """The sheet that `attribution.grid()` gives."""
    w = lens.words(scene.image, related(scene), "perturbation", check=True)
    picture = replace(w, source="scene.png").grid()
    return picture.resize((1080, round(picture.height * 1080 / picture.width)), Image.Resampling.LANCZOS)


def measured(lens: Lens) -> tuple[dict[str, list[dict[str, object]]], dict[str, list[np.ndarray]]]:
    """Figures for `words.json`, and the curves of each method with removal "drop"."""
    kept: dict[str, dict[str, list[Faithfulness]]] = {removal: defaultdict(list) for removal in REMOVALS}
    curves: dict[str, list[np.ndarray]] = defaultdict(list)
    for number, scene in enumerate(make_scenes(COUNT, SEED, "heldout")):
        seen, caption = lens.see(scene.image), scene.captions[0].text
        for name, w in asked(seen, caption, number):
            for removal in REMOVALS:
                kept[removal][name].append(seen.faithfulness(w, removal))
            if "as it is" not in kept["drop"][name][-1].measure:
                curves[name].append(both_curves(lens, scene, w))
    tables: dict[str, list[dict[str, object]]] = {}
    for removal, rows in kept.items():
        tables[f"faithfulness_{removal}"] = [row(name, found) for name, found in rows.items()]
    tables["sanity"] = list(sanity(lens))
    rows = list(decisive(lens))
    tables["decisive"] = [each for each in rows if each["asked"] == "the caption alone"]
    tables["contrast"] = [each for each in rows if each["asked"] != "the caption alone"]
    tables["gold_roles"] = gold_roles(lens)
    return tables, curves


def asked(seen: clipsight.Seen, caption: str, number: int) -> Iterator[tuple[str, WordAttribution]]:
    """The caption's words by every method, and drawn at random."""
    for method in clipsight.attributions():
        yield method, seen.words(caption, method)
    w = seen.words(caption)
    draw = torch.rand(len(w), generator=torch.Generator().manual_seed(number)).tolist()
    yield (
        "drawn at random",
        replace(
            w, words=tuple(replace(word, score=score) for word, score in zip(w.words, draw, strict=True))
        ),
    )


def row(name: str, found: Sequence[Faithfulness]) -> dict[str, object]:
    """Means over captions whose similarity is above 0."""
    used = [one for one in found if "as it is" not in one.measure]
    means = {
        key: round(float(np.nanmean([getattr(one, key) for one in used])), 3)
        for key in ("insertion", "deletion", "comprehensiveness", "sufficiency", "leave_one_out")
    }
    gain = round(means["insertion"] - means["deletion"], 3)
    return {"method": name, "insertion - deletion": gain, **means, "captions": len(used)}


def both_curves(lens: Lens, scene: Scene, w: WordAttribution) -> np.ndarray:
    """Deletion and insertion at common steps, (2, steps)."""
    game = game_of(lens, scene, w)
    found = []
    for curve in (deletion_curve(w.scores, game), insertion_curve(w.scores, game)):
        found.append(np.interp(STEPS, np.linspace(0, 1, len(curve)), curve.numpy()))
    return np.stack(found)


def game_of(lens: Lens, scene: Scene, w: WordAttribution) -> Game:
    """The game that `lens.faithfulness` plays, dropping words."""
    engine = lens._engine
    ids = tokenize(engine.loaded.tokenizer, [w.caption], engine.text_view.context)
    feature: Tensor = lens.encode_image(lens.preprocess(scene.image))[0].float()
    return word_game(engine.text_view, ids, feature, [word.tokens for word in w.words], removal="drop")


def sanity(lens: Lens) -> Iterator[dict[str, object]]:
    """Rank correlation with random towers and agreement with a second method, per method."""
    several = list(make_scenes(CHECKED, SEED + 1, "heldout"))
    for method in clipsight.attributions():
        found = [lens.words(one.image, one.captions[0].text, method, check=True).checks for one in several]
        names = list(found[0])
        yield {
            "method": method,
            "random towers, mean": round(float(np.nanmean([one[names[0]] for one in found])), 3),
            "captions above 0.5": f"{np.mean([one[names[0]] > 0.5 for one in found]):.0%}",
            "tau with leaving one out": round(float(np.nanmean([one[names[1]] for one in found])), 3),
        }


def decisive(lens: Lens) -> Iterator[dict[str, object]]:
    """How well scores find the words that a caption has and its foil has not, asked without and with the foil."""
    pairs = [(lens.see(scene.image), foil, new) for scene, foil, new in deciding()]
    for against in (False, True):
        for method in clipsight.attributions():
            found = defaultdict(list)
            for seen, foil, new in pairs:
                w = seen.words(foil.caption, method, foil.foil if against else None, roles=None)
                found[foil.kind].append(plausibility(w.scores, new).auprc)
            asked = "against the foil" if against else "the caption alone"
            yield {"method": method, "asked": asked, **by_kind(found)}
        shares = defaultdict(list)
        for _, foil, new in pairs:
            shares[foil.kind].append(float(new.float().mean()))
        yield {
            "method": "chance",
            "asked": "against the foil" if against else "the caption alone",
            **by_kind(shares),
        }


GROUPS = {
    "objects": ("object",),
    "attributes": ("attribute",),
    "relations": ("relation",),
    "any of the three": ("object", "attribute", "relation"),
}


def gold_roles(lens: Lens) -> list[dict[str, object]]:
    """How well scores find the words of each gold role of the world, per method, with chance as the last row."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    captions = 0
    for scene in make_scenes(COUNT, SEED + 3, "heldout"):
        caption, seen = max(scene.captions, key=lambda one: len(one.spans)), lens.see(scene.image)
        words = find_words(caption.text)
        role_of = [
            next((role for start, end, role in caption.spans if start <= word.start < end), "")
            for word in words
        ]
        masks = {name: torch.tensor([role in roles for role in role_of]) for name, roles in GROUPS.items()}
        asked = {name: mask for name, mask in masks.items() if mask.any() and not mask.all()}
        captions += 1
        for name, mask in asked.items():
            found["chance"][name].append(float(mask.float().mean()))
        for method in clipsight.attributions():
            scores = seen.words(caption.text, method, roles=None).scores
            for name, mask in asked.items():
                found[method][name].append(plausibility(scores, mask).auprc)
    chance_row = found.pop("chance")
    return [
        {
            "method": method,
            **{name: round(float(np.mean(each[name])), 3) for name in GROUPS},
            "captions": captions,
        }
        for method, each in (*found.items(), ("chance", chance_row))
    ]


def deciding() -> Iterator[tuple[Scene, Foil, Tensor]]:
    """Captions with a foil, and which of their words the foil has not."""
    for scene in make_scenes(COUNT, SEED + 2, "heldout"):
        for foil in scene.foils:
            theirs = {word.text for word in find_words(foil.foil)}
            new = torch.tensor([word.text not in theirs for word in find_words(foil.caption)])
            if foil.kind in DECIDED and new.any() and not new.all():
                yield scene, foil, new


def by_kind(found: dict[str, list[float]]) -> dict[str, object]:
    """The mean of each kind of foil, and how many there were."""
    means = {kind: round(float(np.mean(found[kind])), 3) for kind in DECIDED}
    return {**means, "captions": sum(map(len, found.values()))}


def drawn_curves(curves: dict[str, list[np.ndarray]]) -> Image.Image:
    """Mean curves of every method."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.4, 4.6), dpi=72, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    for side, name in enumerate(("deletion: highest words go first", "insertion: highest words come first")):
        for (method, each), colour in zip(curves.items(), COLOURS, strict=True):
            mean = np.mean(each, axis=0)[side]
            dashed = "--" if method == "drawn at random" else "-"
            axes[side].plot(STEPS, mean, dashed, color=colour, linewidth=2, label=method)
        axes[side].set_title(name, fontsize=14, loc="left")
        axes[side].set_xlabel("share of the words", fontsize=12)
        axes[side].spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share of the similarity", fontsize=12)
    axes[1].legend(fontsize=11, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def main() -> None:
    """Write the pictures and the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs/assets")
    parser.add_argument(
        "--pictures-only", action="store_true", help="leave words.json and the curves as they are"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ClipsightWarning)
    lens, everything = clipsight.load("clipsight-tiny", device="cpu"), scenes()
    drawn = {
        "methods": methods(lens, everything),
        "foils": foils(lens, everything["ordinary"]),
        "sheet": example(lens, everything["ordinary"]),
    }
    if not arguments.pictures_only:
        tables, curves = measured(lens)
        drawn["curves"] = drawn_curves(curves)
        text = json.dumps(tables, indent=1, ensure_ascii=False) + "\n"
        (arguments.out / "words.json").write_text(text, encoding="utf-8")
    for name, picture in drawn.items():
        picture.save(arguments.out / f"words_{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
