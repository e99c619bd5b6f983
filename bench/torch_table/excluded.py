"""Entries that are not compared, each with its class; and those that are compared in part."""

from __future__ import annotations

_CLASSES = {
    "strides and storage: arrays here have values, no strides that a program can see":
        "as_strided as_strided/partial_views as_strided_copy as_strided_scatter empty_strided "
        "empty_permuted new_empty_strided resize_ resize_as_",
    "sparse tensors": "sparse.mm/reduce sparse.sampled_addmm to_sparse",
    "scaled and quantized products for devices": "torch._scaled_mm torch._scaled_mm_v2",
    "kernels compiled from strings for one kind of device":
        "jiterator_2inputs_2outputs jiterator_4inputs_with_extra_args jiterator_binary "
        "jiterator_binary_return_by_ref jiterator_unary",
    "samples for another kind of device alone": "nn.functional.batch_norm/without_cudnn",
    "in-place only: an array here does not change": "normal/in_place zero_",
    "private kernels behind public entries, which are compared":
        "torch.ops.aten._efficient_attention_forward torch.ops.aten._flash_attention_forward "
        "torch.ops.aten._safe_softmax.default bmm/triton_optimized _chunk_cat "
        "_native_batch_norm_legit _batch_norm_with_update _softmax_backward_data "
        "_unsafe_masked_index _unsafe_masked_index_put_accumulate _upsample_bilinear2d_aa "
        "_segment_reduce/lengths _segment_reduce/offsets max_pool2d_with_indices_backward "
        "native_dropout_backward unsafe_chunk unsafe_split addmm/decomposed "
        "nn.functional.linear_cross_entropy/chunked "
        "nn.functional.linear_cross_entropy/chunked_none",
    "deprecated in PyTorch in favour of torch.linalg":
        "geqrf ormqr qr svd lu lu_solve lu_unpack triangular_solve cholesky_inverse cholesky_solve",
    "a hash of the bytes, defined by PyTorch's implementation": "hash_tensor",
    "duplicates that return a copy of what another entry returns":
        "alias_copy diagonal_copy expand_copy narrow_copy permute_copy split_with_sizes_copy "
        "squeeze_copy t_copy transpose_copy unbind_copy unfold_copy unsqueeze_copy view_copy",
    "complex views of bits": "resolve_conj resolve_neg",
    "a dtype of storage alone on CPUs: complex numbers of two float16": "chalf",
}

EXCLUDED = {name: reason for reason, names in _CLASSES.items() for name in names.split()}

# The numbers are random, or not set: only shapes are compared here; tests/api/test_random.py and
# test_distributions.py test the distributions.
SHAPE_ONLY = {
    "bernoulli", "cauchy", "empty", "empty_like", "exponential", "geometric", "log_normal",
    "multinomial", "new_empty", "nn.functional.alpha_dropout",
    "nn.functional.feature_alpha_dropout/with_train", "nn.functional.rrelu", "normal",
    "normal/number_mean", "rand_like", "randint", "randint_like", "randn", "randn_like", "uniform",
    "nn.functional.fractional_max_pool2d", "nn.functional.fractional_max_pool3d", "pca_lowrank",
    "svd_lowrank",
}

# Tolerances times this: what is less exact there.
LOOSER = {
    "nn.functional.hardsigmoid": 100.0,  # its gradient in float64 takes float32's 1 / 6
    # float64 is exact to 1e-6 there for 0 < x < 10 (by mpmath; here to 1e-15)
    "special.bessel_j0": 1e4, "special.bessel_j1": 1e4, "special.bessel_y0": 1e4,
    "special.bessel_y1": 1e4,
    "logcumsumexp": 100.0,  # its gradient in float32 cancels there (here it agrees with float64)
}

# Compared before what the database does to results for its own tests of gradients.
RAW = {"linalg.svd"}

# Values only: PyTorch states a gradient where there is none to state.
NO_GRADIENT: set[str] = set()
