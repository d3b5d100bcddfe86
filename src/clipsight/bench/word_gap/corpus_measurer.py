"""One model asked about some captions: scores of their words, and what it does when words go or are replaced."""

import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution import attribute
from clipsight.bench.composition.encoder import LensEncoder
from clipsight.bench.word_gap.caption import CorpusCaption
from clipsight.bench.word_gap.columns import Column
from clipsight.bench.word_gap.part import GROUPS, MARK, REMOVALS, MeasuredPart
from clipsight.bench.word_gap.tally import MEMBERS
from clipsight.errors import ClipsightWarning, PictureError, Unsupported
from clipsight.language.reading import ReadCaption, read_captions
from clipsight.pictures import read_picture
from clipsight.records import Malformed
from clipsight.roles.schema import CaptionRoles, find_words
from clipsight.session.lens import Lens
from clipsight.towers.encode_texts import encode_texts
from clipsight.towers.families import towers_of


class CorpusMeasurer:
    """Asks one model.

    Args:
        lens: the model. columns: what is asked.
        batch: pictures, and captions, in one pass: the memory knob.

    Raises:
        Unsupported: the model has no tokenizer.
    """

    def __init__(self, lens: Lens, columns: Sequence[Column], batch: int = 32) -> None:
        if lens.loaded.tokenizer is None:
            raise Unsupported(
                f"{lens.loaded.name} has no tokenizer, so that its tokens are no words; load it with its own tokenizer."
            )
        self._encoder, self._columns, self._batch = LensEncoder(lens), columns, batch
        self._view, self._tokenizer = towers_of(lens.module).text, lens.loaded.tokenizer
        # Towers that read padding too need to know what fills up a text that was shortened.
        self._padding = int(self._read("a").ids[-1])

    def ask(self, captions: Sequence[CorpusCaption]) -> MeasuredPart:
        """Everything that is asked of these captions; those whose picture cannot be read are left out and named."""
        pictures, broken = self._pictures(captions)
        captions = [one for one in captions if one.cluster not in broken]
        features = None
        if pictures and captions:
            features = torch.stack([pictures[one.cluster] for one in captions])
        read = [self._read(one.caption) for one in captions]
        words = [_CaptionWords(caption, one.roles) for caption, one in zip(read, captions, strict=True)]
        scores = [np.zeros((0, len(self._columns)), np.float32)]
        for start in range(0, len(captions), self._batch):
            some = slice(start, start + self._batch)
            scores += self._scores(read[some], words[some], None if features is None else features[some])
        similarity, removed, foils = self._behaviour(captions, words, features)
        return MeasuredPart(
            captions=tuple(one.caption for one in captions),
            clusters=tuple(one.cluster for one in captions),
            caption=np.repeat(np.arange(len(words)), [len(one.pieces) for one in words]),
            role=np.array([role for one in words for role in one.roles], np.int64),
            words=tuple(piece.text for one in words for piece in one.pieces),
            position=np.array([place for one in words for place in one.positions], float),
            pieces=np.array([count for one in words for count in one.counts], float),
            scores=np.concatenate(scores),
            similarity=similarity,
            removed=removed,
            foil_of=np.array([row for row, _, _ in foils], np.int64),
            foil_kinds=tuple(kind for _, kind, _ in foils),
            foil_drops=np.array([drop for _, _, drop in foils], float),
            cut=sum(bool(one.found.dropped) for one in read),
            broken=tuple(map(str, broken.values())),
        )

    def _pictures(
        self, captions: Sequence[CorpusCaption]
    ) -> tuple[dict[str, Float[Tensor, " E"]], dict[str, Malformed]]:
        """Features at unit length by cluster, and what is wrong with the pictures that have none."""
        first: dict[str, CorpusCaption] = {}
        for one in captions:
            if one.picture is not None:
                first.setdefault(one.cluster, one)
        found: dict[str, Tensor] = {}
        broken: dict[str, Malformed] = {}
        ready = []
        for cluster, one in first.items():
            assert one.picture is not None
            try:
                ready.append((cluster, self._encoder.view(read_picture(one.picture))))
            except (PictureError, FileNotFoundError) as error:
                broken[cluster] = Malformed(file=one.file, line=one.line, reason=str(error))
            if len(ready) == self._batch:
                self._encode(ready, found)
        self._encode(ready, found)
        return found, broken

    def _encode(self, ready: list, found: dict[str, Tensor]) -> None:
        if ready:
            made = F.normalize(self._encoder.pictures([picture for _, picture in ready]).float(), dim=-1)
            found |= {cluster: row for (cluster, _), row in zip(ready, made, strict=True)}
            ready.clear()

    def _read(self, caption: str) -> ReadCaption:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ClipsightWarning)  # how many were cut is counted
            return read_captions(self._tokenizer, [caption], self._view.context).each[0]

    def _scores(
        self,
        read: Sequence[ReadCaption],
        words: Sequence["_CaptionWords"],
        features: Float[Tensor, "T E"] | None,
    ) -> Iterator[Float[np.ndarray, "W M"]]:
        """Of each caption, the scores of its words and marks: those of their tokens, summed."""
        ids, content = torch.stack([one.ids for one in read]), torch.stack([one.content for one in read])
        groups = [[group for group in one.groups if group] for one in read]
        found = []
        for column in self._columns:
            options = dict(column.options)
            if options.get("op") == "drop":
                options["pad_id"] = self._padding
            given = attribute(
                self._view,
                ids,
                features,
                method=column.method,
                content=content,
                spans=groups if column.together else None,
                batch=self._batch,
                **options,
            )
            found.append(given.scores.double().cpu())
        for row, one in enumerate(words):
            # Methods answer at the length that they need: what is missing behind holds no words.
            columns = [one.table[:, : scores.shape[1]] @ scores[row] for scores in found]
            yield (
                torch.stack(columns, 1).float().numpy()
                if columns
                else np.zeros((len(one.pieces), 0), np.float32)
            )

    def _behaviour(
        self,
        captions: Sequence[CorpusCaption],
        words: Sequence["_CaptionWords"],
        features: Float[Tensor, "N E"] | None,
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N 4"], list[tuple[int, str, float]]]:
        """Similarities, falls by removal, and (caption, kind, fall) of foils."""
        without = [[one.without(group) for group in REMOVALS] for one in words]
        foils = [(row, foil) for row, one in enumerate(captions) for foil in one.foils]
        texts = [one.caption for one in captions]
        texts += [text for each in without for text in each if text is not None]
        texts += [text for _, foil in foils for text in (foil.caption, foil.foil)]
        said = self._texts(texts)

        def fall(row: int, before: str, after: str) -> float:
            if features is None:
                return float(1 - said[before] @ said[after])
            return float(features[row] @ (said[before] - said[after]))

        similarity = np.full(len(captions), np.nan)
        removed = np.full((len(captions), len(REMOVALS)), np.nan)
        for row, (one, each) in enumerate(zip(captions, without, strict=True)):
            if features is not None:
                similarity[row] = float(features[row] @ said[one.caption])
            for place, text in enumerate(each):
                if text is not None:
                    removed[row, place] = fall(row, one.caption, text)
        return (
            similarity,
            removed,
            [(row, foil.kind, fall(row, foil.caption, foil.foil)) for row, foil in foils],
        )

    def _texts(self, texts: Sequence[str]) -> Mapping[str, Float[Tensor, " E"]]:
        """Features at unit length."""
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ClipsightWarning)
            made = encode_texts(self._view, self._tokenizer, distinct)
        return dict(zip(distinct, F.normalize(made.float(), dim=-1), strict=True))


class _CaptionWords:
    """The words and marks that the model sees of a caption.

    Attributes:
        pieces: in order. table: of each, its share of each token. roles: numbers of `GROUPS`.
        positions: 0 for the first word to 1 for the last. counts: tokens, shared ones in part.
    """

    def __init__(self, read: ReadCaption, roles: CaptionRoles) -> None:
        self.caption, self.pieces, self.table = read.caption, read.parts, read.table
        named = {word.start: role for word, role in zip(roles.words, roles.roles, strict=True)}
        self.roles = [
            GROUPS.index(named.get(piece.start, "other")) if piece.kind == "word" else MARK
            for piece in self.pieces
        ]
        at = np.cumsum([role != MARK for role in self.roles]) - 1
        self.positions = [max(int(place), 0) / max(int(at[-1]), 1) for place in at]
        self.counts = self.table.sum(1).tolist()

    def without(self, group: str) -> str | None:
        """The caption with the words of a group deleted; None when it has none of them, or nothing else."""
        gone = [piece for piece, role in zip(self.pieces, self.roles, strict=True) if role in MEMBERS[group]]
        text, at = "", 0
        for piece in gone:
            text += self.caption[at : piece.start]
            at = piece.end
        text = " ".join((text + self.caption[at:]).split())
        return text if gone and find_words(text) else None
