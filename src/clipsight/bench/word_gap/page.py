"""The report as one HTML page without outside parts: verdict, figures, captions as models weigh them, all numbers."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from html import escape
from math import isfinite

from clipsight.bench.resampling import Interval
from clipsight.bench.word_gap.drawing import DARK, LIGHT, svg
from clipsight.bench.word_gap.figures import (
    draw_behaviour,
    draw_controls,
    draw_gaps,
    draw_layers,
    draw_shares,
    layered,
)
from clipsight.bench.word_gap.report import ExampleCaption, GapRow, ModelWords, WordsReport
from clipsight.bench.word_gap.tally import AGAINST
from clipsight.bench.word_gap.verdict import favours, span, verdict
from clipsight.results.wording import printable

_LEVELS = 20
_FULL = 0.4
"""Share of a caption that has full colour in the examples."""
STYLE = """
:root{color-scheme:light dark;--ink:#16191d;--quiet:#5b636d;--paper:#fff;--card:#f5f6f8;--line:#d5d9de;--heat:213,94,0}
@media(prefers-color-scheme:dark){
:root{--ink:#eceff3;--quiet:#9aa4af;--paper:#14171b;--card:#1d2127;--line:#343b44;--heat:251,146,60}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:36px 28px 60px}
h1{font-size:25px;line-height:1.25;margin:0 0 6px}
h2{font-size:18px;margin:44px 0 6px}
h3{font-size:15px;margin:22px 0 4px}
p{margin:0 0 10px;max-width:86ch}
.quiet{color:var(--quiet)}
.verdicts{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));margin:22px 0 0}
.verdict{background:var(--card);border-radius:10px;padding:14px 20px}
.verdict h3{margin:2px 0 6px}
.verdict ul{margin:0;padding-left:18px}
.verdict li{margin:4px 0}
figure{margin:8px 0 0}
figure img{width:100%;height:auto;display:block}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13.5px}
th{text-align:left;color:var(--quiet);font-weight:500}
th,td{padding:4px 14px 4px 0;border-bottom:1px solid var(--line);vertical-align:baseline;white-space:nowrap}
.number{text-align:right;font-variant-numeric:tabular-nums}
.objects{font-weight:600}
.neither,.unknown{color:var(--quiet)}
.examples{display:flex;flex-wrap:wrap;gap:18px 44px;margin:12px 0}
.examples .scroll{max-width:100%}
.example td{border:0;padding:2px 7px;text-align:center;font-variant-numeric:tabular-nums}
.example th{padding:2px 12px 2px 0;border:0}
.example .word{font-size:15px;color:var(--ink)}
.example .role{font-size:11.5px;color:var(--quiet);padding-bottom:4px}
.keys th,.keys td{white-space:normal;vertical-align:top;overflow-wrap:anywhere}
.keys th{white-space:nowrap}
details{border-top:1px solid var(--line);padding:12px 0}
summary{cursor:pointer;font-weight:600}
""" + "".join(
    f".h{level}{{background:rgba(var(--heat),{0.85 * level / _LEVELS:.3f})}}"
    for level in range(1, _LEVELS + 1)
)


def page(report: WordsReport) -> str:
    """The page as text. All words of the user are escaped; its policy forbids scripts and every outside address."""
    models = report.models
    style = f"style-src 'sha256-{_digest(STYLE)}'"
    policy = f"default-src 'none'; img-src data:; {style}; base-uri 'none'; form-action 'none'"
    corpus = escape(printable(str(report.corpus["corpus"])))
    pictures = "with their pictures" if report.corpus["pictured"] else "without pictures"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Do objects win? {corpus} · clipsight words</title>
<style>{STYLE}</style></head>
<body><main>
<h1>Do objects win?</h1>
<p class="quiet">Which words of {models[0].captions:,} captions of {corpus}, {
        pictures
    }, carry the match: objects, or the
attributes and relations that tell captions apart? {_named(models)}</p>
<div class="verdicts">{"".join(map(_verdict, models))}</div>
<h2>The gap</h2>
<p>How many times as much an object word gets as an attribute or relation word of the same captions (γ); right of 1×
objects get more. Lines are 95 % intervals. With roles dealt out at random among the
words of each caption nothing may be left.</p>
{_figure(lambda paper: draw_gaps(models, paper), "Gap between objects and other roles, by attribution")}
<h2>Does position, frequency or length explain it?</h2>
<p>Relation words stand between objects and are frequent; names of things are long. Here the typical word counts, not
the mean, which a few words can carry, and the hollow mark compares words at the same place in the caption, equally
frequent in the corpus, of as many tokens.</p>
{
        _figure(
            lambda paper: draw_controls(models, paper),
            "Gap as it is and at equal position, frequency and tokens",
        )
    }
<h2>Where attribution goes</h2>
<p>The share of a caption that all its words of a role have together, in captions with objects and composition words.
Longer groups have more: the gap above compares single words. A bar ends early where captions have no score at all.</p>
{_figure(lambda paper: draw_shares(models, paper), "Shares of the roles, by attribution")}
{_layers(models)}
<h2>What the model does</h2>
<p>No attribution here: what {
        "the similarity with the picture" if models[0].behaviour.pictured else "the text's own feature"
    } loses when words are deleted (each group at once, its fall divided by its words), and when the
caption is made false by a small change. A model that reads relations loses by a wrong one.</p>
{
        _figure(
            lambda paper: draw_behaviour(models, paper),
            "Falls by removal and by foils, and captions that beat them",
        )
    }
{_examples(models)}
<h2>All numbers</h2>
{"".join(map(_table, models))}
<details><summary>How this was made</summary>{_made(report)}</details>
</main></body></html>
"""


def _named(models: Sequence[ModelWords]) -> str:
    return (
        f"As {len(models)} models see them."
        if len(models) > 1
        else f"As {escape(models[0].label)} sees them."
    )


def _verdict(model: ModelWords) -> str:
    said = "".join(f"<li>{escape(line)}</li>" for line in verdict(model))
    return f'<section class="verdict"><h3>{escape(model.label)}</h3><ul>{said}</ul></section>'


def _figure(draw: Callable, words: str) -> str:
    light, dark = (
        f"data:image/svg+xml;base64,{b64encode(svg(draw(paper)).encode()).decode()}"
        for paper in (LIGHT, DARK)
    )
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{escape(words)}"></picture></figure>'
    )


def _layers(models: Sequence[ModelWords]) -> str:
    if not layered(models):
        return ""
    return (
        "<h2>Layer by layer</h2><p>The share of one word of each role, at every block of the text tower.</p>"
        + _figure(lambda paper: draw_layers(models, paper), "Share of a word by role and block")
    )


def _examples(models: Sequence[ModelWords]) -> str:
    if not any(model.examples for model in models):
        return ""
    out = [
        "<h2>Captions as the models weigh them</h2>",
        f'<p class="quiet">Shares of each caption in percent; full colour from {_FULL:.0%} on.</p>',
    ]
    for model in models:
        if len(models) > 1:
            out.append(f"<h3>{escape(model.label)}</h3>")
        out += ['<div class="examples">', *map(_example, model.examples), "</div>"]
    return "".join(out)


def _example(example: ExampleCaption) -> str:
    words = "".join(f'<td class="word">{escape(printable(word))}</td>' for word in example.words)
    roles = "".join(
        f'<td class="role">{"" if role in ("other", "mark") else role}</td>' for role in example.roles
    )
    rows = []
    for name, shares in example.shares.items():
        cells = "".join(f'<td class="h{_level(share)}">{100 * share:.0f}</td>' for share in shares)
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return (
        f'<div class="scroll"><table class="example"><tr><th></th>{words}</tr><tr><th></th>{roles}</tr>'
        f"{''.join(rows)}</table></div>"
    )


def _level(share: float) -> int:
    return min(round(_LEVELS * share / _FULL), _LEVELS) if isfinite(share) else 0


def _table(model: ModelWords) -> str:
    head = [
        *("attribution", "γ", "attributes", "relations", "typical γ"),
        *("controlled γ", "attributes", "relations", "dealt anew", "positive part", "floored"),
    ]
    rows = "".join(
        f"<tr>{_name(row)}{''.join(map(_gap, _gaps(row)))}{_floored(row)}</tr>" for row in model.rows
    )
    titles = "".join(f"<th{'' if not at else ' class=number'}>{name}</th>" for at, name in enumerate(head))
    return (
        f"<h3>{escape(model.label)}</h3><p class='quiet'>{_counts(model)}</p>"
        f'<div class="scroll"><table><tr>{titles}</tr>{rows}</table></div>'
    )


def _name(row: GapRow) -> str:
    column = row.column
    block = "" if column.layer is None else f", block {column.layer + 1}"
    return f"<td>{escape(column.name)}{block}</td>"


def _gaps(row: GapRow) -> Iterable[Interval]:
    yield from (row.figures.gap[other] for other in AGAINST)
    yield row.figures.plain["composition"]
    yield from (row.figures.controlled[other] for other in AGAINST)
    yield from (row.figures.shuffled, row.figures.positive)


def _gap(found: Interval) -> str:
    return f'<td class="number {favours(found)}">{span(found)}</td>'


def _floored(row: GapRow) -> str:
    return f'<td class="number quiet">{row.figures.floored:.0%}</td>'


def _counts(model: ModelWords) -> str:
    said = (
        f"{model.captions:,} captions with {model.words:,} words; {model.comparable:,} have an object word and an "
        "attribute or relation word."
    )
    if model.cut:
        said += f" The end of {model.cut:,} is not seen."
    if model.malformed:
        said += f" {model.malformed:,} rows were left out."
    return said


def _made(report: WordsReport) -> str:
    rows = [("corpus", _json(report.corpus)), ("statistics", _json(report.settings))]
    for model in report.models:
        about = model.about
        rows += [
            ("model", f"{model.label}, weights {about.fingerprint}, {about.activation}, {about.dtype}"),
            ("roles by", ", ".join(model.extractors)),
            *((f"{name} was not asked", why) for name, why in model.left_out.items()),
            *(("left out", line) for line in model.named),
        ]
    settings = {
        row.column.name: f"{row.column.method} {_json(row.column.options)}"
        for model in report.models
        for row in model.setups
    }
    rows += settings.items()
    rows.append(("versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())))
    rows += _EXPLAINED
    body = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(printable(said))}</td></tr>" for name, said in rows
    )
    return f'<table class="keys">{body}</table>'


_EXPLAINED = [
    (
        "γ",
        "With p a word's share of its caption's attribution (sizes, its tokens summed): mean over captions of the mean "
        "p of object words, over that of the other group's, in captions that have both.",
    ),
    ("typical γ", "The same of geometric means within captions: the typical word, not the mean."),
    (
        "controlled γ",
        "exp of the difference of group coefficients in a least-squares fit of log p (not below 0.1 %), taken within "
        "captions, on group, relative position and its square, log of the word's frequency in the corpus, and number "
        "of its tokens.",
    ),
    ("floored", "Words below that 0.1 %: where they are many the controlled figures hang on it."),
    ("dealt anew", "γ with the roles of each caption dealt out at random among its words; must hold 1."),
    ("positive part", "γ where negative scores count as nothing."),
    (
        "intervals",
        "2.5 to 97.5 % of Poisson-bootstrap replicates; captions of one picture are drawn together.",
    ),
    (
        "deleting",
        "Words are taken out of the text, which closes up; ΔFoil: the caption is replaced by its foil.",
    ),
]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
