"""What answers: artifacts, sessions, tokens to mentions; neither torch nor transformers."""
