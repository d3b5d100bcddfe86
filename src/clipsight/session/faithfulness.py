"""Do the scores of a caption's words predict how the match changes when words are removed?"""

from clipsight.attribution.faithfulness import Faithfulness, faithfulness, word_game
from clipsight.attribution.variants import Operator
from clipsight.language.reading import read_captions
from clipsight.results import WordAttribution
from clipsight.session.encoded import EncodedPicture


def measure_faithfulness(
    seen: EncodedPicture, attribution: WordAttribution, removal: Operator = "zero_emb"
) -> Faithfulness:
    """How faithful the words' scores are; see `Lens.faithfulness` for the arguments."""
    engine = seen.engine
    read = read_captions(engine.loaded.tokenizer, (attribution.caption,), engine.text_view.context)
    own = read.each[0].words
    if [part.text for part, _ in own] != [word.text for word in attribution.words]:
        raise ValueError(
            "the words of this attribution are not those that this model reads of the caption; make it with this model."
        )
    removable = [k for k, (_, group) in enumerate(own) if group]
    game = word_game(
        engine.text_view,
        read.ids,
        seen.pooled()[0].float(),
        [own[k][1] for k in removable],
        removal=removal,
        content=read.content,
    )
    return faithfulness(attribution.scores[removable], game)
