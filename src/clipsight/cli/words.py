"""`clipsight words`: which words of a caption carry its match with the picture?"""

import json as json_module
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.markup import escape

from clipsight.cli.batch import answer_each
from clipsight.cli.options import OutputOptions, Repeated, read_resolution
from clipsight.cli.outcome import Misuse, side_terminal, terminal
from clipsight.cli.paths import find_pictures, plan_outputs
from clipsight.cli.words_report import CORPUS, MODELS, CorpusReport, WordsModels, report_words

if TYPE_CHECKING:
    from clipsight.results.words import WordAttribution
    from clipsight.session.lens import Lens

_GENERAL = ("contrast", "scale", "similarity")
"""Options of every method; see `clipsight.attribution.attribute`."""
_CHARACTERS = re.compile(r"(\d+):(\d+)")


def words(
    images: list[str] | None = None,
    /,
    *,
    text: str | None = None,
    against: Repeated = (),
    method: str = "attention",
    option: Repeated = (),
    span: Repeated = (),
    roles: Literal["auto", "rules", "textblob", "spacy", "none"] = "auto",
    units: Literal["words", "tokens", "spans"] = "words",
    merge: Literal["sum", "mean"] = "sum",
    check: bool = False,
    resolution: str = "native",
    corpus: CorpusReport = CORPUS,
    model: WordsModels = MODELS,
    output: OutputOptions = OutputOptions(),  # noqa: B008 - frozen
    json: bool = False,
) -> int:
    """Which words of a caption carry its match with the picture?

    Writes `<picture's stem>.words.png` and prints the caption in colour, each word with its role and score, and what
    the scores are not. With --corpus instead of pictures: do objects take the attribution that relations and attributes
    should have, over many captions?

    Args:
        images: Pictures, or patterns such as "photos/*.jpg".
        text: The caption.
        against: A foil, a caption that is wrong: which words tell the two apart? Repeat it for each foil.
        method: `attention`, `gradcam`, `perturbation`, `gradient`, `integrated_gradients`, `chefer`, `grad_eclip`,
            `legrad`, `shapley`.
        option: An option of the method, such as `layers=all` or `op=drop`; repeat it for each.
        span: A phrase of the caption to add up as well, or its characters such as `2:9`; repeat it for each.
        roles: Who says which words are objects, attributes and relations; `rules` needs nothing installed. `auto` is
            what a --corpus says itself, else the rules.
        units: What methods that take words out take out together.
        merge: How tokens become words: `sum` keeps totals, `mean` suits scores that are norms.
        check: Also measure sanity: do the scores change with the model's weights, does a second method agree?
        resolution: `native` keeps the aspect, `square` stretches, both at the model's own size; 448 is a short
            side, 336x448 height by width.
        json: Print one JSON document on standard output and nothing else.
    """
    if corpus.corpus is not None:
        if images or text is not None:
            raise Misuse("--corpus takes the place of pictures and --text; leave these out.")
        if against or option or span or check or method != "attention":
            raise Misuse(
                "--against, --method, --option, --span and --check go with a picture; see --methods for --corpus."
            )
        return report_words(corpus, model, roles=roles, overwrite=output.overwrite, json=json)
    corpus.refuse_alone()
    if not images or text is None:
        raise Misuse(
            'give a picture and its caption, as in clipsight words dog.jpg --text "a brown dog"; or many captions with '
            "--corpus FILE --report out.html."
        )
    if not text.strip():
        raise Misuse('--text is blank; give the caption, such as --text "a red car left of a dog".')
    size, phrases, options = read_resolution(resolution), _spans(text, span), _options(option)
    _check_method(method, options)

    def ask(lens: "Lens", picture: str) -> "WordAttribution":
        return lens.words(
            picture,
            text,
            method,
            list(against) or None,
            phrases or None,
            {"none": None, "auto": "rules"}.get(roles, roles),
            units=units,
            merge=merge,
            check=check,
            resolution=size,
            **options,
        )

    plan = plan_outputs(find_pictures(images), "words", output)
    return answer_each(
        plan, open_lens=model.one().open, ask=ask, show=_show, overwrite=output.overwrite, as_json=json
    )


def _show(picture: str, attribution: "WordAttribution", files: Sequence[Path]) -> None:
    console = terminal()
    console.print(f"[bold]{escape(picture)}[/bold] -> {escape(', '.join(map(str, files)))}")
    console.print(attribution)
    for note in attribution.provenance.notes:
        console.print(f"  note: {escape(note)}", style="dim")


def _spans(text: str, given: Sequence[str]) -> list[str | tuple[int, int]]:
    """Phrases as they are, `2:9` as characters unless the caption itself says so.

    Raises:
        Misuse: one that the caption does not have.
    """
    from clipsight.language.spans import find_phrases

    found: list[str | tuple[int, int]] = []
    for one in given:
        place = None if one in text else _CHARACTERS.fullmatch(one)
        found.append(one if place is None else (int(place[1]), int(place[2])))
    try:
        find_phrases(text, found)
    except ValueError as error:
        raise Misuse(f"--span: {error}") from error
    return found


def _options(given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value is read as JSON where it is some, else as a word.

    Raises:
        Misuse: something else.
    """
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.strip().isidentifier():
            raise Misuse(f"--option {one} is not NAME=VALUE; write it as in --option layers=all.")
        try:
            found[name.strip()] = json_module.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found


def _check_method(method: str, options: dict[str, Any]) -> None:
    """Refuse what no picture can change, before a model is loaded.

    Raises:
        Misuse: no such method, or one without such an option.
    """
    with side_terminal().status("starting ..."):
        from clipsight.attribution import get_attribution
    try:
        get_attribution(method).checked({name: options[name] for name in options if name not in _GENERAL})
    except ValueError as error:
        raise Misuse(f"--method: {error}") from error
    except TypeError as error:
        raise Misuse(f"--option: {error}") from error
