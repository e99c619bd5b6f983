"""Definitions in index notation that several tests look at."""

from lamella.lang.notation import exp, max, sum


def matmul(a, b):
    return lambda i, j: sum(lambda k: a[i, k] * b[k, j])


def conv2d(x, w):
    return lambda n, y, z, f: sum(
        lambda r, s, c: x[n, y * 2 + r - 1, z * 2 + s - 1, c] * w[r, s, c, f])


def softmax(x):
    m = lambda i: max(lambda j: x[i, j])
    e = lambda i, j: exp(x[i, j] - m(i))
    return lambda i, j: e(i, j) / sum(lambda k: e(i, k))
