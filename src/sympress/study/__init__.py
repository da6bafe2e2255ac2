"""The study: notes in, the table of strategies out."""
