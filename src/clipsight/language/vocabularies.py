"""The names of the eight data sets that open-vocabulary segmentation is measured on, as published programs write
them.

Facts about those data sets, in the order of their label numbers. The wording is theirs, run-together names included
("trafficlight"): published numbers were made with it. A list with cleaner words is another vocabulary and gives other
numbers. Sources: the class files of wangf3014/SCLIP at b56bd30 (variant "S"), mc-lan/ClearCLIP (variant "P"), and the
files of the other repositories named below, compared file by file.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from clipsight.language.names import BACKGROUND, Names


def _list(text: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in text.split(","))


BACKGROUND_WORDS = _list(
    """
    sky, wall, tree, wood, grass, road, sea, river, mountain, sands, desk, bed, building, cloud, lamp, door,
    window, wardrobe, ceiling, shelf, curtain, stair, floor, hill, rail, fence
    """
)
"""The 26 words that stand for "none of the names" in VOC21 and COCO-Object."""

FEWER_BACKGROUND_WORDS = _list(
    """
    sky, wall, tree, wood, grass, road, sea, river, mountain, sands, desk, bed, building, cloud, floor, hill,
    rail
    """
)
"""The 17 that ProxyCLIP and its followers keep for COCO-Object."""

VOC = _list(
    """
    aeroplane, bicycle, bird, ship, bottle, bus, car, cat, chair, cow, table, dog, horse, motorbike, person,
    pottedplant, sheep, sofa, train, tvmonitor
    """
)
"""20 of PASCAL VOC; boat is written ship, diningtable table."""

CONTEXT = _list(
    """
    aeroplane, bag, bed, bedclothes, bench, bicycle, bird, boat, book, bottle, building, bus, cabinet, car, cat,
    ceiling, chair, cloth, computer, cow, cup, curtain, dog, door, fence, floor, flower, food, grass, ground,
    horse, keyboard, light, motorbike, mountain, mouse, person, plate, platform, pottedplant, road, rock, sheep,
    shelves, sidewalk, sign, sky, snow, sofa, table, track, train, tree, truck, tvmonitor, wall, water, window,
    wood
    """
)
"""59 of PASCAL-Context."""

COCO = _list(
    """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
    parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
    handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove,
    skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple,
    sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining
    table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,
    refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
    """
)
"""80 things of COCO."""

CITYSCAPES = _list(
    """
    road, sidewalk, building, wall, fence, pole, trafficlight, trafficsign, vegetation, terrain, sky, person,
    rider, car, truck, bus, train, motorcycle, bicycle
    """
)
"""19 of Cityscapes."""

ADE20K = _list(
    """
    wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth,
    door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug,
    field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column,
    signboard, chestofdrawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path,
    stairs, runway, case, pooltable, pillow, screendoor, stairway, river, bridge, bookcase, blind, coffeetable,
    toilet, flower, book, hill, bench, countertop, stove, palm, kitchenisland, computer, swivelchair, boat, bar,
    arcademachine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,
    televisionreceiver, airplane, dirttrack, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet,
    poster, stage, van, ship, fountain, conveyerbelt, canopy, washer, plaything, swimmingpool, stool, barrel,
    basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, tradename, microwave, pot,
    animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, trafficlight, tray,
    ashcan, fan, pier, crtscreen, plate, monitor, bulletinboard, shower, radiator, glass, clock, flag
    """
)
"""150 of ADE20K."""

COCO_STUFF = _list(
    """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, trafficlight, firehydrant, stopsign,
    parkingmeter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
    handbag, tie, suitcase, frisbee, skis, snowboard, sportsball, kite, baseballbat, baseballglove, skateboard,
    surfboard, tennisracket, bottle, wineglass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
    broccoli, carrot, hotdog, pizza, donut, cake, chair, couch, pottedplant, bed, diningtable, toilet, tv,
    laptop, mouse, remote, keyboard, cellphone, microwave, oven, toaster, sink, refrigerator, book, clock, vase,
    scissors, teddybear, hairdrier, toothbrush, banner, blanket, branch, bridge, building-other, bush, cabinet,
    cage, cardboard, carpet, ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain,
    desk-stuff, dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower,
    fog, food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat,
    metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow, plant-other, plastic,
    platform, playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand, sea, shelf, sky-other,
    skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table, tent, textile-other, towel,
    tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood,
    water-other, waterdrops, window-blind, window-other, wood
    """
)
"""171 of COCO-Stuff: 80 things, 91 stuffs."""

CLOTHES = ("shirt", "jeans", "dress", "sweater", "skirt", "jacket")
SCREENS = ("television monitor", "tv monitor", "monitor", "television", "screen")

Words = Mapping[str, tuple[str, ...]]


def _people(word: str = "person") -> tuple[str, ...]:
    return (word, *(f"{word} in {garment}" for garment in CLOTHES))


def _names(classes: tuple[str, ...], words: Words, background: tuple[str, ...] = ()) -> Names:
    """Classes with their own name as the word unless `words` has others; background words make class 0."""
    front = (BACKGROUND,) if background else ()
    return Names(
        classes=(*front, *classes),
        words=(*((background,) if background else ()), *(words.get(name, (name,)) for name in classes)),
        background=bool(background),
    )


_VOC_S: Words = {"person": _people(), "tvmonitor": SCREENS}
_VOC_SFP: Words = {"person": _people("people"), "tvmonitor": SCREENS}
_COCO_S: Words = {"person": (*_people(), "body")}
_CALLED_PEOPLE: Words = {"person": ("people",)}
_WITHOUT_BED = tuple(word for word in FEWER_BACKGROUND_WORDS if word != "bed")

_MADE: Mapping[str, Mapping[str, Callable[[], Names]]] = {
    "VOC21": {
        "S": lambda: _names(VOC, _VOC_S, BACKGROUND_WORDS),
        "P": lambda: _names(VOC, {}, (BACKGROUND,)),
        "proxyclip": lambda: _names(VOC, {}, BACKGROUND_WORDS),
        "sfp": lambda: _names(VOC, _VOC_SFP, BACKGROUND_WORDS),
    },
    "PC60": {
        "S": lambda: _names(CONTEXT, {}, (BACKGROUND,)),
        "P": lambda: _names(CONTEXT, {}, (BACKGROUND,)),
        "corrclip": lambda: _names(CONTEXT, _CALLED_PEOPLE, (BACKGROUND,)),
    },
    "COCO-Object": {
        "S": lambda: _names(COCO, _COCO_S, BACKGROUND_WORDS),
        "P": lambda: _names(COCO, {}, (BACKGROUND,)),
        "proxyclip": lambda: _names(COCO, {}, FEWER_BACKGROUND_WORDS),
        "corrclip": lambda: _names(COCO, _CALLED_PEOPLE, _WITHOUT_BED),
    },
    "VOC20": {
        "S": lambda: _names(VOC, _VOC_S),
        "P": lambda: _names(VOC, {}),
        "sfp": lambda: _names(VOC, _VOC_SFP),
        "corrclip": lambda: _names(VOC, _CALLED_PEOPLE),
        "freecp": lambda: _names(
            VOC,
            {
                "person": ("person in shirt jeans dress sweater skirt jacket",),
                "tvmonitor": ("television monitor screen",),
            },
        ),
    },
    "PC59": {
        "S": lambda: _names(CONTEXT, {}),
        "P": lambda: _names(CONTEXT, {}),
        "corrclip": lambda: _names(CONTEXT, _CALLED_PEOPLE),
    },
    "COCO-Stuff": {
        "S": lambda: _names(COCO_STUFF, {}),
        "P": lambda: _names(COCO_STUFF, {}),
        "corrclip": lambda: _names(COCO_STUFF, _CALLED_PEOPLE),
    },
    "Cityscapes": {
        "S": lambda: _names(CITYSCAPES, {}),
        "P": lambda: _names(CITYSCAPES, {}),
        "sfp": lambda: _names(CITYSCAPES, _CALLED_PEOPLE),
        "corrclip": lambda: _names(CITYSCAPES, _CALLED_PEOPLE),
    },
    "ADE20K": {
        "S": lambda: _names(ADE20K, {}),
        "P": lambda: _names(ADE20K, {}),
        "corrclip": lambda: _names(ADE20K, _CALLED_PEOPLE),
    },
}

VOCABULARIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {key: tuple(made) for key, made in _MADE.items()}
)
"""Benchmark -> its naming variants, "S" and "P" first."""


def vocabulary(benchmark: str, variant: str = "S") -> Names:
    """The classes of a benchmark with the words that a family of programs uses for them.

    Args:
        benchmark: "VOC21", "PC60", "COCO-Object", "VOC20", "PC59", "COCO-Stuff", "Cityscapes" or "ADE20K".
        variant: "S" with SCLIP's synonyms, "P" plain names; "proxyclip", "sfp", "corrclip", "freecp" where those
            repositories have words of their own (for Cityscapes "corrclip" is its first version). Only VOC and
            COCO-Object have synonyms: elsewhere "S" and "P" are the same.

    The vocabulary of COCO-Object has bed both as a thing and, in "S" and "proxyclip", as a background word: its bed
    can never be found, here as in the published programs; `Names.notes` says so.

    Raises:
        ValueError: another benchmark or variant.

    Example:
        >>> len(vocabulary("VOC21")), len(vocabulary("VOC21").queries)
        (21, 56)
    """
    if benchmark not in _MADE:
        raise ValueError(f"benchmark {benchmark!r} is not known; give one of {', '.join(_MADE)}.")
    variants = _MADE[benchmark]
    if variant not in variants:
        raise ValueError(f"{benchmark} has no names {variant!r}; give one of {', '.join(variants)}.")
    return variants[variant]()
