"""Tables, plots and a verdict on the fine-tuning experiment, from its committed rows.

    python scripts/tune_report.py                                # print the tables, draw into docs/assets
    python scripts/tune_report.py --page docs/tune_measured.md   # and put the tables into the page

In the page each table takes the place of what stands between `<!-- tune NAME -->` and `<!-- /tune -->`; a page that is
not there is made of all of them. NAME is verdict, foils, gamma, besides, delta or wise.

`benchmarks/tune/rows.jsonl` has an object a line for each finished run: `arm`, `seed`, `settings` (with `variant`
where CAE trained one), `device`, `train_seconds`, `versions`, and `figures` as `tune_measures.measure` gives them. Arms
are those of `tune_rows.ARMS`; others are shown by their own name, and what is missing is said to be missing.
`benchmarks/tune/wise.json` is `clipsight.tune`'s `Sweep.to_dict()` with figures as scores: `rows`, of which each has
`alpha`, then `chosen` and `why`.

A value is the mean over seeds ± the standard deviation between them. Beside it stand differences from FT with the
95 % interval of Welch's t: what seeds of two arms share is not assumed. γ is compared by its logarithm, as a ratio;
in its tables a change in brackets is one that seeds may explain, and bold is what the arm was trained on.
"""

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from tune_figures import draw
from tune_rows import KINDS, Change, Row, against, arms_of, read, title_of, trained_on, values

from clipsight.bench.word_gap import SETUPS
from clipsight.bench.word_gap.behaviour import REPLACED

ROOT = Path(__file__).parents[1]
ROWS, WISE = (ROOT / "benchmarks" / "tune" / name for name in ("rows.jsonl", "wise.json"))
ASSETS = ROOT / "docs" / "assets"

LOWER, LOST = 0.2, 0.01
"""What the expectation asks for: γ lower by so much, noun top-1 not lower by more than that."""


class Claim(NamedTuple):
    """What was expected of an arm: whether it came (None: cannot be said), and the figure."""

    arm: str
    expected: str
    met: bool | None
    figure: str


def verdict(rows: Sequence[Row]) -> list[Claim]:
    """Every expectation of every arm, checked. FT is the base; of hard negatives with CAE hard negatives alone."""
    claims: list[Claim] = []
    arms = [arm for arm in arms_of(rows) if arm.startswith("cae-") or arm in ("control", "hn-cae")]
    for arm in arms:
        base = "ft-hn" if arm == "hn-cae" else "ft"
        made = [
            _gap_claim(rows, arm, base),
            _foil_claim(rows, arm, base, "relation", "replace_rel"),
            _foil_claim(rows, arm, base, "attribute", "replace_att"),
        ]
        if arm == "control":
            known = [claim.met for claim in made if claim.met is not None]
            met = None if len(known) < len(made) else not any(known)
            said = "; ".join(claim.figure for claim in made)
            claims.append(Claim(arm, "does none of the three", met, said))
            continue
        kept = against(rows, arm, "noun_top1", base)
        met = kept.value >= -LOST - 1e-9 if isfinite(kept.value) else None
        claims += [*made, Claim(arm, f"noun top-1 within 1 point of {title_of(base)}", met, points(kept))]
    return claims


def _gap_claim(rows: Sequence[Row], arm: str, base: str) -> Claim:
    """γ under setups not trained on; one of many may fall by chance, which Bonferroni's correction counts."""
    expected = f"γ at least {100 * LOWER:g} % below {title_of(base)} under an attribution not trained on"
    # Training on shuffled roles should lower γ nowhere, not even under its own attribution.
    known = frozenset() if arm == "control" else trained_on(rows, arm)
    others = [name for name in SETUPS if name not in known]
    changes = {name: against(rows, arm, f"gamma.{name}.composition", base) for name in others}
    changes = {name: one for name, one in changes.items() if isfinite(one.high)}
    if not changes:
        return Claim(arm, expected, None, "not two runs of each")
    lower = [
        name
        for name, one in changes.items()
        if one.value <= -LOWER and _chance(rows, arm, base, name) * len(changes) < 0.05
    ]
    best = min(changes, key=lambda name: changes[name].value)
    middle = float(np.median([one.value for one in changes.values()]))
    figure = (
        f"{len(lower)} of {len(changes)}; median {_percent(middle)}, lowest {best} {percents(changes[best])}"
    )
    return Claim(arm, expected, bool(lower), figure)


def _chance(rows: Sequence[Row], arm: str, base: str, setup: str) -> float:
    """How probable such a difference of log γ is when there is none, by Welch's t."""
    first, second = (np.log(values(rows, one, f"gamma.{setup}.composition")) for one in (arm, base))
    if not np.ptp(first) and not np.ptp(second):
        return float(first[0] == second[0])
    return float(stats.ttest_ind(first, second, equal_var=False).pvalue)


def _foil_claim(rows: Sequence[Row], arm: str, base: str, role: str, kind: str) -> Claim:
    change = against(rows, arm, f"foil.{kind}", base)
    met = change.low > 0 if isfinite(change.low) else None
    expected = f"{role} foils ({kind}) above {title_of(base)} beyond seed noise"
    return Claim(arm, expected, met, points(change))


def points(change: Change) -> str:
    """A difference of shares in points, "+2.1 (+0.4 to +3.8) points"."""
    return f"{_span(change, lambda x: f'{100 * x:+.1f}')} points" if isfinite(change.value) else "–"


def percents(change: Change) -> str:
    """A relative change, "−21 % (−30 to −11)"."""
    return _span(change, _percent)


def briefly(change: Change) -> str:
    """A relative change alone, in brackets where seeds may explain it."""
    clear = change.low > 0 or change.high < 0
    return _percent(change.value) if clear else f"({_percent(change.value)})"


def _percent(value: float) -> str:
    return "–" if not isfinite(value) else f"{100 * value:+.0f} %".replace("-", "−")


def _span(change: Change, said: Callable[[float], str]) -> str:
    value, low, high = (said(one).replace("-", "−") if isfinite(one) else "–" for one in change)
    return value if low == "–" else f"{value} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"


def spread(found: np.ndarray, scale: float = 1.0, digits: int = 1) -> str:
    """Mean ± standard deviation between seeds; a dash for nothing."""
    if not len(found):
        return "–"
    mean = f"{scale * found.mean():.{digits}f}"
    return mean if len(found) < 2 else f"{mean} ± {scale * found.std(ddof=1):.{digits}f}"


def table(heads: Sequence[str], lines: Sequence[Sequence[str]], *, words: bool = False) -> str:
    """A Markdown table, all but the first column to the right unless they hold words."""
    ruled = ["---", *["---" if words else "---:"] * (len(heads) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, ruled, *lines))


def _grid(
    rows: Sequence[Row],
    names: Mapping[str, str],
    show: Callable[[np.ndarray], str],
    change: Callable[[Change], str],
) -> str:
    """A line for each arm, a column for each figure; below, in each cell, the change against FT."""
    lines = []
    for arm in arms_of(rows):
        runs = sum(row.arm == arm for row in rows)
        cells = [_cell(rows, arm, name, show, change) for name in names]
        lines.append([title_of(arm), str(runs) if runs else "missing", *cells])
    return table(["arm", "runs", *names.values()], lines)


def _gamma(rows: Sequence[Row], other: str) -> str:
    """A line for each setup, a column for each arm; bold where the arm was trained on it."""
    arms = arms_of(rows)
    lines = []
    for setup in SETUPS:
        cells = [
            _cell(rows, arm, f"gamma.{setup}.{other}", lambda found: spread(found, 1, 2), briefly)
            for arm in arms
        ]
        own = [setup in trained_on(rows, arm) for arm in arms]
        lines.append(
            [f"`{setup}`", *(f"**{one}**" if bold else one for one, bold in zip(cells, own, strict=True))]
        )
    return table(["attribution", *map(title_of, arms)], lines)


def _cell(
    rows: Sequence[Row],
    arm: str,
    name: str,
    show: Callable[[np.ndarray], str],
    change: Callable[[Change], str],
) -> str:
    found, made = values(rows, arm, name), against(rows, arm, name)
    differs = arm not in ("zero", "ft") and isfinite(made.value)
    return f"{show(found)}<br>{change(made)}" if differs else show(found)


def tables(rows: Sequence[Row], wise: Mapping[str, Any] | None) -> dict[str, str]:
    """The Markdown of each table by its name."""

    def short(change: Change) -> str:
        return points(change).removesuffix(" points")

    def share(found: np.ndarray) -> str:
        return spread(found, 100)

    besides = {
        "noun_top1": "noun top-1",
        "retrieval.i2t@1": "i2t R@1",
        "retrieval.i2t@5": "i2t R@5",
        "retrieval.t2i@1": "t2i R@1",
        "retrieval.t2i@5": "t2i R@5",
        "map.pixel_auroc": "map AUROC",
        "map.pointing": "pointing",
    }
    said = {True: "met", False: "not met", None: "cannot be said"}
    return {
        "verdict": table(
            ["arm", "expectation", "met?", "figure"],
            [[title_of(one.arm), one.expected, said[one.met], one.figure] for one in verdict(rows)],
            words=True,
        ),
        "foils": _grid(rows, {f"foil.{kind}": f"`{kind}`" for kind in KINDS}, share, short),
        "gamma": "\n\n".join(
            f"**Objects over {what}**\n\n{_gamma(rows, other)}"
            for other, what in (
                ("composition", "attributes and relations"),
                ("relation", "relations"),
                ("attribute", "attributes"),
            )
        ),
        "besides": _grid(rows, besides, share, short) + "\n\n" + _times(rows),
        "delta": _grid(
            rows,
            {f"delta_foil.{role}": f"wrong {role}" for role in REPLACED},
            lambda found: spread(found, 1, 3),
            lambda change: _span(change, lambda x: f"{x:+.3f}"),
        ),
        "wise": _wise(wise),
    }


def _times(rows: Sequence[Row]) -> str:
    lines = []
    for arm in arms_of(rows):
        own = [row for row in rows if row.arm == arm and row.arm != "zero"]
        for device in dict.fromkeys(row.device for row in own):
            took = np.array([row.seconds for row in own if row.device == device])
            lines.append([title_of(arm), device, str(len(took)), spread(took, 1, 0)])
    return table(["arm", "device", "runs", "seconds of training a run"], lines)


def _wise(wise: Mapping[str, Any] | None) -> str:
    if wise is None:
        return "*The sweep is missing.*"
    names = [name for name in _SWEPT if any(name in row for row in wise["rows"])]
    lines = []
    for alpha in dict.fromkeys(row["alpha"] for row in wise["rows"]):
        own = [row for row in wise["rows"] if row["alpha"] == alpha]
        cells = [spread(np.array([row[name] for row in own if name in row]), 100) for name in names]
        chosen = " (chosen)" if alpha == wise.get("chosen") else ""
        lines.append([f"{alpha:g}{chosen}", *cells])
    why = f"\n\nα was chosen thus: {wise['why']}." if wise.get("why") else ""
    return table(["α", *(f"`{name}`" for name in names)], lines) + why


_SWEPT = ("foil.replace_rel", "foil.replace_att", "noun_top1", "retrieval.t2i@1", "map.pixel_auroc")


def fill(page: str, made: Mapping[str, str]) -> str:
    """The page with each table in its place; one that has no place is left out."""

    def put(match: re.Match[str]) -> str:
        if match[1] not in made:
            raise ValueError(
                f"the page asks for the table {match[1]!r}; there are {', '.join(made)}. Correct the name in it."
            )
        return f"<!-- tune {match[1]} -->\n\n{made[match[1]]}\n\n<!-- /tune -->"

    return re.sub(r"<!-- tune (\w+) -->.*?<!-- /tune -->", put, page, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--wise", type=Path, default=WISE)
    parser.add_argument("--assets", type=Path, default=ASSETS, help="where plots go")
    parser.add_argument("--page", type=Path, help="Markdown page that the tables are put into")
    args = parser.parse_args()
    rows = read(args.rows)
    wise = json.loads(args.wise.read_text(encoding="utf-8")) if args.wise.exists() else None
    made = tables(rows, wise)
    for name, text in made.items():
        print(f"\n## {name}\n\n{text}")
    if args.page is not None:
        blank = "\n\n".join(f"<!-- tune {name} --><!-- /tune -->" for name in made) + "\n"
        page = args.page.read_text(encoding="utf-8") if args.page.exists() else blank
        args.page.write_text(fill(page, made), encoding="utf-8")
    for path in draw(rows, wise, args.assets):
        print(f"drew {path}")


if __name__ == "__main__":
    main()
