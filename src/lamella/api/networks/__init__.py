"""What neural networks are made of, as functions without state; `lamella.nn` has the layers.

Read first: `activations`.
"""
