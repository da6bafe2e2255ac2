"""What people annotated: readers of their formats, a writer of JSON lines, and labels from them."""

from sympress.labels.gold.brat import read_brat
from sympress.labels.gold.coded import coded_documents, read_vaers
from sympress.labels.gold.conll import read_conll
from sympress.labels.gold.documents import Extra, GoldDocument, GoldSet, GoldSpan
from sympress.labels.gold.jsonl import read_jsonl, write_jsonl
from sympress.labels.gold.mentions import UNSAID, to_annotated
from sympress.labels.gold.negex import read_negex
from sympress.labels.gold.present import gold_labels
from sympress.labels.gold.pubtator import read_pubtator
from sympress.labels.gold.read import read_gold
from sympress.labels.gold.read_only.doccano import read_doccano
from sympress.labels.gold.read_only.i2b2 import read_i2b2
from sympress.labels.gold.read_only.label_studio import read_label_studio
from sympress.labels.gold.symptoms import symptom_labels

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
