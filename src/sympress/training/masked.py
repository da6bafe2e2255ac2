"""An encoder with a masked-language head, and the masks it learns from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    AutoModelForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import BaseModelOutput

from sympress.errors import InputError
from sympress.training.loss import IGNORED
from sympress.training.pretrained import quiet_transformers


class Masking:
    """Which word pieces are chosen and what they become, drawn by transformers' collator.

    15 % are chosen, of which 80 % become the mask token and 10 % a random piece (Devlin et al. 2019); special
    tokens (padding, separators, unknown) never are. Without a seed the draws come from PyTorch's own random
    state, which the trainer's checkpoints hold.

    Raises:
        InputError: the tokenizer has no mask token.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, encoder: PreTrainedModel, seed: int | None = None
    ) -> None:
        if tokenizer.mask_token_id is None:
            raise InputError("this tokenizer has no mask token, so its encoder cannot be adapted")
        self._special = sorted(int(special) for special in tokenizer.all_special_ids)
        self._last = int(encoder.config.vocab_size) - 1  # a tokenizer may know more pieces than the encoder
        self._collator = DataCollatorForLanguageModeling(tokenizer, seed=seed)
        if seed is not None:
            self._collator.create_rng()

    def has_words(self, ids: NDArray[np.int64]) -> bool:
        """True if a note has a word piece that may be chosen."""
        return bool((~np.isin(ids, self._special)).any())

    def apply(self, ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mask `ids` `(batch, tokens)`, at least one of a batch that has words.

        Returns:
            The masked ids, and which were chosen, both `(batch, tokens)`.
        """
        barred = torch.isin(ids, torch.tensor(self._special, device=ids.device)) | (attention_mask == 0)
        while True:
            masked, labels = self._collator.torch_mask_tokens(
                ids.cpu().clone(), special_tokens_mask=barred.cpu()
            )
            chosen = labels != IGNORED
            if chosen.any() or barred.all():
                return masked.clamp(max=self._last).to(ids.device), chosen.to(ids.device)


class _ChosenStates(nn.Module):
    """Stands where a masked-language model has its encoder and hands on the chosen states alone."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.chosen: Tensor | None = None

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_nothing_else: Any,
    ) -> BaseModelOutput:
        """Return states `(1, chosen, hidden)`."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return BaseModelOutput(last_hidden_state=states[self.chosen].unsqueeze(0))


class MaskedLanguageModel(nn.Module):
    """`encoder` under the head of its architecture's masked-language model.

    The head sees the chosen word pieces only: a vocabulary of logits for all of them would be most of the
    work. Weights that the head shares with the embeddings stand once in the state.
    """

    symptoms = 0  # it tells none apart: whoever predicts symptoms with it gets none

    def __init__(self, encoder: PreTrainedModel, head: PreTrainedModel) -> None:
        super().__init__()
        self.states = _ChosenStates(encoder)
        setattr(head, head.base_model_prefix, self.states)
        self.head = head
        first: dict[int, str] = {}
        self._aliases = {
            name: first[id(weight)]
            for name, weight in self.named_parameters(remove_duplicate=False)
            if first.setdefault(id(weight), name) != name
        }
        self.register_state_dict_post_hook(_drop_aliases)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_add_aliases)  # type: ignore[no-untyped-call]

    @property
    def encoder(self) -> PreTrainedModel:
        """What is adapted."""
        return self.states.encoder

    def let_learn_(self, *, encoder: bool) -> None:
        """Let either the encoder learn or the rest; embeddings that both use are the encoder's."""
        for weight in self.parameters():
            weight.requires_grad = not encoder
        self.encoder.requires_grad_(requires_grad=encoder)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, chosen: Tensor) -> Tensor:
        """Logits `(chosen, vocabulary)` of the word pieces where `chosen` `(batch, tokens)` is True."""
        self.states.chosen = chosen
        logits: Tensor = self.head(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits.squeeze(0)


def _drop_aliases(module: Any, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    for alias in module._aliases:
        state.pop(prefix + alias, None)


def _add_aliases(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for alias, name in module._aliases.items():
        state[prefix + alias] = state[prefix + name]


def masked_language_model(
    encoder: PreTrainedModel, head_from: str | None, seed: int
) -> tuple[MaskedLanguageModel, bool]:
    """`encoder` itself under a head, and whether the head is fresh.

    The head comes from the checkpoint `head_from` where that holds one, else from `seed`; a fresh one
    shares its output matrix with the word embeddings (Press and Wolf 2017).

    Raises:
        InputError: transformers knows no masked-language head for this architecture or shape.
    """
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        head, fresh = _stored_head(head_from) if head_from else (None, True)
        if head is None:
            head = _fresh_head(encoder)
    output, table = head.get_output_embeddings(), encoder.get_input_embeddings()
    shapes = [getattr(getattr(module, "weight", None), "shape", None) for module in (output, table)]
    if shapes[0] is None or shapes[0] != shapes[1]:
        raise InputError("only a whole encoder can be adapted, before anything is removed from it")
    if fresh or getattr(encoder.config, "tie_word_embeddings", True):
        output.weight = table.weight
    return MaskedLanguageModel(encoder, head), fresh


def _stored_head(source: str) -> tuple[PreTrainedModel | None, bool]:
    try:
        head, info = AutoModelForMaskedLM.from_pretrained(
            source, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    except (OSError, ValueError):
        return None, True
    prefix = head.base_model_prefix + "."
    return head, any(not name.startswith(prefix) for name in info["missing_keys"])


def _fresh_head(encoder: PreTrainedModel) -> PreTrainedModel:
    try:
        head: PreTrainedModel = AutoModelForMaskedLM.from_config(encoder.config)
    except ValueError as error:
        raise InputError(
            f"architecture {encoder.config.model_type!r} has no masked-language head in transformers, so it "
            "cannot be adapted"
        ) from error
    return head
