"""Lamella: a deep learning system that knows its costs before it runs."""

__version__ = "0.1.0"
