"""Students: some of their teacher's layers, or a small fresh encoder, of its family or without attention."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from sympress.errors import InputError
from sympress.models.convolution import ConvolutionConfig, ConvolutionModel
from sympress.models.families import check_kept, family_of, keep_layers_, layers_of, spread_layers
from sympress.models.model import LowRankEmbedding, Pooling, SymptomModel

# Students that start from their teacher's layers, and which layer of the teacher each layer imitates.


LayerChoice = Literal["spread", "first", "last"]


def choose_layers(layers: int, kept: int | Sequence[int], choice: LayerChoice = "spread") -> tuple[int, ...]:
    """The teacher's layers that a student starts from, ascending.

    Args:
        layers: the teacher's.
        kept: how many, or which (ascending, counted from 0; `choice` is not looked at then).
        choice: `spread` evenly, the `first` ones (Sun et al. 2019, BERT-PKD) or the `last` ones.

    Raises:
        InputError: the count or an index is outside the teacher, or the indices do not ascend.
    """
    if isinstance(kept, int):
        check_kept(layers, kept)
        if choice == "spread":
            return spread_layers(layers, kept)
        return tuple(range(kept)) if choice == "first" else tuple(range(layers - kept, layers))
    chosen = tuple(kept)
    ascending = all(before < after for before, after in pairwise(chosen))
    if not chosen or not ascending or chosen[0] < 0 or chosen[-1] >= layers:
        raise InputError(f"student layers {list(chosen)} must ascend and lie within 0..{layers - 1}")
    return chosen


def student_of(
    teacher: SymptomModel, layers: int | Sequence[int], choice: LayerChoice = "spread"
) -> SymptomModel:
    """A copy of `teacher` with some of its transformer layers, its embeddings and its head.

    Raises:
        InputError: as `choose_layers`.
    """
    chosen = choose_layers(len(layers_of(teacher.encoder)), layers, choice)
    student = copy.deepcopy(teacher)
    keep_layers_(student.encoder, chosen)
    return student


def uniform_map(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """For each student layer the teacher layer whose states it learns, evenly spaced, last to last.

    Counted from 1, layer m of M learns layer m N / M of N (Jiao et al. 2020, section 4.1; "skip" in Sun et
    al. 2019), rounded where N / M is not whole.

    Raises:
        InputError: the student has more layers than the teacher.
    """
    check_kept(teacher_layers, student_layers)
    ratio = teacher_layers / student_layers
    return tuple(int(np.floor(layer * ratio + 0.5)) - 1 for layer in range(1, student_layers + 1))


# Narrow students: a small fresh encoder of the teacher's family on the teacher's projected embeddings.


def narrow_student(
    teacher: SymptomModel,
    *,
    layers: int,
    width: int,
    heads: int,
    ffn: int,
    seed: int,
    pooling: Pooling | None = None,
) -> SymptomModel:
    """A student of `teacher`'s family and symptoms that is narrower, not only shallower.

    Its embeddings are the teacher's, seen from their principal directions; everything else is random from
    `seed` alone. It needs training on many notes: nothing of the teacher's layers is in it.

    Args:
        teacher: not changed.
        layers: transformer layers, 1 to the teacher's.
        width: hidden size, a multiple of `heads`, at most the teacher's.
        heads: attention heads.
        ffn: feed-forward neurons a layer.
        seed: of the random weights.
        pooling: of its head; None for the teacher's.

    Raises:
        InputError: a size is impossible, or the teacher's embeddings are factorized.
    """
    tables = _tables(teacher.encoder)
    config = narrow_config(teacher.encoder, layers=layers, width=width, heads=heads, ffn=ffn)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = AutoModel.from_config(config)
        student = SymptomModel(encoder, teacher.symptoms, pooling or teacher.head.pooling)
        project_embeddings_(_tables(encoder), tables)
    return student.eval()


def convolution_student(
    teacher: SymptomModel,
    *,
    width: int,
    channels: int,
    layers: int = 1,
    kernel: int = 3,
    dilation: int = 1,
    pooling: Pooling = "maximum",
    seed: int,
) -> SymptomModel:
    """A student of `teacher`'s symptoms without attention: convolutions on its projected word vectors.

    The word vectors are the teacher's, seen from their principal directions (`project_embeddings_`) and
    scaled to a variance of 1; everything else is random from `seed` alone.

    Args:
        teacher: of any family; not changed. Its word vectors may be factorized.
        width: of the word vectors, at most the teacher's.
        channels: of each convolution; of no use where there is none.
        layers: convolutions; 0 for pooled word vectors alone.
        kernel: pieces that a convolution reads at once.
        dilation: convolution i reads pieces `dilation ** i` apart.
        pooling: of its head.
        seed: of the random weights.

    Raises:
        InputError: it is wider than the teacher's word vectors.
    """
    words = _word_vectors(teacher.encoder)
    pieces, wide = words.weight.shape
    if not 1 <= width <= wide:
        raise InputError(f"word vectors {width} wide must be 1 to {wide} wide, as the teacher's are")
    config = ConvolutionConfig(
        vocab_size=pieces,
        embedding_size=width,
        hidden_size=channels if layers else width,
        num_hidden_layers=layers,
        kernel_size=kernel,
        dilation=dilation,
        pad_token_id=words.padding_idx,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ConvolutionModel(config)
        student = SymptomModel(encoder, teacher.symptoms, pooling)
        table = cast("nn.Embedding", encoder.word_embeddings)
        project_embeddings_({"words": table}, {"words": words})
    with torch.no_grad():
        spread = table.weight.std()
        table.weight.div_(spread if spread > 0 else 1.0)
    return student.eval()


def _word_vectors(encoder: PreTrainedModel) -> nn.Embedding:
    """The table of word vectors, multiplied out where it is factorized."""
    table = encoder.get_input_embeddings()
    if not isinstance(table, LowRankEmbedding):
        return cast("nn.Embedding", table)
    rows = table.second(table.first.weight).detach()
    whole: nn.Embedding = nn.Embedding.from_pretrained(rows, padding_idx=table.first.padding_idx)
    return whole


def narrow_config(
    encoder: PreTrainedModel, *, layers: int, width: int, heads: int, ffn: int
) -> PreTrainedConfig:
    """A copy of `encoder`'s config with other sizes; raises as `narrow_student`."""
    teacher_width = int(encoder.config.hidden_size)
    if not 1 <= width <= teacher_width:
        raise InputError(f"a student {width} wide must be 1 to {teacher_width} wide, as its teacher is")
    if heads < 1 or width % heads:
        raise InputError(f"width {width} must be a multiple of the number of heads, which is {heads}")
    if ffn < 1:
        raise InputError(f"a student needs 1 feed-forward neuron or more, not {ffn}")
    config = copy.deepcopy(encoder.config)
    if getattr(config, "rope_parameters", None) is not None and width // heads % 2:
        raise InputError(f"width {width} over {heads} heads: rotary positions need an even width a head")
    kept = choose_layers(len(layers_of(encoder)), layers)
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = [config.layer_types[index] for index in kept]
    config.num_hidden_layers = layers
    config.num_attention_heads = heads
    config.hidden_size = width
    setattr(config, family_of(encoder).neurons_setting, ffn)
    if getattr(config, "embedding_size", None) is not None:  # ELECTRA: tables may be narrower than states
        config.embedding_size = min(int(config.embedding_size), width)
    if getattr(config, "pooler_hidden_size", None) is not None:
        config.pooler_hidden_size = width
    return config


def _tables(encoder: PreTrainedModel) -> dict[str, nn.Embedding]:
    """The embedding tables that `encoder` has, word pieces first."""
    modules = dict(encoder.named_modules())
    found: dict[str, nn.Embedding] = {}
    for name in family_of(encoder).embeddings:
        table = modules.get(name)
        if isinstance(table, nn.Embedding):
            found[name] = table
        elif table is not None:
            raise InputError(f"{name} is already factorized; take the narrow student before that step")
    return found


@torch.no_grad()
def project_embeddings_(student: dict[str, nn.Embedding], teacher: dict[str, nn.Embedding]) -> None:
    """Fill the student's tables with the teacher's rows, projected on their principal directions.

    Row e becomes s (e - m) P Q, with m the table's mean row, P `(wide, narrow)` the top eigenvectors of the
    word pieces' covariance (PCA, the best projection in least squares), Q a random rotation and s a number.
    The mean row is dropped: it says nothing of a piece, and would drown the rest in the LayerNorm that
    follows. Q changes no distance between pieces; it spreads the variance evenly over the channels, which
    PCA leaves very uneven. s gives a channel the variance that one has in the teacher on average.
    """
    words = next(iter(teacher.values())).weight.double()
    narrow = next(iter(student.values())).embedding_dim
    mean, basis, scale = principal_directions(words, narrow)
    rotation = torch.linalg.qr(torch.randn(narrow, narrow, dtype=torch.float64)).Q
    for index, (name, table) in enumerate(student.items()):
        rows = teacher[name].weight.double()
        centred = rows - (mean if index == 0 else rows.mean(0))
        table.weight.copy_(scale * centred @ basis.to(rows.device) @ rotation.to(rows.device))
        if table.padding_idx is not None:
            table.weight[table.padding_idx].zero_()


def principal_directions(rows: Tensor, count: int) -> tuple[Tensor, Tensor, float]:
    """Mean row `(wide,)`, top eigenvectors `(wide, count)` of the covariance of `rows`, and a scale.

    Scaled by it, the projected rows have the mean variance a channel that `rows` have.
    """
    share = 1 / len(rows)
    mean = (share * rows).sum(0)
    centred = rows - mean
    values, vectors = torch.linalg.eigh(centred.T @ (share * centred))  # ascending
    kept = values[-count:].clamp(min=0).sum() / count
    scale = (values.sum() / rows.shape[1] / kept).sqrt() if kept > 0 else torch.ones(())
    return mean, vectors[:, -count:].flip(1), float(scale)
