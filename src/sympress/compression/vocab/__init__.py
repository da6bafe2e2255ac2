"""The step `vocab`: smaller embedding tables, of fewer word pieces and positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from sympress.compression.recipe import ShareOrCount, Step, Trial, share_or_count

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sympress.compression.recipe.material import Context, State
    from sympress.compression.search.estimate import ModelShape


#: No search keeps fewer word pieces than this, where the teacher has as many.
FEWEST_PIECES = 2000


class Vocab(Step):
    """Keep the rows of the embeddings that notes read: word pieces, and the positions of the longest input.

    Attributes:
        keep: a share of the pieces (float, above 0, at most 1) or how many (int, 2 or more).
        positions: `read` keeps those of the longest input (`max_tokens`), `all` the whole table.
    """

    first: ClassVar[str | None] = "keep"
    step: Literal["vocab"] = "vocab"
    keep: ShareOrCount
    positions: Literal["read", "all"] = "read"

    def check_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Refuse a tokenizer that cannot be trimmed, and fewer pieces than those that always stay."""
        from sympress.compression.vocab.trim import choose_pieces, count_pieces

        choose_pieces(tokenizer, count_pieces(tokenizer, ()), self.keep)

    def apply(self, state: State, context: Context, number: int) -> str:
        """Keep the rows that training and transfer notes read; the teacher's go alike."""
        from sympress.compression.vocab.trim import choose_pieces, count_pieces, trim_vocabulary_

        material = context.material
        counts = count_pieces(state.tokenizer, [*material.training, *material.transfer])
        kept = choose_pieces(state.tokenizer, counts, self.keep)
        trimmed = trim_vocabulary_(state.model, state.tokenizer, kept.ids)
        if state.teacher is not state.model:
            trim_vocabulary_(state.teacher, state.tokenizer, kept.ids)
        state.tokenizer = trimmed
        said = (
            f"{len(kept.ids):,} of {kept.vocabulary:,} word pieces stay; {kept.coverage:.1%} of the notes' "
            "pieces are among them, the others split further"
        )
        return said + (_cut_positions(state, material.max_tokens) if self.positions == "read" else "")

    def reshape(self, shape: ModelShape) -> ModelShape:
        """Fewer word pieces and positions."""
        read = shape.positions if self.positions == "all" else shape.positions_read
        return replace(
            shape,
            vocabulary=min(share_or_count(self.keep, shape.vocabulary), shape.vocabulary),
            positions=shape.positions if read is None else min(read, shape.positions),
        )

    @classmethod
    def suggest(cls, trial: Trial, teacher: ModelShape, steps: Sequence[Step]) -> tuple[Step, ...]:
        """How many word pieces stay, from few to all."""
        least = min(FEWEST_PIECES, teacher.vocabulary)
        pieces = trial.suggest_int("pieces", least, teacher.vocabulary, log=True)
        return (*steps, cls(keep=pieces)) if pieces < teacher.vocabulary else tuple(steps)


def _cut_positions(state: State, max_tokens: int) -> str:
    """Cut the positions of model and teacher, and tell the tokenizer how long an input may be."""
    from sympress.compression.vocab.trim import cut_positions_

    rows, kept = cut_positions_(state.model, max_tokens)
    if state.teacher is not state.model:
        cut_positions_(state.teacher, max_tokens)
    if kept == rows:
        return ""
    state.tokenizer.model_max_length = min(max_tokens, int(state.tokenizer.model_max_length))
    return f"; {kept:,} of {rows:,} positions stay, those of inputs of {max_tokens:,} pieces"
