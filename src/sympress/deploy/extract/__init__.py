"""`sympress extract`: from any source of notes to any output, streaming, resumable, on all cores."""
