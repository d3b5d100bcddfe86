"""The trust line: one plain sentence on how reliable a map is."""

import math


def verdict(presence: float) -> str:
    """Presence in words."""
    if math.isnan(presence):
        return "presence not measured"
    for limit, words in (
        (0.9, "clearly there"),
        (0.6, "probably there"),
        (0.4, "unclear whether it is there"),
        (0.1, "probably not there"),
    ):
        if presence >= limit:
            return words
    return "not there"


def trust_line(
    presence: float,
    *,
    names: int,
    contrast: str,
    contrasted: int,
    texts: int,
    plain: bool,
    constant: bool = False,
    finite: bool = True,
) -> str:
    """One sentence: the presence, the contrast, and when such a map is known to mislead.

    Args:
        presence: in [0, 1] or NaN.
        names: how many names presence was measured against.
        contrast: "none", "labels", "empty" or "names".
        contrasted: how many distractors the map was contrasted with ("names").
        texts: how many texts were asked.
        plain: whether the maps are the model's raw patch similarities.
        constant: whether the map is the same everywhere.
        finite: whether all its scores are numbers.
    """
    if not finite:
        return "Not to be trusted: the scores are not finite (NaN or infinite)."
    head = verdict(presence).capitalize()
    if not math.isnan(presence):
        head += f" ({presence:.2f} against {names} names)"
    how = {
        "none": "not contrasted, so it also shows what all texts share",
        "labels": f"contrasted among the {texts} texts",
        "empty": "contrasted with the empty prompt",
        "names": f"contrasted with {contrasted} other names",
    }[contrast]
    warnings = []
    if constant:
        warnings.append("the map is the same everywhere and points nowhere")
    if not math.isnan(presence) and presence < 0.4:
        warnings.append("the brightest spot is not evidence that it is there")
    if contrast == "labels" and texts == 2:
        warnings.append("of two texts one map is minus the other")
    if plain:
        warnings.append("raw similarity of a ViT often highlights the background instead of the object")
    return f"{head}; {how}" + "".join(f"; {warning}" for warning in warnings) + "."
