"""Neural networks' layers; images are [n, c, ...] there and [n, ..., c] here."""

from __future__ import annotations

import math

from .common import (
    Different,
    L,
    batched,
    channels_first,
    channels_last,
    each,
    over_images,
)


def _softmax(name):
    def f(x, dim=None, dtype=None, **more):
        x = x if dtype is None else L.astype(x, dtype)
        dim = (0 if x.ndim in (0, 1, 3) else 1) if dim is None else dim
        return getattr(L, name)(x.reshape(1), axis=0).reshape(()) if not x.ndim else \
            getattr(L, name)(x, axis=dim)
    return f


def _conv(rank):
    def f(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        convolve = getattr(L, f"conv{rank}d")
        padding = padding if isinstance(padding, str) else each(padding, rank)

        def image(x):
            y = convolve(x, channels_last(weight), stride=each(stride, rank), padding=padding,
                         dilation=each(dilation, rank), groups=groups)
            return y if bias is None else y + bias
        return over_images(image, x, rank)
    return f


def _conv_transpose(rank):
    def f(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        def image(x):
            y = getattr(L, f"conv_transpose{rank}d")(
                x, channels_last(weight), stride=each(stride, rank), padding=each(padding, rank),
                output_padding=each(output_padding, rank), dilation=each(dilation, rank),
                groups=groups)
            return y if bias is None else y + bias
        return over_images(image, x, rank)
    return f


def _max_pool(rank):
    def f(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
          return_indices=False):
        stride = None if stride in (None, []) else each(stride, rank)
        pool = lambda v: L.max_pool(v, each(kernel_size, rank), stride=stride,
                                    padding=each(padding, rank), dilation=each(dilation, rank),
                                    ceil=ceil_mode)
        if return_indices:
            raise Different("max pooling does not give positions")
        return over_images(pool, x, rank)
    return f


def _avg_pool(rank):
    def f(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
          divisor_override=None):
        stride = None if stride in (None, [], ()) else each(stride, rank)
        return over_images(lambda v: L.avg_pool(
            v, each(kernel_size, rank), stride=stride, padding=each(padding, rank),
            ceil=ceil_mode, count_padding=count_include_pad, divisor=divisor_override), x, rank)
    return f


def _adaptive(name, rank):
    def f(x, output_size, return_indices=False):
        if return_indices:
            raise Different("max pooling does not give positions")
        return over_images(lambda v: getattr(L, name)(
            v, (output_size,) * rank if isinstance(output_size, int) else tuple(output_size)),
            x, rank)
    return f


def _batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if x.ndim < 2:
        raise Different("an image has a batch axis")
    c = x.shape[1]
    mean = L.zeros((c,), dtype=x.dtype) if mean is None else mean
    var = L.ones((c,), dtype=x.dtype) if var is None else var
    y, _, _ = L.batch_norm(channels_last(x), mean, var, weight, bias, train=training, eps=eps)
    return channels_first(y)


def _native_batch_norm(x, weight, bias, mean, var, training, momentum, eps):
    y = _batch_norm(x, mean, var, weight, bias, training, momentum, eps)
    axes = (0, *range(2, x.ndim))
    if not training:
        return y, L.zeros((0,), dtype=x.dtype), L.zeros((0,), dtype=x.dtype)
    return y, L.mean(x, axis=axes), L.rsqrt(L.var(x, axis=axes) + eps)


def _instance_norm(x, running_mean=None, running_var=None, weight=None, bias=None,
                   use_input_stats=True, momentum=0.1, eps=1e-5):
    if not use_input_stats:
        return _batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    return channels_first(L.instance_norm(channels_last(x), weight, bias, eps=eps))


def _group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    return channels_first(L.group_norm(channels_last(x), groups, weight, bias, eps=eps))


def _native_group_norm(x, weight, bias, n, c, hw, groups, eps):
    y = _group_norm(x, groups, weight, bias, eps)
    parts = x.reshape(n, groups, c * hw // groups)
    return y, L.mean(parts, axis=-1), L.rsqrt(L.var(parts, axis=-1) + eps)


def _layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    return L.layer_norm(x, weight, bias, axis=tuple(range(-len(shape), 0)), eps=eps)


def _native_layer_norm(x, shape, weight, bias, eps):
    over = tuple(range(-len(shape), 0))
    return (_layer_norm(x, shape, weight, bias, eps), L.mean(x, axis=over, keepdims=True),
            L.rsqrt(L.var(x, axis=over, keepdims=True) + eps))


def _rms_norm(x, shape, weight=None, eps=None):
    eps = float(L.finfo(x.dtype).eps) if eps is None else eps
    return L.rms_norm(x, weight, axis=tuple(range(-len(shape), 0)), eps=eps)


def _local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    return channels_first(L.local_response_norm(channels_last(x), size, alpha=alpha, beta=beta,
                                                k=k))


def _attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
               enable_gqa=False):
    if dropout_p:
        raise Different("the bits of dropout are another generator's")
    if is_causal and q.shape[-2] != k.shape[-2]:
        attn_mask, is_causal = L.tril(L.ones((q.shape[-2], k.shape[-2]), dtype="bool")), False
    return L.attention(q, k, v, mask=attn_mask, causal=is_causal, scale=scale)


def _linear(x, weight, bias=None):
    y = x @ (weight.mT if weight.ndim > 1 else weight)
    return y if bias is None else y + bias


def _bilinear(a, b, weight, bias=None):
    lead = a.shape[:-1]
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    y = L.sum(L.einsum("ni,oij->noj", a, weight) * L.expand_dims(b, axis=1), axis=-1)
    y = y.reshape(*lead, weight.shape[0])
    return y if bias is None else y + bias


def _normalize(x, p=2.0, dim=1, eps=1e-12):
    return L.normalize(x, p=p, axis=dim, eps=eps) if x.ndim else \
        L.normalize(x.reshape(1), p=p, axis=0, eps=eps).reshape(())


def _embedding(indices, weight, padding_idx=None, max_norm=None, norm_type=2.0,
               scale_grad_by_freq=False, sparse=False):
    if max_norm is not None:
        raise Different("renormalising the table in place: an array here does not change")
    if scale_grad_by_freq:
        raise Different("gradients scaled by frequency are not gradients of the values")
    if padding_idx is not None and padding_idx < 0:
        padding_idx += weight.shape[0]
    return L.embedding(weight, indices, padding_index=padding_idx)


def _swap_embedding(weight, indices, **k):
    return _embedding(indices, weight, **k)


def _embedding_bag(weight, indices, offsets=None, max_norm=None, norm_type=2, mode="mean",
                   per_sample_weights=None, include_last_offset=False, padding_idx=None, **k):
    if max_norm is not None or k.get("scale_grad_by_freq"):
        raise Different("changing the table in place, and gradients that are none, are not offered")
    if indices.ndim == 2:
        count, size = indices.shape
        groups = L.arange(indices.size) // max(size, 1)
    else:
        ends = offsets.tolist()
        ends = ends[:-1] if include_last_offset else ends
        count, at = len(ends), L.arange(indices.size).reshape(-1, 1)
        groups = L.sum(L.astype(at >= L.asarray(ends, dtype="int32"), "int32"), axis=1) - 1
    flat = indices.reshape(-1)
    if padding_idx is not None:
        padding_idx = padding_idx % weight.shape[0]
        groups = L.where(flat == padding_idx, -1, groups)
    rows = L.embedding(weight, flat, padding_index=padding_idx)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    y = getattr(L, f"segment_{mode}")(rows, groups, count)
    return L.where(y == -math.inf, 0.0, y) if mode == "max" else y


def _pad(mode):
    def f(x, pad, mode_=None, value=None, **k):
        pairs = [(0, 0)] * x.ndim
        for d in range(len(pad) // 2):
            pairs[x.ndim - 1 - d] = (pad[2 * d], pad[2 * d + 1])
        if mode == "edge":
            return L.pad(x, pairs, mode=mode)
        cut = tuple(slice(max(-a, 0), e - max(-b, 0))
                    for (a, b), e in zip(pairs, x.shape, strict=True))
        x, pairs = x[cut], [(max(a, 0), max(b, 0)) for a, b in pairs]
        if mode == "constant":
            return L.pad(x, pairs, value=0 if value is None else value)
        return L.pad(x, pairs, mode=mode)
    return f


def _interpolate(mode):
    def f(x, size=None, scale_factor=None, mode_=None, align_corners=None,
          recompute_scale_factor=None, antialias=False, **k):
        if antialias:
            raise Different("antialiased resizing is not offered")
        rank = x.ndim - 2
        scale = None
        if size is None:
            scale = each(scale_factor, rank) if not isinstance(scale_factor, float) else (
                scale_factor,) * rank
            size = tuple(math.floor(e * s) for e, s in zip(x.shape[2:], scale, strict=True))
            if recompute_scale_factor:
                scale = None
        y = L.interpolate(channels_last(x), each(size, rank), method=mode,
                          align_corners=bool(align_corners), scale=scale)
        return channels_first(y)
    return f


def _unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    x, added = batched(x, 2)
    k, d, p, s = (each(v, 2) for v in (kernel_size, dilation, padding, stride))
    y = L.unfold(channels_last(x), k, stride=s, dilation=d, padding=p)  # [n, h', w', kh, kw, c]
    n, h, w, kh, kw, c = y.shape
    y = L.permute_dims(y, (0, 5, 3, 4, 1, 2)).reshape(n, c * kh * kw, h * w)
    return y[0] if added else y


def _grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    return channels_first(L.grid_sample(channels_last(x), grid, method=mode,
                                        padding=padding_mode, align_corners=bool(align_corners)))


def _grid_sampler(x, grid, mode, padding, align):
    return _grid_sample(x, grid, ("bilinear", "nearest", "bicubic")[mode],
                        ("zeros", "border", "reflection")[padding], align)


def _dropout(x, p=0.5, training=True, **k):
    if training and p not in (0.0, 1.0):
        raise Different("the bits of dropout are another generator's")
    if training and p == 1.0:
        return x * 0.0
    return L.nn.dropout(x, p, None)


def _one_hot(x, num_classes=-1):
    classes = int(L.max(x)) + 1 if num_classes == -1 else num_classes
    return L.one_hot(x, classes, dtype="int64")


def _prelu(x, weight):
    if weight.size > 1:
        weight = weight.reshape(-1, *(1,) * (x.ndim - 2))
    return L.prelu(x, weight.reshape(()) if weight.size == 1 else weight)


def _rrelu(x, lower=1 / 8, upper=1 / 3, training=False, inplace=False):
    return L.leaky_relu(x, slope=(lower + upper) / 2)


def _multi_head(*args, **kwargs):
    raise Different("nn.MultiHeadAttention holds its weights; the entry passes them by position")


TABLE = {
    "softmax": _softmax("softmax"), "softmax/with_dtype": _softmax("softmax"),
    "log_softmax": _softmax("log_softmax"), "log_softmax/with_dtype": _softmax("log_softmax"),
    "nn.functional.softmin": _softmax("softmin"),
    "nn.functional.softmin/with_dtype": _softmax("softmin"),
    "nn.functional.relu": lambda x, **k: L.relu(x),
    "nn.functional.relu6": lambda x, **k: L.relu6(x),
    "nn.functional.leaky_relu": lambda x, negative_slope=0.01, **k: L.leaky_relu(
        x, slope=negative_slope),
    "nn.functional.prelu": _prelu, "nn.functional.rrelu": _rrelu,
    "nn.functional.elu": lambda x, alpha=1.0, **k: L.elu(x, alpha=alpha),
    "nn.functional.selu": lambda x, **k: L.selu(x),
    "nn.functional.celu": lambda x, alpha=1.0, **k: L.celu(x, alpha=alpha),
    "nn.functional.gelu": lambda x, approximate="none": L.gelu(
        x, approximate=approximate == "tanh"),
    "nn.functional.silu": lambda x, **k: L.silu(x), "nn.functional.mish": lambda x, **k: L.mish(x),
    "nn.functional.softplus": lambda x, beta=1, threshold=20: L.softplus(
        x, beta=float(beta), threshold=float(threshold)),
    "nn.functional.softsign": L.softsign,
    "nn.functional.hardtanh": lambda x, min_val=-1.0, max_val=1.0, **k: L.hardtanh(
        x, low=float(min_val), high=float(max_val)),
    "nn.functional.hardsigmoid": lambda x, **k: L.hardsigmoid(x),
    "nn.functional.hardswish": lambda x, **k: L.hardswish(x),
    "nn.functional.logsigmoid": L.logsigmoid, "nn.functional.tanhshrink": L.tanhshrink,
    "nn.functional.softshrink": lambda x, lambd=0.5: L.softshrink(x, bound=float(lambd)),
    "nn.functional.hardshrink": lambda x, lambd=0.5: L.hardshrink(x, bound=float(lambd)),
    "nn.functional.threshold": lambda x, threshold, value, **k: L.threshold(
        x, bound=float(threshold), value=float(value)),
    "nn.functional.glu": lambda x, dim=-1: L.glu(x, axis=dim),
    **{f"nn.functional.conv{n}d": _conv(n) for n in (1, 2, 3)},
    **{f"nn.functional.conv_transpose{n}d": _conv_transpose(n) for n in (1, 2, 3)},
    **{f"nn.functional.max_pool{n}d": _max_pool(n) for n in (1, 2, 3)},
    **{f"nn.functional.avg_pool{n}d": _avg_pool(n) for n in (1, 2, 3)},
    **{f"nn.functional.adaptive_avg_pool{n}d": _adaptive("adaptive_avg_pool", n)
       for n in (1, 2, 3)},
    **{f"nn.functional.adaptive_max_pool{n}d": _adaptive("adaptive_max_pool", n)
       for n in (1, 2, 3)},
    "nn.functional.batch_norm": _batch_norm, "nn.functional.batch_norm/without_cudnn": _batch_norm,
    "native_batch_norm": _native_batch_norm, "nn.functional.instance_norm": _instance_norm,
    "nn.functional.group_norm": _group_norm, "native_group_norm": _native_group_norm,
    "nn.functional.layer_norm": _layer_norm, "native_layer_norm": _native_layer_norm,
    "nn.functional.rms_norm": _rms_norm,
    "nn.functional.local_response_norm": _local_response_norm,
    "nn.functional.scaled_dot_product_attention": _attention,
    "nn.functional.multi_head_attention_forward": _multi_head,
    "nn.functional.linear": _linear, "nn.functional.bilinear": _bilinear,
    "nn.functional.normalize": _normalize, "nn.functional.embedding": _swap_embedding,
    "nn.functional.embedding_bag": _embedding_bag,
    "nn.functional.pad/constant": _pad("constant"), "nn.functional.pad/reflect": _pad("reflect"),
    "nn.functional.pad/replicate": _pad("edge"), "nn.functional.pad/replicate_negative":
    _pad("edge"), "nn.functional.pad/circular": _pad("wrap"),
    **{f"nn.functional.interpolate/{m}": _interpolate(m) for m in (
        "area", "bicubic", "bilinear", "linear", "nearest", "nearest-exact", "trilinear")},
    "nn.functional.upsample_bilinear": lambda x, size=None, scale_factor=None: _interpolate(
        "bilinear")(x, size, scale_factor, align_corners=True),
    "nn.functional.upsample_nearest": _interpolate("nearest"),
    "nn.functional.unfold": _unfold, "nn.functional.grid_sample": _grid_sample,
    "grid_sampler_2d": _grid_sampler, "grid_sampler_3d": _grid_sampler,
    **{f"nn.functional.{n}": _dropout for n in ("dropout", "dropout2d", "dropout3d")},
    "nn.functional.alpha_dropout": _dropout,
    "nn.functional.feature_alpha_dropout/without_train": lambda x, p=0.5, training=False: x,
    "nn.functional.one_hot": _one_hot,
    "nn.functional.cosine_similarity": lambda a, b, dim=1, eps=1e-8: L.cosine_similarity(
        a if a.ndim else a.reshape(1), b if b.ndim else b.reshape(1), axis=dim, eps=eps),
    "nn.functional.pairwise_distance": lambda a, b, p=2.0, eps=1e-6, keepdim=False:
    L.pairwise_distance(a, b, p=p, eps=eps, keepdims=keepdim),
}
