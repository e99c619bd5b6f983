"""The text of a dozen kernels, as it was read and found good."""

import pytest
from gpu.golden import FOLDER, PROGRAMS, text_of


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_text_is_the_one_that_was_kept(name):
    assert text_of(name) == (FOLDER / f"{name}.txt").read_text(), \
        "the kernel's text has changed; where that is meant, run python tests/gpu/golden.py"
