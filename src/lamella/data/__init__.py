"""Input data: small data sets as NumPy arrays, and batches in an order that can be resumed.

Purpose: feed a training loop. `load_digits` comes with the package, `load_mnist` reads a folder.
May import: the floors up to `optim`; today only `base`.
Read first: `loader.Loader`.
"""

from lamella.data.digits import load_digits
from lamella.data.loader import Loader
from lamella.data.mnist import load_mnist

__all__ = ["Loader", "load_digits", "load_mnist"]
