"""An encoder without attention, from the word vectors of another: `benchmarks.convolution -o FOLDER`.

`sympress study --encoder FOLDER` then learns from labels alone what `distill(student=conv)` learns from a
teacher: the rival that needs none. One convolution of three word pieces over the vectors, seen from their
first principal directions.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from sympress.compression.distill.student import convolution_student
from sympress.compression.vocab.trim import trim_vocabulary_
from sympress.files import write_text
from sympress.models.encoder import load_encoder
from sympress.models.model import build_model
from sympress.report.card import origin_of


def write_encoder(
    source: str,
    folder: Path,
    *,
    width: int,
    channels: int,
    longest: int,
    pieces_of: Path | None = None,
    seed: int = 0,
) -> None:
    """Write to `folder` an encoder of the word pieces of `source`, as transformers loads it.

    Args:
        source: an encoder, as `sympress study --encoder` takes it.
        folder: made where there is none.
        width: of the word vectors.
        channels: of the convolution.
        longest: word pieces of its longest input.
        pieces_of: an artifact that was pressed from `source`, whose word pieces alone are kept, so that a
            note is cut into pieces once for both; None keeps all of them.
        seed: of its random weights.
    """
    encoder = load_encoder(source)
    whole = build_model(encoder.model, 2, "maximum", seed)
    tokenizer = encoder.tokenizer
    if pieces_of is not None:
        whole_vocabulary = tokenizer.get_vocab()
        pieces = Tokenizer.from_file(str(pieces_of / "tokenizer.json")).get_vocab()
        tokenizer = trim_vocabulary_(whole, tokenizer, [whole_vocabulary[piece] for piece in pieces])
    made = convolution_student(whole, width=width, channels=channels, seed=seed)
    made.encoder.save_pretrained(folder)
    tokenizer.model_max_length = longest
    tokenizer.save_pretrained(folder)
    base, licence = origin_of(source) or (source, "other")
    card = f"---\nbase_model: {base}\nlicense: {licence}\n---\n\nA convolution over word vectors of {base}.\n"
    write_text(folder / "README.md", card)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the encoder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.convolution", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--encoder", default="bundled", help="whose word vectors")
    parser.add_argument("--width", type=int, default=96, help="of the word vectors")
    parser.add_argument("--channels", type=int, default=192, help="of the convolution")
    parser.add_argument("--longest", type=int, default=512, help="word pieces of its longest input")
    parser.add_argument("--pieces-of", type=Path, help="an artifact whose word pieces alone are kept")
    given = parser.parse_args(arguments)
    write_encoder(
        given.encoder,
        given.output,
        width=given.width,
        channels=given.channels,
        longest=given.longest,
        pieces_of=given.pieces_of,
    )


if __name__ == "__main__":
    main()
