"""Reading IDX files: the real ones where they are, and broken ones made here."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from lamella.base.errors import FormatError, RecipeError, ShapeError
from lamella.data import load_mnist
from lamella.data.mnist import read_idx

MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"


def write_idx(path, array, magic=None):
    header = struct.pack(f">I{array.ndim}I", magic or 0x800 | array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def folder(tmp_path):
    pixels = np.arange(3 * 28 * 28).astype(np.uint8).reshape(3, 28, 28)
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", pixels)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.array([7, 2, 1], np.uint8))
    return tmp_path


@pytest.mark.skipif(not MNIST.is_dir(), reason="the MNIST files are not here")
def test_the_real_files():
    images, labels = load_mnist(MNIST)
    assert images.shape == (10_000, 28, 28) and images.dtype == np.float32
    assert labels.dtype == np.int32 and labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert images.min() == 0 and images.max() == 1
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_pixels_are_scaled(folder):
    images, labels = load_mnist(folder)
    assert images[0, 0, 1] == np.float32(1) / np.float32(255)
    assert labels.tolist() == [7, 2, 1]


def test_files_without_gz_are_read_too(folder):
    for packed in list(folder.glob("*.gz")):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    assert load_mnist(folder)[1].tolist() == [7, 2, 1]


def test_missing_files_are_named(folder):
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte.gz"):
        load_mnist(folder, "train")


def test_a_wrong_split_is_refused(folder):
    with pytest.raises(RecipeError, match="'t10k', expected train or test"):
        load_mnist(folder, "t10k")


def test_counts_must_agree(folder):
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.zeros(2, np.uint8))
    with pytest.raises(ShapeError, match="3 images .* 2 labels"):
        load_mnist(folder)


def test_labels_in_place_of_images_are_noticed(folder):
    with pytest.raises(FormatError, match="magic number 2049, expected 2051"):
        write_idx(folder / "x.gz", np.zeros(40, np.uint8))
        read_idx(folder / "x.gz", rank=3)


@pytest.mark.parametrize("cut, told", [(-1, "has only 2351"), (10, "too few for an IDX header")])
def test_a_short_file_is_noticed(folder, cut, told):
    whole = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    (folder / "cut.gz").write_bytes(gzip.compress(whole[:cut]))
    with pytest.raises(FormatError, match=told):
        read_idx(folder / "cut.gz", rank=3)


def test_a_long_file_is_noticed(folder):
    whole = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    (folder / "long").write_bytes(whole + b"x")
    with pytest.raises(FormatError, match="has more"):
        read_idx(folder / "long", rank=3)


@pytest.mark.parametrize("spoil", [lambda b: b[: len(b) // 2], lambda b: b"no" + b[2:]])
def test_a_damaged_gzip_is_a_format_error(folder, spoil):
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(FormatError, match="damaged gzip"):
        load_mnist(folder)


def test_a_huge_header_allocates_nothing(folder):
    (folder / "huge").write_bytes(struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1))
    with pytest.raises(FormatError, match="more than"):
        read_idx(folder / "huge", rank=3)
