"""Render the sprite atlas of the emoji world from Noto Color Emoji.

Run once, by a maintainer; users need neither the font nor this script:

    apt-get install fonts-noto-color-emoji
    python scripts/make_atlas.py --font /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf

Writes `src/clipsight/assets/emoji_atlas.png` (RGBA, one cell per sprite, row-major) and `emoji_atlas.json` (names in
the order of the cells). Noto Color Emoji: Copyright Google Inc., SIL Open Font License 1.1 (font),
Apache License 2.0 (artwork); https://github.com/googlefonts/noto-emoji.
"""
# ruff: noqa: E501 - an emoji counts as two columns

import argparse
import json
import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CELL = 96
COLUMNS = 16
STRIKE = 109  # the one bitmap size that the font carries

SPRITES = {
    "animal": """dog 🐶|cat 🐱|mouse 🐭|rabbit 🐰|fox 🦊|bear 🐻|panda 🐼|koala 🐨|tiger 🐯|lion 🦁|cow 🐮|pig 🐷|frog 🐸
        monkey 🐵|chicken 🐔|penguin 🐧|duck 🦆|owl 🦉|wolf 🐺|horse 🐴|unicorn 🦄|bee 🐝|butterfly 🦋|snail 🐌|ladybug 🐞
        spider 🕷|scorpion 🦂|turtle 🐢|snake 🐍|lizard 🦎|octopus 🐙|squid 🦑|shrimp 🦐|lobster 🦞|crab 🦀|fish 🐟
        dolphin 🐬|whale 🐳|shark 🦈|crocodile 🐊|zebra 🦓|gorilla 🦍|elephant 🐘|camel 🐫|giraffe 🦒|kangaroo 🦘|sheep 🐑
        peacock 🦚|parrot 🦜|swan 🦢|flamingo 🦩|hedgehog 🦔|bat 🦇|squirrel 🐿|sloth 🦥""",
    "food": """apple 🍏|pear 🍐|tangerine 🍊|lemon 🍋|banana 🍌|watermelon 🍉|strawberry 🍓|peach 🍑|pineapple 🍍|coconut 🥥
        tomato 🍅|eggplant 🍆|avocado 🥑|broccoli 🥦|cucumber 🥒|corn 🌽|carrot 🥕|potato 🥔|mushroom 🍄|croissant 🥐
        pretzel 🥨|cheese 🧀|egg 🥚|hamburger 🍔|pizza 🍕|hot dog 🌭|sandwich 🥪|taco 🌮|ice cream 🍦|donut 🍩|cookie 🍪
        birthday cake 🎂|cupcake 🧁|lollipop 🍭|wine glass 🍷|beer mug 🍺|coffee cup ☕""",
    "vehicle": """car 🚗|taxi 🚕|bus 🚌|ambulance 🚑|fire truck 🚒|tractor 🚜|bicycle 🚲|motorcycle 🏍|scooter 🛵
        steam train 🚂|airplane ✈|rocket 🚀|helicopter 🚁|sailboat ⛵|ship 🚢|flying saucer 🛸""",
    "object": """watch ⌚|phone 📱|laptop 💻|printer 🖨|camera 📷|television 📺|radio 📻|light bulb 💡|candle 🕯|book 📕
        pencil ✏|paintbrush 🖌|key 🔑|hammer 🔨|axe 🪓|wrench 🔧|gear ⚙|magnet 🧲|microscope 🔬|telescope 🔭|syringe 💉
        bed 🛏|chair 🪑|toilet 🚽|bathtub 🛁|shopping cart 🛒|broom 🧹|gift 🎁|balloon 🎈|trophy 🏆|crown 👑|ring 💍
        diamond 💎|top hat 🎩|shirt 👕|dress 👗|sneaker 👟|boot 👢|high heel 👠|backpack 🎒|handbag 👜|umbrella ☂
        guitar 🎸|violin 🎻|trumpet 🎺|drum 🥁|microphone 🎤|bell 🔔|soccer ball ⚽|basketball 🏀|football 🏈|tennis racket 🎾
        dart board 🎯|kite 🪁|teddy bear 🧸|alarm clock ⏰|hourglass ⏳|anchor ⚓|padlock 🔒|bomb 💣|envelope ✉""",
    "nature": """tree 🌳|pine tree 🌲|palm tree 🌴|cactus 🌵|sunflower 🌻|tulip 🌷|rose 🌹|maple leaf 🍁|clover 🍀|sun ☀
        moon 🌙|star ⭐|cloud ☁|rainbow 🌈|snowflake ❄|snowman ⛄|fire 🔥|water drop 💧|volcano 🌋""",
}


def entries() -> list[tuple[str, str, str]]:
    """(name, emoji, group) of every sprite, in the order of the cells."""
    rows = [
        (*item.strip().rsplit(" ", 1), group)
        for group, text in SPRITES.items()
        for line in text.splitlines()
        for item in line.split("|")
    ]
    names = [name for name, _, _ in rows]
    if len(set(names)) != len(names):
        raise SystemExit(f"double names: {sorted(n for n in names if names.count(n) > 1)}")
    return [(name.strip(), char, group) for name, char, group in rows]


def sprite(char: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The emoji, cropped to its ink and centred in a square cell."""
    canvas = Image.new("RGBA", (200, 200))
    ImageDraw.Draw(canvas).text((20, 20), char, font=font, embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise SystemExit(f"the font has no picture for {char!r}")
    ink = canvas.crop(box)
    scale = (CELL - 2) / max(ink.size)
    ink = ink.resize(
        (max(1, round(ink.width * scale)), max(1, round(ink.height * scale))), Image.Resampling.LANCZOS
    )
    cell = Image.new("RGBA", (CELL, CELL))
    cell.paste(ink, ((CELL - ink.width) // 2, (CELL - ink.height) // 2))
    return cell


def main() -> None:
    """Write the atlas and its index."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--font", required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "src/clipsight/assets")
    args = parser.parse_args()
    font = ImageFont.truetype(args.font, STRIKE)
    rows = entries()
    atlas = Image.new("RGBA", (COLUMNS * CELL, math.ceil(len(rows) / COLUMNS) * CELL))
    for index, (_, char, _) in enumerate(rows):
        atlas.paste(sprite(char, font), (index % COLUMNS * CELL, index // COLUMNS * CELL))
    atlas.save(args.out / "emoji_atlas.png", optimize=True)
    index = {
        "source": "Noto Color Emoji (Debian package fonts-noto-color-emoji), https://github.com/googlefonts/noto-emoji",
        "licence": "font: SIL Open Font License 1.1; artwork: Apache License 2.0; Copyright Google Inc.",
        "cell": CELL,
        "columns": COLUMNS,
        "sprites": [{"name": name, "emoji": char, "group": group} for name, char, group in rows],
    }
    (args.out / "emoji_atlas.json").write_text(
        json.dumps(index, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
