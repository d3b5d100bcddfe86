"""Results as pages and as notebooks show them: the facts that the templates of `clipsight.report` ask for."""

import json
from math import isfinite
from typing import TYPE_CHECKING, Any

from PIL import Image

from clipsight.draw import LEGEND, LOWERS, RAISES, CaptionFacts, Drawing, heat, number, printable, thumbnail
from clipsight.report import data_uri, render

from .io import json_numbers
from .words_facts import caption_facts, figures, spaced

if TYPE_CHECKING:
    from clipsight.draw import ScaleChoice

    from .explanation import Explanation
    from .words import WordAttribution

PICTURE_SIDE = (1000, 1400)  # least and most pixels on the long side of the JPEG in the page
LAYER_SIDE = 640  # of a colour layer: it is smooth, the browser enlarges it
OPACITY = 0.55  # of full colour behind words: text keeps a contrast of 4.5 on light and on dark paper


def explanation_page(explanation: "Explanation", scale: "ScaleChoice") -> str:
    """The picture, its maps one at a time, verdicts, and how they were made."""
    picture = Image.fromarray(explanation.image)
    side = min(max(max(picture.size), PICTURE_SIDE[0]), PICTURE_SIDE[1])
    photo = thumbnail(picture, (side, side))
    height, width = explanation.image.shape[:2]
    shrink = LAYER_SIDE / max(height, width)
    size = max(round(height * shrink), 1), max(round(width * shrink), 1)
    drawing, maps, texts = Drawing(scale=scale), [], []
    for k, text in enumerate(explanation.texts):
        own, presence = explanation.scale_of(k, scale), float(explanation.presence[k])
        absent = explanation.absent[k]
        maps.append(
            {
                "layer": data_uri(drawing.layer(explanation.maps[k].numpy(), own, size, absent)),
                "bar": data_uri(Image.fromarray(heat.bar(own, 256, 1, alpha=drawing.opacity(absent)))),
                "low": "flat"
                if own.flat
                else ("≤ " if own.clipped else "") + (number(own.low) if own.low else "0"),
                "high": "" if own.flat else number(own.high),
                "words": " ".join(said for said in (own.note, explanation.trust[k]) if said),
                "map": json_numbers(explanation.maps[k].numpy()),
            }
        )
        known = presence if isfinite(presence) else None
        texts.append({"text": printable(text), "presence": known, "absent": absent})
    return render(
        "explanation.html.j2",
        name=printable(explanation.source) if explanation.source else "picture",
        photo=data_uri(heat.backdrop(photo), "JPEG"),
        original=data_uri(photo, "JPEG"),
        texts=texts,
        legend=explanation.presence_reason or "presence, 0 to 1",
        data={"unit": explanation.provenance.unit, "size": [height, width], "texts": maps},
        made=explanation.provenance.rows(),
    )


def words_page(attribution: "WordAttribution") -> str:
    """The caption in colour, its words, tokens and how this was made."""
    facts = caption_facts(attribution)
    strongest = attribution.strongest
    drawn = [row for row in facts.rows if row.fraction is not None]
    parts = [row.fraction or 0.0 for row in drawn]
    low, high = min((*parts, 0.0)), max((*parts, 0.0))
    room = (high - low) or 1.0
    bars = [
        {
            "left": 100 * (min(part, 0.0) - low) / room,
            "width": 100 * abs(part) / room,
            "colour": RAISES if part >= 0 else LOWERS,
        }
        for part in parts
    ]
    numbered = {id(row): k for k, row in enumerate(drawn)}
    shares = [
        {
            "share": f"{one.share:.0%}" if one.share == one.share else "–",
            "words": f"{role}, {one.count} word{'' if one.count == 1 else 's'}, mean {number(one.mean)}",
        }
        for role, one in attribution.by_role.items()
        if one.count
    ]
    listed = zip(
        attribution.tokens, attribution.kinds, attribution.places, attribution.token_scores, strict=True
    )
    tokens = [
        {
            "token": printable(token),
            "kind": kind,
            "place": "" if place is None else f"{place[0]}–{place[1]}",
            "figure": figures(float(score), strongest),
        }
        for token, kind, place, score in listed
    ]
    photo = facts.image is not None and data_uri(
        thumbnail(facts.image, (min(900, facts.image.shape[1]), min(900, facts.image.shape[0]))), "JPEG"
    )
    return render(
        "words.html.j2",
        **_shared(attribution, facts),
        name=printable(attribution.source) if attribution.source else "words",
        photo=photo,
        bars=bars,
        zero=100 * -low / room,
        rows=[vars(row) | {"bar": numbered.get(id(row))} for row in facts.rows],
        shares=shares,
        tokens=tokens,
    )


def words_notebook(attribution: "WordAttribution") -> str:
    """The caption in colour and its numbers, static and styled inline, for notebooks that strip style sheets."""
    return render("words.notebook.j2", **_shared(attribution, caption_facts(attribution)))


def _shared(attribution: "WordAttribution", facts: CaptionFacts) -> dict[str, Any]:
    """What page and notebook have in common: the caption's stretches with the number of their ground."""
    grounds, stretches = [], []
    for one in facts.stretches:
        ground = None if one.fraction is None else len(grounds)
        if one.fraction is not None:
            r, g, b = RAISES if one.fraction >= 0 else LOWERS
            grounds.append(f"rgba({r},{g},{b},{OPACITY * abs(one.fraction):.3f})")
        stretches.append(vars(one) | {"ground": ground, "text": spaced(one.text)})
    return {
        "facts": facts,
        "stretches": stretches,
        "grounds": grounds,
        "role_legend": LEGEND,
        "said": (*facts.foils, *facts.trust),
        "made": _made(attribution, facts),
    }


def _made(attribution: "WordAttribution", facts: CaptionFacts) -> list[tuple[str, str]]:
    provenance = attribution.provenance
    foils = zip(attribution.against, attribution.against_similarity, strict=True)
    return [
        ("made by", facts.made_by),
        ("settings", json.dumps(dict(provenance.settings), ensure_ascii=False)),
        ("merged by", attribution.merge),
        *(("against", f"{printable(foil)} ({number(cosine)})") for foil, cosine in foils),
        *(("check", f"{name}: {number(value)}") for name, value in attribution.checks.items()),
        ("versions", ", ".join(f"{k} {v}" for k, v in provenance.versions.items())),
        *(("note", printable(note)) for note in provenance.notes),
    ]
