"""Low-rank factorization of linear layers."""
