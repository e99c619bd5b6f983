"""What a fixed order of summation costs: measured before it was frozen (docs/numerics_order.md).

A throwaway experiment with its own small emitter of LLVM IR: f32, one thread, thread CPU time, the
variants of one case timed in turns, best of many. "free" is the fastest order tried, whatever it
is; the other figures are the extra time of a rule's fastest form.

    python bench/reduction_order.py [rows] [columns] [matvec] [matmul] [accuracy] [avx2]
"""

import ctypes
import functools
import itertools
import sys
import time

import llvmlite.binding as llvm
import numpy as np

llvm.initialize_native_target(), llvm.initialize_native_asmprinter()
AVX2 = "avx2" in sys.argv  # the same experiment with 16 registers of 8 floats
W = 8 if AVX2 else 16  # floats in one register
V = f"<{W} x float>"
ZERO = (V, "zeroinitializer")
MACHINE = llvm.Target.from_default_triple().create_target_machine(
    cpu="haswell" if AVX2 else llvm.get_host_cpu_name(),
    opt=2,
    jit=True,
    features="+avx2,+fma" if AVX2 else llvm.get_host_cpu_features().flatten(),
)
HEAD = (
    f"declare {V} @llvm.fma.v{W}f32({V}, {V}, {V})\n"
    "define void @f(ptr %X, ptr %Y, ptr %Z, ptr %S, i64 %M, "
    'i64 %reps) "prefer-vector-width"="512" nounwind {\nentry:\n'
)


class Emit:
    """The lines of one function f(X, Y, Z, S, M, reps); S is scratch."""

    def __init__(s):
        s.lines, s.n, s.block = [], 0, "entry"

    def op(s, text):
        s.n += 1
        s.lines.append(f"%v{s.n} = {text}")
        return f"%v{s.n}"

    def label(s, name):
        s.lines.append(name + ":")
        s.block = name

    def enter(s, name):
        was, s.n = s.block, s.n + 1
        s.lines.append(f"br label %{name}{s.n}")
        s.label(f"{name}{s.n}")
        return was, s.n, len(s.lines)

    add, mul, plus = (
        lambda s, a, b, o=o: s.op(f"{o} {a}, {b}") for o in (f"fadd {V}", "mul i64", "add i64")
    )

    def tree(s, v):
        n = len(v) // 2
        return s.tree([s.add(a, b) for a, b in zip(v[:n], v[n:])]) if n else v[0]

    def fma(s, a, b, c):
        return s.op(f"call {V} @llvm.fma.v{W}f32({V} {a}, {V} {b}, {V} {c})")

    def at(s, p, i):
        return s.op(f"getelementptr float, ptr {p}, i64 {i}")

    def load(s, p, t=V):
        return s.op(f"load {t}, ptr {p}, align 4")

    def store(s, v, p, t=V):
        s.lines.append(f"store {t} {v}, ptr {p}, align 4")

    def shuffle(s, a, b, idx):
        m = ", ".join("i32 poison" if i is None else f"i32 {i}" for i in idx)
        return s.op(f"shufflevector {V} {a}, {V} {b}, <{len(idx)} x i32> <{m}>")

    def scalar(s, p):
        return s.shuffle(
            s.op(f"insertelement {V} poison, float {s.load(p, 'float')}, i64 0"), "poison", [0] * W
        )

    def loop(
        s, lo, hi, step, body, init=()
    ):  # for (i = lo; i < hi; i += step) carried = body(i, carried); at least once
        before, k, head = s.enter("b")
        new = body(f"%i{k}", [f"%c{k}.{j}" for j in range(len(init))]) or []
        nxt = s.plus(f"%i{k}", step)
        more = s.op(f"icmp slt i64 {nxt}, {hi}")
        s.lines[head:head] = [f"%i{k} = phi i64 [{lo}, %{before}], [{nxt}, %{s.block}]"] + [
            f"%c{k}.{j} = phi {t} [{v}, %{before}], [{w}, %{s.block}]"
            for j, ((t, v), w) in enumerate(zip(init, new))
        ]
        s.lines.append(f"br i1 {more}, label %b{k}, label %x{k}")
        s.label(f"x{k}")
        return new

    def push(s, vs, index, level, stack, stride):
        """Binary counter: result `index` meets its finished left neighbours, then waits."""
        before, k, head = s.enter("h")
        top = s.at(stack, s.mul(f"%l{k}", stride))
        odd = s.op(f"trunc i64 %d{k} to i1")
        s.lines.append(f"br i1 {odd}, label %g{k}, label %y{k}")
        s.label(f"g{k}")
        new = [s.add(s.load(s.at(top, i * W)), f"%w{k}.{i}") for i in range(len(vs))]
        d2 = s.op(f"lshr i64 %d{k}, 1")
        l2 = s.plus(f"%l{k}", 1)
        s.lines.append(f"br label %h{k}")
        s.lines[head:head] = [
            f"%{n} = phi {t} [{a}, %{before}], [{b}, %g{k}]"
            for n, t, a, b in [(f"w{k}.{i}", V, v, w) for i, (v, w) in enumerate(zip(vs, new))]
            + [(f"d{k}", "i64", index, d2), (f"l{k}", "i64", level, l2)]
        ]
        s.label(f"y{k}")
        [s.store(f"%w{k}.{i}", s.at(top, i * W)) for i in range(len(vs))]

    def drain(s, count, stack, stride):
        v = [
            s.load(s.at(stack, level * stride))
            for level in range(count.bit_length())
            if count >> level & 1
        ]
        return functools.reduce(lambda right, left: s.add(left, right), v)

    def compile(s, body):
        s.loop(0, "%reps", 1, lambda i, _: body() and None)
        mod, engine = (
            llvm.parse_assembly(HEAD + "\n".join(s.lines) + "\nret void\n}\n"),
            llvm.create_lljit_compiler(MACHINE),
        )
        lib = (
            llvm.JITLibraryBuilder()
            .add_ir(mod)
            .export_symbol("f")
            .add_current_process()
            .link(engine, "l")
        )
        f = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 2)(lib["f"])
        f.keep = engine, lib
        return f


def fold(e, vs, bit):
    """vs: (value, labels). Add element x|bit to element x, two registers into one."""
    if not vs:
        return []
    (a, la), (b, lb) = (vs + [("poison", [])])[:2]
    where = {x: p for p, x in enumerate(la + lb) if x is not None}
    low = [x for x in where if not x & bit]
    pad = [None] * (W - len(low))
    left, right = (e.shuffle(a, b, [where[x | add] for x in low] + pad) for add in (0, bit))
    return [(e.add(left, right), low + pad)] + fold(e, vs[2:], bit)


def row_sum(K, C, lanes, R, Q, product=False):
    """Z[m] = sum of row m of X (times Y): R rows, Q chunks of each at once; lane, chunk tree."""
    e, parts, C = Emit(), lanes // W, min(C, K)
    count = -(-K // C)
    groups = K // (C * Q)

    def chunk(x, first, q, size):
        at = [
            [e.at(p, e.plus(first, r * K + c * C)) for r in range(n) for c in range(q)]
            for p, n in ((x, R), ("%Y", 1))
        ]

        def body(k, acc):
            xs, ys = (
                [e.load(e.at(e.at(p, k), t * W)) for p in ps for t in range(parts)]
                for ps in (at[0], at[1] * product)
            )
            return [
                e.fma(v, ys[g % (q * parts)], a) if product else e.add(a, v)
                for g, (a, v) in enumerate(zip(acc, xs))
            ]

        acc = e.loop(0, size, lanes, body, [ZERO] * (R * q * parts))
        vs = [
            (
                e.tree(acc[g * parts : (g + 1) * parts]),
                [(g // q) << 20 | (g % q) << 10 | L for L in range(W)],
            )
            for g in range(R * q)
        ]
        for bit in [W >> i for i in range(1, W.bit_length())] + [
            1024 << i for i in range(q.bit_length() - 1)
        ]:
            vs = fold(e, vs, bit)
        return vs[0][0]

    def rows(m, _):
        x = e.at("%X", e.mul(m, K))
        if count == Q and K % C == 0:
            v = chunk(x, "0", Q, C)
        else:
            e.loop(
                0,
                groups,
                1,
                lambda g, _: e.push(
                    [chunk(x, e.mul(g, C * Q), Q, C)], g, Q.bit_length() - 1, "%S", W
                ),
            )
            for c in range(groups * Q, count):
                e.push([chunk(x, str(c * C), 1, min(C, K - c * C))], c, 0, "%S", W)
            v = e.drain(count, "%S", W)
        e.store(e.shuffle(v, "poison", range(R)), e.at("%Z", m), f"<{R} x float>")

    return e.compile(lambda: e.loop(0, "%M", R, rows))


def column_sum(K, N, C, lanes, cols, some, product=False):
    """Z[n] = sum(k) X[k, n] (times Y[k]) in registers.

    `cols` registers of columns, `some` of the lanes at a time.
    """
    e, C, some = Emit(), min(C, K), min(some, lanes)
    stack = e.at("%S", 1 << 14)

    def chunk(n, c):
        def part(l0, _):
            k0 = e.plus(e.mul(c, C), l0)
            p = e.at(e.at("%X", n), e.mul(k0, N))
            y = e.at("%Y", k0)

            def body(k, acc):
                xs = [
                    e.load(e.at(p, e.plus(e.mul(e.plus(k, i), N), j * W)))
                    for i in range(some)
                    for j in range(cols)
                ]
                ys = [e.scalar(e.at(y, e.plus(k, i))) for i in range(some * product)]
                return [
                    e.fma(ys[i // cols], v, a) if product else e.add(a, v)
                    for i, (a, v) in enumerate(zip(acc, xs))
                ]

            acc = e.loop(0, C, lanes, body, [ZERO] * (some * cols))
            if some == lanes:
                return acc
            for i, v in enumerate(acc):
                e.store(v, e.at(e.at("%S", e.mul(l0, cols * W)), i * W))

        acc = part("0", 0) if some == lanes else e.loop(0, lanes, some, part)
        acc = acc or [e.load(e.at("%S", i * W)) for i in range(lanes * cols)]
        return [e.tree(acc[j::cols]) for j in range(cols)]

    def block(n, _):
        if K > C:
            e.loop(0, K // C, 1, lambda c, _: e.push(chunk(n, c), c, 0, stack, cols * W))
        out = (
            [e.drain(K // C, e.at(stack, j * W), cols * W) for j in range(cols)]
            if K > C
            else chunk(n, "0")
        )
        for j, v in enumerate(out):
            e.store(v, e.at("%Z", e.plus(n, j * W)))

    return e.compile(lambda: e.loop(0, N, cols * W, block))


def column_sweep(K, N, C, lanes, J, product=False):
    """The same for wide rows: J rows of a lane are read side by side, partial sums lie in cache."""
    e, C = Emit(), min(C, K)
    stack = e.at("%S", lanes * N)
    J = min(J, C // lanes)

    def chunk(c, _):
        def rows(j, L):
            at = [e.plus(e.plus(e.mul(c, C), L), e.mul(e.plus(j, i), lanes)) for i in range(J)]
            p, y = (
                [e.at("%X", e.mul(x, N)) for x in at],
                [e.scalar(e.at("%Y", x)) for x in at * product],
            )

            def col(n, _):
                t = e.at("%S", e.plus(e.mul(L, N), n))
                v = "zeroinitializer" if j == "0" else e.load(t)
                for i, q in enumerate(p):
                    x = e.load(e.at(q, n))
                    v = e.fma(y[i], x, v) if product else e.add(v, x)
                e.store(v, t)

            e.loop(0, N, W, col)

        e.loop(0, lanes, 1, lambda L, _: rows("0", L))
        if C // lanes > J:
            e.loop(
                J, C // lanes, J, lambda j, _: e.loop(0, lanes, 1, lambda L, _: rows(j, L)) and None
            )
        v = lambda n: e.tree([e.load(e.at("%S", e.plus(n, L * N))) for L in range(lanes)])
        e.loop(0, N, W, lambda n, _: e.push([v(n)], c, 0, e.at(stack, n), N))

    out = lambda n, _: e.store(e.drain(K // C, e.at(stack, n), N), e.at("%Z", n))
    return e.compile(lambda: (e.loop(0, K // C, 1, chunk), e.loop(0, N, W, out)))


def matvec_chain(K):
    """Z[m] = chain over k of X[m, k] * Y[k]: W rows side by side in one register.

    Squares of W x W floats are turned.
    """
    e = Emit()

    def body(m, k, v):
        r = [e.load(e.at("%X", e.plus(e.mul(e.plus(m, i), K), k))) for i in range(W)]
        for s, i in ((s, i) for s in (8, 4, 2, 1) if s < W for i in range(W) if not i & s):
            pick = lambda o, s=s: [(W + L - s if L & s else L) + o for L in range(W)]
            r[i], r[i + s] = e.shuffle(r[i], r[i + s], pick(0)), e.shuffle(r[i], r[i + s], pick(s))
        for i, t in enumerate(r):
            v = e.fma(t, e.scalar(e.at("%Y", e.plus(k, i))), v)
        return [v]

    rows = lambda m, _: e.store(
        e.loop(0, K, W, lambda k, v: body(m, k, *v), [ZERO])[0], e.at("%Z", m)
    )
    return e.compile(lambda: e.loop(0, "%M", W, rows))


def matmul_packed(K, CK, add, MR=6 if AVX2 else 14, NV=2, M=192 if AVX2 else 224, N=512, KC=256):
    """Z[M, N] from packed panels of depth KC.

    The chain continued over panels, or (add) panels summed; tree over CK.
    """
    e, NR, CK = Emit(), NV * W, min(CK, K)
    tiles, size = (M // MR) * (N // NR), MR * NR

    def panel(k0, first, push):
        def tile(t, _):
            b = e.op(f"udiv i64 {t}, {M // MR}")
            a = e.op(f"urem i64 {t}, {M // MR}")
            z = e.at("%Z", e.mul(t, size))
            x = e.at("%X", e.mul(e.plus(e.mul(a, K), k0), MR))
            y = e.at("%Y", e.mul(e.plus(e.mul(b, K), k0), NR))
            old = [] if first else [e.load(e.at(z, i * W)) for i in range(MR * NV)]

            def body(k, acc):
                xs, bv = (
                    e.at(x, e.mul(k, MR)),
                    [e.load(e.at(e.at(y, e.mul(k, NR)), j * W)) for j in range(NV)],
                )
                return [
                    e.fma(s, bv[j], acc[i * NV + j])
                    for i in range(MR)
                    for s in [e.scalar(e.at(xs, i))]
                    for j in range(NV)
                ]

            acc = e.loop(
                0, KC, 1, body, [ZERO] * (MR * NV) if first or add else [(V, v) for v in old]
            )
            if add and old:
                acc = [e.add(v, w) for v, w in zip(old, acc)]
            if push:
                e.push(acc, push, 0, e.at("%S", e.mul(t, size)), tiles * size)
            else:
                [e.store(v, e.at(z, i * W)) for i, v in enumerate(acc)]

        e.loop(0, tiles, 1, tile)

    def chunk(c, _):
        panel(e.mul(c, CK), True, "")
        if CK > 2 * KC:
            e.loop(KC, CK - KC, KC, lambda p, _: panel(e.plus(e.mul(c, CK), p), False, ""))
        panel(e.plus(e.mul(c, CK), CK - KC), False, c if K > CK else "")

    out = lambda n, _: e.store(e.drain(K // CK, e.at("%S", n), tiles * size), e.at("%Z", n))
    return e.compile(
        lambda: (e.loop(0, K // CK, 1, chunk), K > CK and e.loop(0, tiles * size, W, out))
    )


def buffer(n, fill=0):
    b = np.full(n + 16, fill, np.float32)
    return b[-b.ctypes.data // 4 % 16 :][:n]


S = buffer(1 << 23)


def race(title, cases, x, y, n, m, work, seconds=0.25):
    """Best time of one run of each case, in turns.

    Prints the fastest in GB/s and what each rule's best adds to it.
    """
    z, best, reps = buffer(n), {}, max(1, int(4e5 / work))
    args = [a.ctypes.data for a in (x, y, z, S)]
    for f in cases.values():
        f(*args, m, 1)
    end = time.perf_counter() + seconds * max(1, len(cases) / 6)
    rounds = 0
    while (rounds := rounds + 1) < 6 or time.perf_counter() < end:
        for name, f in cases.items():
            wall, cpu = time.perf_counter(), time.thread_time()
            f(*args, m, reps)
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
            t = (cpu if cpu > 0.9 * wall else wall) / reps  # the thread clock has lapses
            for k in ("free", name[0]):
                best[k] = min(best.get(k, 9e9), t)
    print(
        f"{title:25s} {4e-9 * work / best['free']:6.1f} GB/s  "
        + "  ".join(
            f"{k} {100 * (t / best['free'] - 1):+.0f}%"
            for k, t in best.items()
            if k not in ("free", "order")
        ),
        flush=True,
    )


def reference(x, C, lanes, y=None):
    """Rule R (or with y, lanes = 1: rule G) in NumPy along the rows of x."""
    p = []
    for c in range(0, x.shape[1], C):
        a = x[:, c : c + C].reshape(len(x), -1, lanes)
        acc = np.zeros_like(a[:, 0])
        for j in range(a.shape[1]):
            acc = (
                acc + a[:, j]
                if y is None
                else (a[:, j].astype(float) * y[:, c + j, None] + acc).astype("f")
            )
        while n := acc.shape[1] // 2:
            acc = acc[:, :n] + acc[:, n:]
        p.append(acc[:, 0])
    while len(p) > 1:
        p = [sum(p[i + 1 : i + 2], p[i]) for i in range(0, len(p), 2)]
    return p[0]


RULES = lambda K: [
    (L, C)
    for L in (8, 16, 32)
    for C in (256, 512, 1024, 2048, 4096)
    if C == 1024 or L == 16 and C < 2 * K
]


def rows(product=False):
    sums = [
        (K, n // K & (-16 if n // K > 8 else -1))
        for K in (64, 384, 1024, 4096)
        for n in (1 << 13, 1 << 18, 1 << 26)
    ]
    for K, M in (
        ((128, 64), (1024, 32), (512, 512), (8192, 8192)) if product else sums + [(1 << 24, 1)]
    ):
        cases = {("chain",): matvec_chain(K)} if product else {}
        orders = [
            ("order", lanes, K, R, 1)
            for lanes in (W, 2 * W, 4 * W, 8 * W)
            for R in (1, 2, 4, 8, 16)
            if K % lanes == 0
        ]
        orders += [
            (f"{L}x{C}", L, C, R, Q)
            for L, C in RULES(K)
            if L >= W and (not product or (L, C) == (16, 1024))
            for R in (1, 2, 4, 8, 16)
            for Q in (1, 2, 4, 8, 16)
            if R * Q >= 4 and max(1, K // C) >= Q
        ]
        for o in orders:
            if M % o[3] == 0 and o[3] * o[4] <= W and o[1] * o[3] <= 16 * W:
                cases[o] = row_sum(K, o[2], o[1], *o[3:], product)
        race(
            f"rows [{M}, {K}]" + " @ v" * product,
            cases,
            buffer(M * K, 1),
            buffer(K),
            M + W,
            M,
            M * K,
        )


def columns(product=False):
    for K, N in (
        (32, 256),
        (128, 64),
        (1024, 64),
        (256, 1024),
        (4096, 64),
        (65536, 64),
        (4096, 1024),
        (16384, 4096),
    ):
        cases, rules = (
            {},
            [(f"CK={C}", 1, C) for C in (1024, 4096, 1 << 30)]
            if product
            else [(f"{L}x{C}", L, C) for L, C in RULES(K) if K % L == 0],
        )
        for cols, some in [
            f for f in ((1, 16), (2, 8), (4, 2), (4, 4), (8, 1), (8, 2), (16, 1)) if f[0] * W <= N
        ]:
            for r in rules + [("order", some, K)]:
                cases[*r, cols, some] = column_sum(K, N, r[2], r[1], cols, some, product)
        for J, r in itertools.product((4, 8) if N >= 256 else (), rules + [("order", 1, K)]):
            cases[*r, J] = column_sweep(K, N, r[2], r[1], J, product)
        race(
            "v @ " * product + f"columns [{K}, {N}]",
            cases,
            buffer(K * N, 1),
            buffer(K),
            N,
            0,
            K * N,
        )


def matvec():
    rows(True)
    columns(True)


def matmul():
    for K in (2048, 8192, 16384):
        cases = {
            (n,): matmul_packed(K, C, n == "added")
            for n, C in (
                ("added", K),
                ("chain", K),
                ("CK=1024", 1024),
                ("CK=2048", 2048),
                ("CK=4096", 4096),
            )
        }
        race(
            f"matmul 224 x 512 x {K}",
            cases,
            buffer(224 * K, 0.5),
            buffer(512 * K, 0.5),
            1 << 17,
            0,
            224 * 512 * K,
            3,
        )


def accuracy():
    r = np.random.default_rng(0)
    total = lambda p: p.sum(-1, dtype=float)
    err = lambda got, p: f"{(abs(got - total(p)) / total(abs(p))).max():.1e}"
    for draw, K in itertools.product((r.standard_normal, r.random), (1024, 4096, 32768, 1 << 24)):
        a, b = (draw((max(1, (1 << 20) // K), K), dtype=np.float32) for _ in "ab")
        print(
            draw.__name__,
            K,
            "R",
            {f"{L}x{C}": err(reference(a, C, L), a) for L, C in RULES(K) if C <= K},
        )
        chains = [C for C in (1024, 2048, 4096, 8192, K) if C <= K < 1 << 20]
        print("   G", {C: err(reference(a, C, 1, b), a * b.astype(float)) for C in chains})
    x, y, z = buffer(1 << 17), buffer(8192), buffer(16)
    x[:], y[:] = draw(x.size), draw(y.size)
    a, b = x.reshape(16, -1), x.reshape(-1, 16).T  # the code equals the rule bit for bit:
    R, D, G = reference(a, 1024, 16), reference(b, 1024, 16), reference(a, 8192, 1, y[None])
    for f, ref in (
        (row_sum(8192, 1024, 16, 2, 4), R),
        (column_sum(8192, 16, 1024, 16, 16 // W, 4), D),
        (column_sweep(8192, 16, 1024, 16, 8), D),
        (matvec_chain(8192), G),
    ):
        f(*(v.ctypes.data for v in (x, y, z, S)), 16, 1)
        assert (z == ref).all()


for part in (rows, columns, matvec, matmul, accuracy):
    if __name__ == "__main__" and part.__name__ in sys.argv:
        part()
