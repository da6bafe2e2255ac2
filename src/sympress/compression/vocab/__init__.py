"""Vocabulary trimming."""
