"""One model in, a smaller one out."""
