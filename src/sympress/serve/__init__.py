"""The service: symptom extraction over HTTP, and the page. Needs the extra `serve`; carries no PyTorch."""
