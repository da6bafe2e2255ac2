"""An encoder without attention as a folder that a study can start from."""

from pathlib import Path

from benchmarks.convolution import main
from sympress.models.encoder import load_encoder
from sympress.report.card import origin_of


def test_the_folder_is_an_encoder_of_the_same_word_pieces(tmp_path: Path, encoder_folder: Path) -> None:
    folder = tmp_path / "conv"
    main(["-o", str(folder), "--encoder", str(encoder_folder), "--width", "8", "--channels", "12"])
    made, source = load_encoder(str(folder)), load_encoder(str(encoder_folder))
    assert made.tokenizer.get_vocab() == source.tokenizer.get_vocab()
    assert made.model.config.hidden_size == 12
    assert origin_of(str(folder)) == (str(encoder_folder), "other")
    assert made.model.word_embeddings.weight.shape == (len(source.tokenizer), 8)
