"""The step `store`: how the deployed file lies on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from sympress.compression.recipe import Exported, Step
from sympress.errors import InputError
from sympress.runtime.artifact import encode_model

if TYPE_CHECKING:
    from sympress.compression.recipe.material import Context, State


class Store(Step):
    """Code the deployed file, which is decoded when it is loaded; the last step.

    Attributes:
        coding: `entropy` gives frequent bytes short codes (Huffman's, in a gzip file).
    """

    first: ClassVar[str | None] = "coding"
    bare: ClassVar[bool] = True
    step: Literal["store"] = "store"
    coding: Literal["entropy"] = "entropy"

    @property
    def needs_notes(self) -> bool:
        """It reads no note."""
        return False

    def check_place(self, before: Sequence[Step], after: Sequence[Step]) -> None:
        """It acts on the finished file."""
        if not all(step.fuses for step in after):
            raise InputError("store must be the last step: it codes the file that the others make")

    def apply(self, state: State, context: Context, number: int) -> str:
        """Nothing is changed but the file, once it is made."""
        return "the file is entropy-coded; loading decodes it"

    def apply_to_file(self, exported: Exported) -> None:
        """Replace the file by its coded form."""
        encode_model(exported.path)
