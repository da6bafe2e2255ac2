"""Vocabulary trimming: keep the word pieces that the domain's notes use."""
