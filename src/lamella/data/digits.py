"""The optical digits that come with the package: 1,797 images of 8 x 8 (see DIGITS.md)."""

from __future__ import annotations

from importlib import resources

import numpy as np

from lamella.base.errors import RecipeError

SPLITS = ("train", "test", "all")
_TOP = 16  # the largest pixel value in the file
_FIFTH = 5


def load_digits(split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """(images float32 [n, 8, 8] in 0..1, labels int32 [n]), in the order of the file.

    The split never changes: of each digit every fifth image in the file's order is a test image
    (355 in all), the others are for training (1,442); "all" is both (1,797).
    """
    if split not in SPLITS:
        raise RecipeError(f"load_digits: split {split!r}, expected one of {', '.join(SPLITS)}")
    file = resources.files("lamella.data").joinpath("digits.npz")
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]
    if split != "all":
        chosen = _is_test(labels) == (split == "test")
        images, labels = images[chosen], labels[chosen]
    return images.astype(np.float32) / np.float32(_TOP), labels.astype(np.int32)


def _is_test(labels: np.ndarray) -> np.ndarray:
    """True for the 5th, 10th, 15th, ... image of each digit."""
    chosen = np.zeros(len(labels), bool)
    for digit in range(10):
        chosen[np.flatnonzero(labels == digit)[_FIFTH - 1 :: _FIFTH]] = True
    return chosen
