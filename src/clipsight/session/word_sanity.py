"""Do the scores of words depend on the trained weights, and does another method agree with them?"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from clipsight.attribution import TokenScores, why_not
from clipsight.attribution.faithfulness import kendall, spearman
from clipsight.attribution.randomised import randomised_text
from clipsight.session.word_question import WordQuestion
from clipsight.towers.view import TextView

CHECK_DRAWS = 5
"""Random towers of a sanity check."""
SUSPICIOUS = 0.5
"""Mean rank correlation with random towers from which scores are said to be no news of the model."""
FEW = 4
"""Fewer words than this have no ranks to speak of."""


def check(
    question: WordQuestion, scores: TokenScores, method: str, options: Mapping[str, Any]
) -> list[dict[str, float]]:
    """Figures of the sanity check of each caption: NaN where words are too few."""
    count = len(question.read)
    drawn = [
        question.ask(randomised_text(question.engine.loaded.module, seed), method, options)
        for seed in range(CHECK_DRAWS)
    ]
    other, its_options = _second_opinion(question.engine.text_view, method, options)
    opinion = question.ask(question.engine.text_view, other, its_options)
    name = f"agreement with {other}" + (f" ({its_options['op']})" if "op" in its_options else "")
    found = []
    for row in range(count):
        own = question.words(scores, row)
        ranks = [spearman(own, question.words(one, row)) for one in drawn]
        few = len(own) < FEW
        found.append(
            {
                "rank correlation with random towers": float("nan") if few else float(np.mean(ranks)),
                name: float("nan") if few else kendall(own, question.words(opinion, row)),
            }
        )
    return found


def verdicts(checks: Mapping[str, float]) -> list[str]:
    """The figures of `check` in sentences."""
    said = []
    for name, value in checks.items():
        if value != value:
            said.append(f"Sanity, {name}: not measured, the words are too few or all alike.")
        elif name.startswith("rank"):
            verdict = (
                "high: the scores say little of what the model has learnt"
                if value >= SUSPICIOUS
                else "so the scores depend on what the model has learnt"
            )
            said.append(f"Sanity, {name}: {value:+.2f} ({CHECK_DRAWS} draws), {verdict}.")
        else:
            said.append(f"Sanity, {name}: Kendall's tau {value:+.2f} (1 the same order, 0 none).")
    return said


def _second_opinion(view: TextView, method: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Another method to agree with: leaving out words one by one; for that itself, leaving out by other means."""
    zero = (
        {"op": "zero_emb"} if not why_not("perturbation", view, {"op": "zero_emb"}) else {"op": "mask_token"}
    )
    if method == "perturbation" and options.get("op", "zero_emb") == zero["op"]:
        # where the context is read whole, a shorter caption has other padding too
        return "perturbation", {"op": "drop" if view.cuttable else "mask_token"}
    return "perturbation", zero
