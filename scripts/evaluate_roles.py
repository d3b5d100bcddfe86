"""Measure the role extractors on hand-made labels and on the gold of other people's files.

    python scripts/evaluate_roles.py --shared ../shared              # all but the test half
    python scripts/evaluate_roles.py --shared ../shared --test --write

Every other caption of `aro` was read while the rules were written, and all of `vl_checklist`; `aro_unread` are the
rest. The labels of `tests/data/roles` need the captions of the shared photo set, the others the shared annotation
files. The test half is for the end: only its totals are printed, and without `--test` its last figures stay in the
file. How gold is read from the files is in `role_gold.py`.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from role_gold import Gold, aro, labelled, vl_checklist, world

from clipsight.roles.extract import ROLES, CaptionRoles, extract_roles

ROOT = Path(__file__).parent.parent
ASSET = ROOT / "docs" / "assets" / "roles.json"
EXTRACTORS = ("rules", "textblob")
AIMS = {"object": 0.90, "attribute": 0.85, "relation": 0.85}
Score = dict[str, float]


def score(right: int, found: int, wanted: int) -> Score:
    precision, recall = right / max(found, 1), right / max(wanted, 1)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "gold": wanted}


def of_roles(golds: Sequence[Gold], answers: Sequence[CaptionRoles]) -> dict[str, Score]:
    """By role, over the words whose role is known."""
    pairs = [
        (role, answer.roles[i])
        for gold, answer in zip(golds, answers, strict=True)
        for i, role in gold.roles.items()
    ]
    return {
        role: score(
            sum(a == b == role for a, b in pairs),
            sum(b == role for _, b in pairs),
            sum(a == role for a, _ in pairs),
        )
        for role in ROLES[:3]
    }


def of_sets(wanted: Iterable[set[Any]], found: Iterable[set[Any]]) -> Score:
    right = given = gold = 0
    for one, other in zip(wanted, found, strict=True):
        right, given, gold = right + len(one & other), given + len(other), gold + len(one)
    return score(right, given, gold)


def evaluate(golds: Sequence[Gold], answers: Sequence[CaptionRoles]) -> dict[str, Score]:
    """Roles, links of the attributes whose link is known, relations of the captions whose relations are known."""
    figures = of_roles(golds, answers)
    linked = [(g, a) for g, a in zip(golds, answers, strict=True) if g.links is not None]
    related = [(g, a) for g, a in zip(golds, answers, strict=True) if g.triples is not None]
    if linked:
        known = [{i for i, role in g.roles.items() if role != "object"} for g, _ in linked]
        found = [
            {link for link in a.links if link[0] in words}
            for words, (_, a) in zip(known, linked, strict=True)
        ]
        figures["links"] = of_sets([g.links or set() for g, _ in linked], found)
    if related:
        found = [{(r.subject, r.words, r.object) for r in a.relations} for _, a in related]
        figures["triples"] = of_sets([g.triples or set() for g, _ in related], found)
    return figures


def captions_a_second(extractor: str, captions: Sequence[str]) -> float:
    extract_roles(captions[0], extractor)
    start = time.perf_counter()
    for caption in captions:
        extract_roles(caption, extractor)
    return len(captions) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--extractors", nargs="+", default=EXTRACTORS)
    parser.add_argument("--test", action="store_true", help="the untouched half too; only totals are shown")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {ASSET.relative_to(ROOT)}")
    args = parser.parse_args()
    index = json.loads((args.shared / "realset" / "index.json").read_text(encoding="utf-8"))
    captions = {image["id"]: image["captions"] for image in index["images"]}
    labels, notes = ROOT / "tests" / "data" / "roles", args.shared / "annotations"
    halves = ("dev", "test") if args.test else ("dev",)
    sets: dict[str, Callable[[], Sequence[Gold]]] = {
        **{half: lambda half=half: labelled(labels / f"{half}.json", captions) for half in halves},
        "vl_checklist": lambda: list(vl_checklist(notes / "vl_checklist")),
        "aro": lambda: aro(notes / "aro" / "valid_neg_clip.tsv"),
        "aro_unread": lambda: aro(notes / "aro" / "valid_neg_clip.tsv")[1::2],
        "world": lambda: world(200, 101),
    }
    versions = {extractor: extract_roles("a dog", extractor).version for extractor in args.extractors}
    rows: dict[str, Any] = {}
    for name, read in sets.items():
        golds = read()
        rows[name] = {"captions": len(golds)}
        for extractor in args.extractors:
            answers = [extract_roles(gold.caption, extractor) for gold in golds]
            rows[name][extractor] = {"version": versions[extractor], **evaluate(golds, answers)}
            show(name, extractor, evaluate(golds, answers))
    every = [caption for several in captions.values() for caption in several]
    speed = {extractor: round(captions_a_second(extractor, every)) for extractor in args.extractors}
    print(f"captions a second: {speed}; versions: {versions}")
    if args.write:
        kept = json.loads(ASSET.read_text(encoding="utf-8"))["sets"] if ASSET.is_file() else {}
        record = {"aims": AIMS, "sets": kept | rows, "captions_a_second": speed}
        ASSET.write_text(json.dumps(rounded(record), indent=1) + "\n", encoding="utf-8")


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def show(name: str, extractor: str, figures: dict[str, Score]) -> None:
    cells = (
        f"{what} {s['f1']:.3f} ({s['precision']:.2f}/{s['recall']:.2f}, {s['gold']:.0f})"
        for what, s in figures.items()
    )
    print(f"{name:13}{extractor:10}" + "   ".join(cells), flush=True)


if __name__ == "__main__":
    main()
