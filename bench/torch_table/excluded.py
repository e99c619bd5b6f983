"""Entries that are not compared, by classes; and the limits of the comparison of others."""

from __future__ import annotations

# A class says why there is nothing to compare. An entry that only lacks a counterpart is in none.
CLASSES = {
    "sparse tensors": "sparse.mm/reduce sparse.sampled_addmm to_sparse",
    "quantized and scaled products": "torch._scaled_mm torch._scaled_mm_v2",
    "strides and storage (arrays here have values, no strides that a program can see)":
        "as_strided as_strided/partial_views as_strided_copy as_strided_scatter empty_strided "
        "empty_permuted new_empty_strided resize_ resize_as_",
    "in place and out= variants": "normal/in_place zero_",
    "deprecated in favour of torch.linalg":
        "geqrf ormqr qr svd lu lu_solve lu_unpack triangular_solve cholesky_inverse cholesky_solve",
    "kernels for other devices, or with samples for them alone":
        "jiterator_2inputs_2outputs jiterator_4inputs_with_extra_args jiterator_binary "
        "jiterator_binary_return_by_ref jiterator_unary bmm/triton_optimized "
        "nn.functional.batch_norm/without_cudnn",
    "private (an underscore in front, or torch.ops.aten), the public entry being compared":
        "torch.ops.aten._efficient_attention_forward torch.ops.aten._flash_attention_forward "
        "torch.ops.aten._safe_softmax.default _chunk_cat _native_batch_norm_legit "
        "_batch_norm_with_update _softmax_backward_data _unsafe_masked_index "
        "_unsafe_masked_index_put_accumulate _upsample_bilinear2d_aa _segment_reduce/lengths "
        "_segment_reduce/offsets",
    "backward kernels (gradients are compared where their function is)":
        "max_pool2d_with_indices_backward native_dropout_backward",
    "a dtype that lacks arithmetic on CPUs (complex numbers of two float16)": "chalf",
}

EXCLUDED = {name: reason for reason, names in CLASSES.items() for name in names.split()}

# The numbers are random, or not set: only shapes are compared here; tests/api/test_random.py and
# test_distributions.py test the distributions. They are counted by themselves, as not compared.
SHAPE_ONLY = {
    "bernoulli", "cauchy", "empty", "empty_like", "exponential", "geometric", "log_normal",
    "multinomial", "new_empty", "nn.functional.alpha_dropout",
    "nn.functional.feature_alpha_dropout/with_train", "nn.functional.rrelu", "normal",
    "normal/number_mean", "rand_like", "randint", "randint_like", "randn", "randn_like", "uniform",
    "nn.functional.fractional_max_pool2d", "nn.functional.fractional_max_pool3d", "pca_lowrank",
    "svd_lowrank",
}

# (dtype, how much wider its tolerances are, why): each was looked at in more digits.
_BESSEL = ("PyTorch's float64 is exact to 1e-6 there for 0 < x < 10, by mpmath; ours to 1e-14 "
           "(tests/lang/test_special.py)")
LOOSER = {
    "nn.functional.hardsigmoid": ("float64", 3.0, "PyTorch's gradient takes float32's 1 / 6"),
    "special.bessel_j0": ("float64", 3000.0, _BESSEL),
    "special.bessel_y1": ("float64", 3000.0, _BESSEL),
    "special.bessel_j1": ("float64", 300.0, _BESSEL),
    "special.bessel_y0": ("float64", 300.0, _BESSEL),
    "logcumsumexp": ("float32", 3.0, "a sample holds 1e4, whose unit in float32 is 1e-3; both "
                                     "gradients add logarithms of that size and are as far from "
                                     "float64's"),
}

# Compared before what the database does to results for its own tests of gradients.
RAW = {"linalg.svd"}
