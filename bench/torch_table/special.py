"""Special functions."""

from __future__ import annotations

from .common import L, called, words


def _polygamma(x, n):
    return L.polygamma(n, x)


TABLE = {
    **{f"special.{name}": called(name) for name in words(
        "airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 entr erfcx i0e i1 i1e log_ndtr "
        "ndtr ndtri spherical_bessel_j0 xlog1py zeta")},
    "special.modified_bessel_i0": called("i0"), "special.modified_bessel_i1": called("i1"),
    "special.modified_bessel_k0": called("k0"), "special.modified_bessel_k1": called("k1"),
    "special.scaled_modified_bessel_k0": called("k0e"),
    "special.scaled_modified_bessel_k1": called("k1e"),
    **{f"polygamma/polygamma_n_{n}": _polygamma for n in range(5)},
    "special.polygamma/special_polygamma_n_0": _polygamma,
    **{f"special.{name}": called(name) for name in words(
        "chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v "
        "chebyshev_polynomial_w hermite_polynomial_h hermite_polynomial_he "
        "laguerre_polynomial_l legendre_polynomial_p shifted_chebyshev_polynomial_t "
        "shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v "
        "shifted_chebyshev_polynomial_w")},
}
