"""Scores that others published, for the models most often compared; never ours.

Names are those of the splits and means of the protocol that a score was made with: only such a score is comparable.
UNVERIFIED figures are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from clipsight.features.citation import Grade

CLIP = "CLIP ViT-B/32 (OpenAI)"
V1 = "vl_compo (arXiv 2406.09388), repository ytaek-oh/vl_compo @43e2eae, results.csv and individual_results.csv"
M1 = "MACCO (arXiv 2606.13288), tables 1 and J; ViT-B/32, weights reloaded by path and so possibly with GELU"
P1 = "READ (arXiv 2510.16540)"
P2 = "CS-CLIP, element-targeted (2026), text of the paper"
FSC = "FSC-CLIP (arXiv 2410.05210), extended table of its repository"


@dataclass(frozen=True, kw_only=True)
class PublishedScore:
    """A score in percent.

    Attributes:
        name: a split or a mean of the protocol. metric: None is the headline.
        grade: "read" in the source named, "second-hand" from a table that repeats it, "derived" by arithmetic.
    """

    model: str
    benchmark: str
    name: str
    value: float
    protocol: str
    source: str
    metric: str | None = None
    grade: Grade = "read"


def published_models() -> tuple[str, ...]:
    """Models with a published score, in the order of the list."""
    return tuple(dict.fromkeys(one.model for one in PUBLISHED))


def _row(
    model: str,
    benchmark: str,
    values: Mapping[str, float],
    *,
    source: str = V1,
    protocol: str = "vl_compo",
    metric: str | None = None,
    grade: Grade = "read",
) -> tuple[PublishedScore, ...]:
    return tuple(
        PublishedScore(
            model=model,
            benchmark=benchmark,
            name=name,
            value=value,
            protocol=protocol,
            source=source,
            metric=metric,
            grade=grade,
        )
        for name, value in values.items()
    )


_OVERALL = {
    "aro": "mean of 4",
    "crepe": "mean of atom, swap, negate",
    "sugarcrepe": "mean of 7 subsets",
    "valse": "mean of 7 phenomena",
    "vl_checklist": "mean of Object, Attribute, Relation",
    "whatsup": "mean of 6",
    "winoground": "test",
}
_OVERALL_ROWS = {
    CLIP: (57.6, 23.7, 73.0, 67.5, 70.8, 41.5, 8.75),
    "NegCLIP": (80.9, 30.3, 83.7, 73.7, 75.0, 42.9, 8.0),
    "CE-CLIP": (76.3, 34.6, 85.7, 76.7, 76.9, 41.7, 5.25),
    "DAC-LLM": (86.4, 60.4, 85.3, 70.5, 83.5, 42.6, 4.75),
    "DAC-SAM": (83.3, 63.4, 83.8, 70.3, 84.7, 42.4, 8.5),
    "TSVLC-RB": (83.5, 36.0, 76.9, 69.4, 77.5, 40.9, 6.75),
    "TSVLC-RB+LLM": (82.7, 33.0, 73.2, 72.1, 79.2, 39.9, 5.75),
    "CLoVe": (83.0, 41.6, 84.5, 71.9, 66.6, 41.8, 6.5),
    "GNM-CLIP": (57.1, 17.3, 78.7, 71.1, 70.6, 42.1, 10.25),
}
_FSC_ROW = {
    "aro": 85.1,
    "crepe": 42.2,
    "sugarcrepe": 85.1,
    "valse": 75.3,
    "vl_checklist": 76.7,
    "whatsup": 40.6,
    "winoground": 9.5,
}
_SUBSETS = ("replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att", "add_obj", "add_att")
_VALSE = (
    "existence", "plurals", "counting-hard", "counting-small-quant", "counting-adversarial", "relations",
    "action-replacement", "actant-swap", "coreference-standard", "coreference-hard", "foil-it",
)  # fmt: skip
_CHECKLIST = (
    "Object Location center", "Object Location margin", "Object Location mid", "Object Size large",
    "Object Size medium", "Object Size small", "Attribute action", "Attribute color", "Attribute material",
    "Attribute size", "Attribute state", "Relation action", "Relation spatial",
)  # fmt: skip
_ARO = ("vg_relation", "vg_attribution", "coco_order", "flickr30k_order")
_EQBEN = (
    "eqbenag", "eqbengebc", "eqbenyoucook2", "eqbenkubric_loc", "eqbenkubric_cnt", "eqbenkubric_attr", "eqbensd",
)  # fmt: skip
_WHATSUP = ("A", "B", "coco_one", "coco_two", "vg_one", "vg_two")


def _named(names: tuple[str, ...], *values: float) -> dict[str, float]:
    return dict(zip(names, values, strict=True))


_CLIP_IN_V1 = (
    *_row(CLIP, "aro", _named(_ARO, 59.9, 63.2, 47.6, 59.6)),
    *_row("NegCLIP", "aro", _named(_ARO, 81.8, 72.1, 82.6, 87.1)),
    *_row("DAC-LLM", "aro", _named(_ARO, 81.3, 73.9, 94.4, 95.9)),
    *_row(CLIP, "sugarcrepe", _named(_SUBSETS, 90.9, 80.1, 69.2, 61.2, 64.0, 77.2, 68.8)),
    *_row(CLIP, "sugarcrepe", {"all items": 76.3}, source=P2),
    *_row("READ-CLIP", "sugarcrepe", {"mean of 7 subsets": 87.0}, source=P1),
    *_row(CLIP, "valse", _named(_VALSE, 69.3, 57.6, 64.5, 61.9, 58.2, 66.0, 77.8, 71.8, 54.9, 51.9, 90.1)),
    *_row("READ-CLIP", "valse", {"mean of 7 phenomena": 76.2}, source=P1),
    *_row(
        CLIP,
        "vl_checklist",
        _named(_CHECKLIST, 87.4, 74.9, 84.4, 87.2, 81.6, 74.1, 70.6, 69.5, 69.8, 61.1, 67.3, 72.1, 54.0),
    ),
    *_row(CLIP, "crepe", {"atom": 19.0, "swap": 17.3, "negate": 34.9}),
    *_row("READ-CLIP", "crepe", {"mean of atom, swap, negate": 41.5}, source=P1),
    *_row(CLIP, "whatsup", _named(_WHATSUP, 30.6, 30.9, 43.3, 50.7, 46.3, 47.1)),
    *_row("READ-CLIP", "whatsup", {"mean of 6": 43.9}, source=P1),
    *(
        score
        for metric, value in (("text", 31.3), ("image", 11.0))
        for score in _row(CLIP, "winoground", {"test": value}, metric=metric)
    ),
    *_row(CLIP, "mmvp_vlm", {"mean of 9 patterns": 6.7}),
    *(
        score
        for metric, value in (("text", 35.7), ("image", 15.0), ("group", 12.0))
        for score in _row(CLIP, "colorswap", {"test": value}, metric=metric)
    ),
    *_row(CLIP, "eqben", {"group, mean of 5": 26.5}),
    *_row(CLIP, "eqben", _named(_EQBEN, 3.0, 4.5, 37.3, 1.0, 6.1, 22.2, 77.8)),
    *_row(CLIP, "svo_probes", {"subj_neg": 84.1, "verb_neg": 79.7, "obj_neg": 88.6}),
)

_GUARDS = {
    "imagenet": (63.3, 60.9, 49.9, 51.1, 52.4, 58.5, 59.7, 53.1, 61.4),
    "i2t R@1": (50.1, 59.3, 56.0, 29.9, 33.1, 46.1, 46.4, 48.2, 58.1),
    "t2i R@1": (30.5, 45.2, 47.1, 37.3, 33.9, 36.4, 36.6, 42.7, 41.1),
}
"""ImageNet and COCO retrieval, of the models of `_OVERALL_ROWS` in their order."""
_GUARD_ROWS = (
    *(
        score
        for name, values in _GUARDS.items()
        for model, value in zip(_OVERALL_ROWS, values, strict=True)
        for score in _row(
            model, "zero_shot" if name == "imagenet" else "coco_retrieval", {name: value}, protocol="official"
        )
    ),
    *_row(CLIP, "flickr30k_retrieval", {"i2t R@1": 78.8, "t2i R@1": 58.8}, protocol="official"),
)

_OFFICIAL = (
    *(
        score
        for metric, value in (("text", 30.75), ("image", 10.5), ("group", 8.0))
        for score in _row(
            CLIP,
            "winoground",
            {"test": value},
            metric=metric,
            protocol="official",
            source="Winoground (arXiv 2204.03162)",
            grade="second-hand",
        )
    ),
    *(
        score
        for model, itt, tot in (
            (CLIP, 60.0, 46.7),
            ("NegCLIP", 65.0, 62.5),
            ("FSC-CLIP", 67.9, 64.4),
            ("READ-CLIP", 69.8, 66.2),
            ("CE-CLIP", 55.7, 57.0),
            ("TripletCLIP", 61.7, 57.4),
        )
        for score in (
            *_row(
                model,
                "sugarcrepe_pp",
                {"ITT, mean of 5 subsets": itt, "TOT, mean of 5 subsets": tot},
                protocol="official",
                source=P1,
            ),
            *_row(
                model, "sugarcrepe_pp_text", {"TOT, mean of 5 subsets": tot}, protocol="official", source=P1
            ),
        )
    ),
    *(
        score
        for model, coco, voc in (("CLIP ViT-B/32 (OpenAI)", 39.3, 38.7), ("NegCLIP", 28.7, 30.5))
        for score in _row(
            model,
            "negbench",
            {"coco_mcq": coco, "voc2007_mcq": voc},
            protocol="official",
            source="NegBench (arXiv 2501.09425), m1k2zoo/negbench @2ac009b",
        )
    ),
    *(
        score
        for model, values in ((CLIP, (63.2, 47.2, 61.0, 49.7)), ("MACCO", (68.3, 48.5, 66.1, 53.8)))
        for score in (
            *_row(model, "hard_positives", {"replace, original": values[0]}, protocol="official", source=M1),
            *_row(model, "hard_positives", {"replace, augmented": values[1]}, protocol="official", source=M1),
            *_row(
                model,
                "hard_positives",
                {"swap": values[2]},
                metric="original",
                protocol="official",
                source=M1,
            ),
            *_row(
                model,
                "hard_positives",
                {"swap": values[3]},
                metric="augmented",
                protocol="official",
                source=M1,
            ),
        )
    ),
)

_MACCO_COLUMNS = (
    ("aro", "vg_relation"),
    ("aro", "vg_attribution"),
    ("sugarcrepe", "Relation"),
    ("sugarcrepe", "Attribute"),
    ("vl_checklist", "Relation"),
    ("vl_checklist", "Attribute"),
    ("valse", "Relation"),
    ("aro", "Order"),
    ("whatsup", "mean of 6"),
)
_MACCO_ROWS: dict[str, tuple[float | None, ...]] = {
    CLIP: (58.7, 62.7, 68.8, 70.8, 63.6, 67.7, 70.1, 54.1, 41.8),
    "CLIP fine-tuned on COCO": (64.3, 66.2, 71.1, 77.7, 60.9, 67.4, 69.3, 49.1, 41.4),
    "IL-CLIP": (50.0, 55.3, 56.3, 63.9, 55.7, 59.5, 55.7, 16.7, 42.3),
    "SDS-CLIP": (53.0, 62.0, None, None, None, None, None, 29.0, None),
    "CAE, mean of 4": (69.5, 65.4, 73.0, 78.9, 65.4, 68.6, 68.8, None, None),
    "MACCO": (73.1, 68.5, 77.1, 79.1, 70.2, 68.7, 75.3, 76.0, 43.2),
    "NegCLIP": (80.4, 71.7, 73.2, 80.0, 71.8, 70.1, 79.5, 91.7, 42.1),
    "NegCLIP + MACCO": (80.2, 71.6, 74.9, 79.7, 74.9, 70.6, 78.7, 92.1, 43.1),
    "CE-CLIP": (82.2, 72.9, 72.6, 80.1, 75.6, 69.4, 78.5, 95.1, 44.4),
    "CE-CLIP + MACCO": (82.6, 73.0, 72.7, 80.0, 77.5, 70.5, 79.2, 96.4, 44.7),
}
_OTHERS_OF_M1 = ("IL-CLIP", "SDS-CLIP", "CAE, mean of 4")
"""Rows that M1 may have taken from elsewhere: it marks them as without released code, or repeats a mean."""

PUBLISHED: tuple[PublishedScore, ...] = (
    *(
        score
        for model, values in _OVERALL_ROWS.items()
        for (benchmark, name), value in zip(_OVERALL.items(), values, strict=True)
        for score in _row(model, benchmark, {name: value})
    ),
    *_CLIP_IN_V1,
    *(
        score
        for benchmark, value in _FSC_ROW.items()
        for score in _row("FSC-CLIP", benchmark, {_OVERALL[benchmark]: value}, source=FSC)
    ),
    *_OFFICIAL,
    *_GUARD_ROWS,
    *(
        score
        for model, values in _MACCO_ROWS.items()
        for (benchmark, name), value in zip(_MACCO_COLUMNS, values, strict=True)
        if value is not None
        for score in _row(
            model,
            benchmark,
            {name: value},
            protocol="macco",
            source=M1,
            grade="second-hand" if model in _OTHERS_OF_M1 else "read",
        )
    ),
)
