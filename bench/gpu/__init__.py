"""Lamella on one GPU beside PyTorch and JAX: `python -m bench.gpu`. Read `cells` first."""
