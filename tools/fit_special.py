"""Chebyshev coefficients of the special functions: writes src/lamella/lang/special_tables.py.

    python tools/fit_special.py        (needs mpmath; takes a minute)

Each function is written as a known factor times a smooth rest, whose Chebyshev series is cut where
its terms fall below 2^-58 of the largest. Computed in 40 digits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mpmath as mp

mp.mp.dps = 40
TARGET = Path(__file__).parent.parent / "src" / "lamella" / "lang" / "special_tables.py"
ROOM = 64  # nodes; more than any series needs


def series(f: Callable, low, high) -> list:
    """Chebyshev coefficients of f on low..high, the first one halved."""
    nodes = [mp.cos(mp.pi * (k + mp.mpf(1) / 2) / ROOM) for k in range(ROOM)]
    middle, half = (mp.mpf(low) + high) / 2, (mp.mpf(high) - low) / 2
    values = [f(middle + half * u) for u in nodes]
    found = [2 * mp.fsum(v * mp.cos(mp.pi * j * (k + mp.mpf(1) / 2) / ROOM)
                         for k, v in enumerate(values)) / ROOM for j in range(ROOM)]
    found[0] /= 2
    most = max(map(abs, found))
    last = max(j for j, c in enumerate(found) if abs(c) > most * mp.mpf(2) ** -58)
    return found[:last + 1]


def stirling(v):
    """(lgamma(x) - (x - 1/2) log x + x - log(2 pi)/2) x, v = 1 / x^2."""
    if v < mp.mpf(10) ** -12:
        return mp.mpf(1) / 12 - v / 360
    x = 1 / mp.sqrt(v)
    return (mp.loggamma(x) - (x - mp.mpf(1) / 2) * mp.log(x) + x - mp.log(2 * mp.pi) / 2) * x


def digamma_tail(v):
    """(log x - 1 / (2 x) - digamma(x)) x^2, v = 1 / x^2."""
    if v < mp.mpf(10) ** -12:
        return mp.mpf(1) / 12 - v / 120
    x = 1 / mp.sqrt(v)
    return (mp.log(x) - 1 / (2 * x) - mp.digamma(x)) / v


def lgamma_middle(x):
    if abs((x - 1) * (x - 2)) < mp.mpf(10) ** -15:
        x += mp.mpf(10) ** -15
    return mp.loggamma(x) / ((x - 1) * (x - 2))


def erfcx(t):
    """(1 + 2 x) exp(x^2) erfc(x), x = 3.75 (1 + t) / (1 - t) (Shepherd & Laframboise, 1981)."""
    x = mp.mpf(15) / 4 * (1 + t) / (1 - t)
    if x > 200:
        s = mp.fsum((-1) ** k * mp.fac2(2 * k - 1) / (2 * x * x) ** k for k in range(12))
        return (1 + 2 * x) * s / (x * mp.sqrt(mp.pi))
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


def erfinv_middle(v):
    return mp.sqrt(mp.pi) / 2 if v == 0 else mp.erfinv(mp.sqrt(v)) / mp.sqrt(v)


def normal_tail(t):
    """z / t where the normal distribution's mass above z is exp(-t^2 / 2)."""
    z = t - mp.log(t * mp.sqrt(2 * mp.pi)) / t
    for _ in range(60):
        mass = mp.erfc(z / mp.sqrt(2)) / 2
        step = (mp.log(mass) + t * t / 2) * mass / (mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi))
        z += step
        if abs(step) < mp.mpf(10) ** -34:
            break
    return z / t


def at_zero(f: Callable) -> Callable:
    """f, a little off 0 where it has a removable singularity there."""
    return lambda v: f(v if v > mp.mpf(10) ** -18 else mp.mpf(10) ** -18)


def amplitudes(n: int) -> tuple[Callable, Callable]:
    """P and Q of v = (8 / x)^2: J_n = sqrt(2 / (pi x)) (P cos h - (8 / x) Q sin h),
    Y_n = sqrt(2 / (pi x)) (P sin h + (8 / x) Q cos h), h = x - n pi / 2 - pi / 4."""
    def both(v):
        x = 8 / mp.sqrt(v if v > mp.mpf(10) ** -6 else mp.mpf(10) ** -6)
        h, scale = x - n * mp.pi / 2 - mp.pi / 4, mp.sqrt(mp.pi * x / 2)
        j, y = mp.besselj(n, x) * scale, mp.bessely(n, x) * scale
        return j * mp.cos(h) + y * mp.sin(h), (y * mp.cos(h) - j * mp.sin(h)) * x / 8
    return (lambda v: both(v)[0]), (lambda v: both(v)[1])


def tables() -> dict[str, list]:
    root, half = mp.sqrt, mp.mpf(1) / 2
    p0, q0 = amplitudes(0)
    p1, q1 = amplitudes(1)
    beyond = lambda f, c: lambda u: f(2 * c / (u + 1)) if u > -1 + mp.mpf(10) ** -8 else f(
        2 * c * mp.mpf(10) ** 8)
    return {
        "LGAMMA": series(lgamma_middle, 1, 3), "STIRLING": series(stirling, 0, mp.mpf(1) / 64),
        "DIGAMMA": series(digamma_tail, 0, mp.mpf(1) / 64), "ERFCX": series(erfcx, -1, 1),
        "ERFINV": series(erfinv_middle, 0, mp.mpf("0.5625")),
        **{f"NORMAL_TAIL_{k}": series(normal_tail, a, b)
           for k, (a, b) in enumerate([(1.5, 3), (3, 6), (6, 12), (12, 40)])},
        "I0": series(lambda x: mp.exp(-x) * mp.besseli(0, x), 0, 8),
        "I0_FAR": series(beyond(lambda x: mp.exp(-x) * root(x) * mp.besseli(0, x), 8), -1, 1),
        "I1": series(at_zero(lambda x: mp.exp(-x) * mp.besseli(1, x) / x), 0, 8),
        "I1_FAR": series(beyond(lambda x: mp.exp(-x) * root(x) * mp.besseli(1, x), 8), -1, 1),
        "K0": series(at_zero(lambda v: mp.besselk(0, root(v)) + mp.log(root(v) * half)
                             * mp.besseli(0, root(v))), 0, 4),
        "K0_FAR": series(beyond(lambda x: mp.exp(x) * root(x) * mp.besselk(0, x), 2), -1, 1),
        "K1": series(at_zero(lambda v: root(v) * (mp.besselk(1, root(v)) - mp.log(root(v) * half)
                                                  * mp.besseli(1, root(v)))), 0, 4),
        "K1_FAR": series(beyond(lambda x: mp.exp(x) * root(x) * mp.besselk(1, x), 2), -1, 1),
        "J0": series(lambda v: mp.besselj(0, root(v)), 0, 64),
        "J1": series(at_zero(lambda v: mp.besselj(1, root(v)) / root(v)), 0, 64),
        "Y0": series(at_zero(lambda v: mp.bessely(0, root(v)) - 2 / mp.pi * mp.log(root(v))
                             * mp.besselj(0, root(v))), 0, 64),
        "Y1": series(at_zero(lambda v: (mp.bessely(1, root(v)) - 2 / mp.pi * (
            mp.log(root(v)) * mp.besselj(1, root(v)) - 1 / root(v))) / root(v)), 0, 64),
        "P0": series(p0, 0, 1), "Q0": series(q0, 0, 1), "P1": series(p1, 0, 1),
        "Q1": series(q1, 0, 1),
    }


def main() -> None:
    lines = ['"""Chebyshev coefficients of the special functions; written by tools/fit_special.py.',
             '"""', "", "from __future__ import annotations", "", "",
             "def numbers(text: str) -> tuple[float, ...]:",
             '    """Hexadecimal floats, parted by spaces."""',
             "    return tuple(map(float.fromhex, text.split()))", "", ""]
    for name, found in tables().items():
        texts = [float(c).hex() for c in found]
        lines.append(f'{name} = numbers("""')
        line = "   "
        for t in texts:
            if len(line) + len(t) > 94:
                lines.append(line)
                line = "   "
            line += " " + t
        lines += [line, '""")']
        print(name, len(found))
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
