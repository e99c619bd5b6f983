"""The digits that come with the package."""

from importlib import resources

import numpy as np
import pytest

from lamella.base.errors import RecipeError
from lamella.data import load_digits


def test_shapes_types_and_range_are_as_documented():
    for split, count in (("train", 1442), ("test", 355), ("all", 1797)):
        images, labels = load_digits(split)
        assert images.shape == (count, 8, 8) and images.dtype == np.float32
        assert labels.shape == (count,) and labels.dtype == np.int32
        assert images.min() == 0 and images.max() == 1


def test_pixels_are_whole_sixteenths():
    images, _ = load_digits("all")
    assert np.array_equal(images * 16, np.round(images * 16))


def test_train_and_test_together_are_all():
    rows = {}
    for split in ("train", "test", "all"):
        images, labels = load_digits(split)
        rows[split] = sorted(
            image.tobytes() + label.tobytes() for image, label in zip(images, labels, strict=True)
        )
    assert sorted(rows["train"] + rows["test"]) == rows["all"]


def test_every_digit_has_a_fifth_of_its_images_in_the_test_part():
    _, everything = load_digits("all")
    _, test = load_digits("test")
    assert np.array_equal(np.bincount(test), np.bincount(everything) // 5)


def test_known_first_image():
    images, labels = load_digits("all")
    assert labels[:10].tolist() == list(range(10))
    assert (images[0, 0] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_a_wrong_split_names_the_right_ones():
    with pytest.raises(RecipeError, match="'valid'.*train, test, all"):
        load_digits("valid")


def test_the_file_is_small_and_attributed():
    folder = resources.files("lamella.data")
    assert len(folder.joinpath("digits.npz").read_bytes()) <= 60_000
    assert "10.24432/C50P49" in folder.joinpath("DIGITS.md").read_text()
