"""Targets: which one a machine gets, and what its code may use."""

import pytest

from lamella.base.errors import UnsupportedError
from lamella.codegen import AVX2, AVX512, AVX512_VNNI, by_name, detect


def test_the_best_target_is_detected():
    assert detect([*AVX512.features, "avx512vbmi"]) is AVX512
    assert detect([*AVX512.features, "avx512vnni"]) is AVX512_VNNI
    assert detect(AVX2.features) is AVX2
    assert detect(AVX512.features, wanted="avx2") is AVX2


def test_a_processor_without_avx2_is_refused_with_what_it_lacks():
    with pytest.raises(UnsupportedError, match="lacks avx2, fma, .*AVX2 and FMA"):
        detect(set(AVX2.features) - {"avx2", "fma", "f16c"})


def test_a_wanted_target_has_to_be_known_and_present():
    known = "no target is called 'neon'; known: avx512amx, avx512bf16, avx512vnni, avx512, avx2"
    with pytest.raises(UnsupportedError, match=known):
        by_name("neon")
    with pytest.raises(UnsupportedError, match="avx512f.*the target avx512"):
        detect(AVX2.features, wanted="avx512")


def test_contract_tiles_fit_the_registers():
    for target in (AVX512, AVX2):
        registers = 16 * 32 // target.vector_bits  # of LANES float32 values
        for rows, columns in target.contract_tiles:
            right = columns if rows > 1 else 0      # one row reads them where it uses them
            assert (rows * columns + right) * registers + 1 <= target.registers
