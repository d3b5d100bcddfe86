"""`clipsight words`: which words of a caption carry its match with the image?"""

import json as json_module
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from clipsight.cli.batch import Told, answer_each
from clipsight.cli.options import Images, OutputOptions, ResolutionWord, Several, read_resolution
from clipsight.cli.outcome import UsageError, terminal
from clipsight.cli.paths import find_pictures, plan_outputs
from clipsight.cli.progress import waiting
from clipsight.cli.registry import verb
from clipsight.cli.texts import one_text, pictures_among
from clipsight.cli.words_report import CORPUS, MODELS, CorpusReport, WordsModels, report_words

if TYPE_CHECKING:
    from clipsight.results.words import WordAttribution
    from clipsight.session.lens import Lens

_GENERAL = ("contrast", "scale", "similarity")
"""Options of every method; see `clipsight.attribution.attribute`."""
_CHARACTERS = re.compile(r"(\d+):(\d+)")
MOST = 5
"""Words in a verdict."""

# Not `TextWords`: --label names models here.
Caption = Annotated[tuple[str, ...], Parameter(name=("--text", "-t"), show_default=False)]


@verb(20)
def words(
    images: Images = (),
    /,
    *,
    text: Caption = (),
    against: Several = (),
    method: str = "attention",
    option: Several = (),
    span: Several = (),
    roles: Literal["auto", "rules", "textblob", "spacy", "none"] = "auto",
    units: Literal["words", "tokens", "spans"] = "words",
    merge: Literal["sum", "mean"] = "sum",
    check: bool = False,
    resolution: ResolutionWord = "native",
    corpus: CorpusReport = CORPUS,
    model: WordsModels = MODELS,
    output: OutputOptions = OutputOptions(),
) -> int:
    """Which words of a caption carry its match with the image?

    Writes `<image's stem>.words.png` and prints the words with the largest scores. The details show the caption in
    colour, each word with its role and score, and what the scores do not mean. With --corpus instead of images it
    measures, over many captions, whether objects receive the attribution that relations and attributes should have.

    Args:
        text: The caption, in quotation marks.
        against: Foils, captions that are wrong: which words tell them apart from the caption?
        method: Attribution, such as `attention`, `gradcam` or `perturbation`; `clipsight methods` lists all.
        option: Options of the method, such as `layers=all` or `op=drop`.
        span: Phrases of the caption to score as well, as text or as characters such as `2:9`.
        roles: How to find objects, attributes and relations; `rules` needs no extra package. `auto` uses the roles that
            a --corpus brings, else the rules.
        units: What to remove together, for methods that remove words.
        merge: How token scores become word scores: `sum` keeps totals, `mean` suits scores that are norms.
        check: Also check sanity: do the scores change with the model's weights, and does a second method agree?
    """
    moved, captions = pictures_among(text)
    caption = one_text(captions, "a red car left of a dog")
    if corpus.corpus is not None:
        if images or moved or caption is not None:
            raise UsageError("--corpus replaces images and --text; leave these out.")
        if against or option or span or check or method != "attention":
            raise UsageError(
                "--against, --method, --option, --span and --check need an image; for --corpus see --methods."
            )
        return report_words(corpus, model, output, roles=roles)
    corpus.refuse_alone()
    if not (images or moved) or caption is None:
        raise UsageError(
            'give an image and its caption, such as clipsight words dog.jpg -t "a brown dog", or many captions with '
            "--corpus FILE --report out.html."
        )
    size, phrases, options = read_resolution(resolution), spans_of(caption, span), _options(option)
    _check_method(method, options)

    def ask(lens: "Lens", picture: str) -> "WordAttribution":
        return lens.words(
            picture,
            caption,
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

    plan = plan_outputs(find_pictures((*images, *moved)), "words", output)
    return answer_each(plan, output, open_lens=model.one().open, ask=ask, tell=_tell)


def _tell(found: "WordAttribution") -> Told:
    from clipsight.draw import number

    ranked = sorted(found.words, key=lambda word: -abs(word.score) if word.score == word.score else 0.0)
    said = [f"{word.text} {'+' if word.score > 0 else ''}{number(word.score)}" for word in ranked[:MOST]]
    more = f", and {len(ranked) - MOST} more" if len(ranked) > MOST else ""
    return Told(
        verdict=", ".join(said) + more,
        details=lambda: terminal().print(found),
        notes=found.provenance.notes,
    )


def spans_of(text: str, given: Sequence[str]) -> list[str | tuple[int, int]]:
    """Phrases as they are, `2:9` as characters unless the caption itself says so.

    Raises:
        UsageError: one that the caption does not have.
    """
    from clipsight.language.spans import find_phrases

    found: list[str | tuple[int, int]] = []
    for one in given:
        place = None if one in text else _CHARACTERS.fullmatch(one)
        found.append(one if place is None else (int(place[1]), int(place[2])))
    try:
        find_phrases(text, found)
    except ValueError as error:
        raise UsageError(f"--span: {error}") from error
    return found


def _options(given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value is read as JSON where it is valid JSON, else as a word.

    Raises:
        UsageError: something else.
    """
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.strip().isidentifier():
            raise UsageError(f"--option {one} is not NAME=VALUE; write it as in --option layers=all.")
        try:
            found[name.strip()] = json_module.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found


def _check_method(method: str, options: dict[str, Any]) -> None:
    """Refuse what no image can change, before a model is loaded.

    Raises:
        UsageError: there is no such method, or it has no such option.
    """
    with waiting():
        from clipsight.attribution import get_attribution
    try:
        get_attribution(method).checked({name: options[name] for name in options if name not in _GENERAL})
    except ValueError as error:
        raise UsageError(f"--method: {error}") from error
    except TypeError as error:
        raise UsageError(f"--option: {error}") from error
