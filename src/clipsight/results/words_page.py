"""A word attribution as one HTML page without outside parts, and its short form for notebooks."""

import io
import json
from base64 import b64encode
from hashlib import sha256
from html import escape

import numpy as np
from PIL import Image

from . import heat
from .wording import number, printable
from .words import WordAttribution, WordScore
from .words_drawn import (
    LEGEND,
    LOWERS,
    RAISES,
    figures,
    foil_lines,
    fraction,
    headline,
    in_order,
    kept_apart,
    longest,
    made_by,
    segments,
    spaced,
    summary,
)

PICTURE_SIDE = 900  # most pixels on the long side of the JPEG in the page
OPACITY = 0.55  # of full colour: text keeps a contrast of 4.5 on light and on dark paper
STYLE = """
:root{color-scheme:light dark;--ink:#16191d;--quiet:#5b636d;--paper:#fff;--card:#f5f6f8;--line:#d5d9de}
@media(prefers-color-scheme:dark){
:root{--ink:#eceff3;--quiet:#9aa4af;--paper:#14171b;--card:#1d2127;--line:#343b44}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 28px}
h1{font-size:21px;line-height:1.3;margin:0 0 4px}
p{margin:0 0 12px}
.quiet{color:var(--quiet)}
.top{display:flex;gap:32px;align-items:flex-start;margin-bottom:28px}
.photo{width:260px;max-height:340px;object-fit:contain;border-radius:10px;flex:none}
@media(max-width:760px){.top{flex-direction:column}}
.caption{font-size:25px;line-height:2;margin:14px 0 6px;overflow-wrap:anywhere}
.part{border-radius:5px;padding:2px 3px}
.object{text-decoration:underline;text-decoration-thickness:2px;text-underline-offset:5px}
.bracket{color:var(--quiet)}
.dropped{color:var(--quiet);text-decoration:line-through}
table{border-collapse:collapse;width:100%;margin-bottom:22px}
th{text-align:left;color:var(--quiet);font-weight:500;font-size:13px}
th,td{padding:4px 14px 4px 0;border-bottom:1px solid var(--line);vertical-align:middle;overflow-wrap:anywhere}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.track{position:relative;height:14px;background:var(--card);border-radius:3px}
.bar{position:absolute;top:0;height:100%;border-radius:3px}
.zero{position:absolute;top:-3px;height:20px;width:1px;background:var(--quiet)}
.wide{width:48%}
.shares{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));margin-bottom:20px}
.shares div{background:var(--card);border-radius:8px;padding:8px 14px}
.shares b{display:block;font-size:20px;font-variant-numeric:tabular-nums}
ul{padding-left:20px;margin:0 0 22px}
details{border-top:1px solid var(--line);padding:12px 0}
summary{cursor:pointer;font-weight:600}
details table{font-size:13px;margin-top:8px}
.keys th{white-space:nowrap;vertical-align:top}
"""


def page(attribution: WordAttribution) -> str:
    """The page as text. All words of the user are escaped; its policy forbids scripts and every outside address."""
    listed = _listed(attribution)
    style = STYLE + _colours(attribution, listed)
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{_digest(style)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    name = escape(printable(attribution.source)) if attribution.source else "words"
    photo = (
        f'<img class="photo" src="{_uri(attribution.image)}" alt="{name}">'
        if attribution.image is not None
        else ""
    )
    legend = f'<p class="quiet">{escape(LEGEND)}</p>' if attribution.roles_by else ""
    said = (*foil_lines(attribution), *attribution.trust)
    trust = "".join(f"<li>{escape(printable(line))}</li>" for line in said)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} · clipsight words</title>
<style>{style}</style></head>
<body><main>
<div class="top">{photo}<div>
<h1>{escape(headline(attribution))}</h1>
<p class="quiet">{escape(summary(attribution))}</p>
<p class="caption">{_caption(attribution, listed)}</p>
{legend}<p class="quiet">Orange raises the score, blue lowers it; full colour is {number(attribution.strongest)}, the
strongest word.</p></div></div>
{_shares(attribution)}
{_table(attribution, listed)}
{f"<ul>{trust}</ul>" if trust else ""}
<details><summary>Tokens</summary>{_tokens(attribution)}</details>
<details><summary>How this was made</summary>{_made(attribution)}</details>
</main></body></html>
"""


def notebook(attribution: WordAttribution) -> str:
    """The caption in colour and its numbers, static and styled inline, for notebooks that strip style sheets."""
    parts = []
    for one in segments(attribution):
        words, part = escape(spaced(one.text)), one.part
        if part is None:
            struck = f'<span style="opacity:.5;text-decoration:line-through">{words}</span>'
            parts.append(struck if one.dropped else words)
            continue
        line = ";text-decoration:underline;text-decoration-thickness:2px" if part.role == "object" else ""
        parts.append(
            f'{one.before}<span title="{escape(_tip(part))}" style="background:{_rgba(part, attribution.strongest)};'
            f'border-radius:4px;padding:1px 3px{line}">{words}</span>{one.after}'
        )
    said = (*foil_lines(attribution), *attribution.trust)
    trust = "".join(f"<br>{escape(printable(line))}" for line in said)
    return (
        f"<div><b>{escape(headline(attribution))}</b><br><small>{escape(summary(attribution))}</small>"
        f'<p style="font-size:1.35em;line-height:1.9;margin:.4em 0">{"".join(parts)}</p>'
        f"<small>{escape(LEGEND) if attribution.roles_by else ''}{trust}</small>"
        f"<details><summary>How this was made</summary>{_made(attribution)}</details></div>"
    )


def _listed(attribution: WordAttribution) -> list[WordScore]:
    """Words and marks in their order, then the phrases asked for."""
    return [*in_order(attribution), *attribution.spans]


def _colours(attribution: WordAttribution, listed: list[WordScore]) -> str:
    """One rule for the ground and one for the bar of each part: the policy allows no style elsewhere."""
    strongest, rules = attribution.strongest, []
    found = [fraction(one.score, longest(attribution)) for one in listed]
    low, high = min((*found, 0.0)), max((*found, 0.0))
    room = (high - low) or 1.0
    zero = 100 * -low / room
    rules.append(f".zero{{left:{zero:.2f}%}}")
    for index, (one, part) in enumerate(zip(listed, found, strict=True)):
        left, width = (
            (zero, 100 * part / room) if part >= 0 else (zero + 100 * part / room, -100 * part / room)
        )
        rules.append(
            f".g{index}{{background:{_rgba(one, strongest)}}}.b{index}{{left:{left:.2f}%;width:{width:.2f}%;"
            f"background:rgb{RAISES if part >= 0 else LOWERS}}}"
        )
    return "\n".join(rules)


def _rgba(part: WordScore, strongest: float) -> str:
    found = fraction(part.score, strongest)
    r, g, b = RAISES if found >= 0 else LOWERS
    return f"rgba({r},{g},{b},{OPACITY * abs(found):.3f})"


def _caption(attribution: WordAttribution, listed: list[WordScore]) -> str:
    place = {id(one): index for index, one in enumerate(listed)}
    out = []
    for one in segments(attribution):
        words, part = escape(spaced(one.text)), one.part
        if part is None:
            struck = f'<span class="dropped" title="not seen by the model">{words}</span>'
            out.append(struck if one.dropped else words)
            continue
        before, after = (f'<span class="bracket">{b}</span>' if b else "" for b in (one.before, one.after))
        kind = f"part g{place[id(part)]}" + (" object" if part.role == "object" else "")
        out.append(f'{before}<span class="{kind}" title="{escape(_tip(part))}">{words}</span>{after}')
    return "".join(out)


def _tip(part: WordScore) -> str:
    role = f", {part.role}" if part.role else ""
    count = len(part.tokens)
    return f"{printable(part.text)}: {number(part.score)}{role}, {count} token{'' if count == 1 else 's'}"


def _table(attribution: WordAttribution, listed: list[WordScore]) -> str:
    phrases = len(listed) - len(attribution.spans)
    rows = []
    for index, one in enumerate(listed):
        what = "asked for" if index >= phrases else one.role
        rows.append(
            f'<tr><td>{escape(printable(one.text))}</td><td class="quiet">{escape(what)}</td>'
            f'<td class="number">{figures(one.score, attribution.strongest)}</td><td class="wide"><div class="track">'
            f'<span class="bar b{index}"></span><span class="zero"></span></div></td></tr>'
        )
    for name, score in kept_apart(attribution):
        rows.append(
            f'<tr><td class="quiet">{name}</td><td class="quiet">kept apart</td>'
            f'<td class="number">{figures(score, attribution.strongest)}</td><td></td></tr>'
        )
    head = f"<tr><th>word</th><th>role</th><th class='number'>{escape(attribution.unit)}</th><th></th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _shares(attribution: WordAttribution) -> str:
    boxes = [
        f"<div><b>{f'{found.share:.0%}' if found.share == found.share else '–'}</b>"
        f"<span class='quiet'>{role}, {found.count} word{'' if found.count == 1 else 's'}, mean "
        f"{number(found.mean)}</span></div>"
        for role, found in attribution.by_role.items()
        if found.count
    ]
    return f'<div class="shares">{"".join(boxes)}</div>' if boxes else ""


def _tokens(attribution: WordAttribution) -> str:
    rows = "".join(
        f'<tr><td class="number">{index}</td><td>{escape(printable(token))}</td><td class="quiet">{kind}</td>'
        f'<td class="quiet">{"" if place is None else f"{place[0]}–{place[1]}"}</td>'
        f'<td class="number">{figures(float(score), attribution.strongest)}</td></tr>'
        for index, (token, kind, place, score) in enumerate(
            zip(
                attribution.tokens,
                attribution.kinds,
                attribution.places,
                attribution.token_scores,
                strict=True,
            )
        )
    )
    return (
        "<table><tr><th class='number'>position</th><th>token</th><th></th><th>characters</th><th class='number'>score"
        f"</th></tr>{rows}</table>"
    )


def _made(attribution: WordAttribution) -> str:
    provenance = attribution.provenance
    rows = [
        ("made by", made_by(attribution)),
        ("settings", json.dumps(dict(provenance.settings), ensure_ascii=False)),
        ("merged by", attribution.merge),
        *(("against", f"{printable(foil)} ({number(cosine)})") for foil, cosine in _foils(attribution)),
        *(("check", f"{name}: {number(value)}") for name, value in attribution.checks.items()),
        ("versions", ", ".join(f"{k} {v}" for k, v in provenance.versions.items())),
        *(("note", printable(note)) for note in provenance.notes),
    ]
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(said)}</td></tr>" for name, said in rows)
    return f'<table class="keys">{body}</table>'


def _foils(attribution: WordAttribution) -> list[tuple[str, float]]:
    return list(zip(attribution.against, attribution.against_similarity, strict=True))


def _uri(image: np.ndarray) -> str:
    picture = Image.fromarray(image)
    shrink = min(1.0, PICTURE_SIDE / max(picture.size))
    fitted = heat.fit(
        picture, (max(round(picture.height * shrink), 1), max(round(picture.width * shrink), 1))
    )
    buffer = io.BytesIO()
    fitted.save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
