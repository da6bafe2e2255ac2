"""How good an artifact is on notes that people annotated: gold in, figures and errors out."""
