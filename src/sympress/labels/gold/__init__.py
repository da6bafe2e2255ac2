"""What people annotated: readers of their formats, a writer of JSON lines, and labels from them."""

from sympress.labels.gold.documents import Extra, GoldDocument, GoldSet, GoldSpan
from sympress.labels.gold.exports import read_doccano, read_label_studio
from sympress.labels.gold.jsonl import read_jsonl, write_jsonl
from sympress.labels.gold.mentions import UNSAID, gold_labels, symptom_labels, to_annotated
from sympress.labels.gold.read import coded_documents, read_gold, read_vaers
from sympress.labels.gold.standoff import read_brat, read_i2b2
from sympress.labels.gold.tables import read_conll, read_negex, read_pubtator

__all__ = [
    "UNSAID",
    "Extra",
    "GoldDocument",
    "GoldSet",
    "GoldSpan",
    "coded_documents",
    "gold_labels",
    "read_brat",
    "read_conll",
    "read_doccano",
    "read_gold",
    "read_i2b2",
    "read_jsonl",
    "read_label_studio",
    "read_negex",
    "read_pubtator",
    "read_vaers",
    "symptom_labels",
    "to_annotated",
    "write_jsonl",
]
