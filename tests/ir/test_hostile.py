"""Law: a text that passes `parse` and `verify` is safe to compile and run, whatever it states.

A table of texts that must be refused in time, and mutants of every op's samples: each is refused,
or compiles and runs with the shapes that the interpreter gives.
"""

from __future__ import annotations

import random
import re
import time

import numpy as np
import pytest
from ops.cases import CASES

from lamella.base.errors import LamellaError, ProgramError
from lamella.engine.program import compile_program
from lamella.ir.interpret import interpret
from lamella.ir.op import all_ops
from lamella.ir.parser import parse
from lamella.ir.printer import to_text
from lamella.ir.program import Program, programs
from lamella.ir.types import tensors
from lamella.ir.verify import verify

SECONDS = 2.0


def load(text: str) -> Program:
    """What stands between a file and the compiler."""
    program = parse(text)
    verify(program)
    return program


X = 'program p\nsymbol B 1..8\n%0 = input "x" : float32[3, 4]\n'
V = 'program p\n%0 = input "x" : float32[4]\n%1 = input "i" : int32[2]\n'
IMAGE = 'program p\n%0 = input "x" : float32[1, 999, 999, 1]\n'
SCATTER = ('program p\n%0 = input "x" : float32[1, 1, {}, 1]\n%1 = input "i" : int32[1, {}]\n'
           '%2 = input "u" : float32[1, 1, {}, 1]\n%3 = scatter(%0, %1, %2) ')
ROW3 = 'program p\n%0 = input "x" : float32[1, 4, 1]\n'
KEY = 'program p\n%0 = input "k" : uint32[2]\n'
MM = ('program p\n%0 = input "a" : float32[3, 4]\n%1 = input "b" : float32[4, 5]\n'
      '%2 = contract(%0, %1) ')
DOT = 'a=("i", "k") b=("k", "j") out=("i", "j") sum=("k",) sizes=()'
ROWS = 'program p\nsymbol B 1..8\n%0 = input "x" : float32[B, 4]\n'

REFUSED = {
    # operands
    "no operand": X + "%1 = exp : float32[3, 4]",
    "too many operands": X + "%1 = exp(%0, %0) : float32[3, 4]",
    "too few operands": X + "%1 = mul(%0) : float32[3, 4]",
    "concat of nothing": X + "%1 = concat axis=0 : float32[3, 4]",
    "slice of nothing": X + "%1 = dynamic_slice sizes=(1,) : float32[1]",
    "update of nothing": X + "%1 = update_slice : float32[1]",
    "fma of two": X + "%1 = fma(%0, %0) : float32[3, 4]",
    # parameters
    "unknown parameter": X + "%1 = exp(%0) speed=9 : float32[3, 4]",
    "extra parameter": X + '%1 = reduce(%0) monoid="sum" axes=(1,) order=3 : float32[3]',
    "missing parameter": X + '%1 = reduce(%0) monoid="sum" : float32[3]',
    "missing size": X + "%1 = size dtype=float32 : float32[]",
    # reductions
    "unknown monoid": X + '%1 = reduce(%0) monoid="mean" axes=(1,) : float32[3]',
    "monoid is a number": X + "%1 = reduce(%0) monoid=3 axes=(1,) : float32[3]",
    "axis outside": X + '%1 = reduce(%0) monoid="sum" axes=(2,) : float32[3, 4]',
    "axis negative": X + '%1 = reduce(%0) monoid="sum" axes=(-1,) : float32[3, 4]',
    "axis twice": X + '%1 = reduce(%0) monoid="sum" axes=(1, 1) : float32[3]',
    "axes unordered": X + '%1 = reduce(%0) monoid="sum" axes=(1, 0) : float32[]',
    "axes no tuple": X + '%1 = reduce(%0) monoid="sum" axes=1 : float32[3]',
    "axis true": X + '%1 = reduce(%0) monoid="sum" axes=(True,) : float32[3]',
    "arg of a sum": X + '%1 = argreduce(%0) monoid="sum" axis=1 dtype=int32 : int32[3]',
    "arg as float": X + '%1 = argreduce(%0) monoid="max" axis=1 dtype=float32 : float32[3]',
    "arg in a byte": IMAGE + '%1 = argreduce(%0) monoid="max" axis=1 dtype=int8 : int8[1, 999, 1]',
    "softmax axis": X + "%1 = softmax(%0) axis=2 : float32[3, 4]",
    "softmax last": X + "%1 = softmax(%0) axis=-1 : float32[3, 4]",
    "log_softmax text": X + '%1 = log_softmax(%0) axis="1" : float32[3, 4]',
    # values
    "text as value": X + '%1 = constant value="1" dtype=float32 shape=() : float32[]',
    "half an int": X + "%1 = constant value=1.5 dtype=int32 shape=() : int32[]",
    "int too large": X + "%1 = constant value=2147483648 dtype=int32 shape=() : int32[]",
    "uint negative": X + "%1 = constant value=-1 dtype=uint8 shape=() : uint8[]",
    "two as bool": X + "%1 = constant value=2 dtype=bool shape=() : bool[]",
    "pad with text": X
        + '%1 = pad(%0) low=(0, 0) high=(1, 0) inner=(0, 0) value="0" : float32[4, 4]',
    "size of a float": X + "%1 = size size=1.5 dtype=float32 : float32[]",
    "size in a byte": X + "%1 = size size=300 dtype=uint8 : uint8[]",
    "size as bool": X + "%1 = size size=1 dtype=bool : bool[]",
    "dtype is a number": X + "%1 = cast(%0) dtype=32 : float32[3, 4]",
    "bits as bool": 'program p\n%0 = input "x" : uint8[4]\n%1 = bitcast(%0) dtype=bool : bool[4]',
    "gelu 1": X + "%1 = gelu(%0) approximate=1 : float32[3, 4]",
    "iota in a byte": X + "%1 = iota shape=(300,) axis=0 dtype=int8 : int8[300]",
    "iota axis": X + "%1 = iota shape=(3,) axis=1 dtype=int32 : int32[3]",
    "iota of a scalar": X + "%1 = iota shape=() axis=0 dtype=int32 : int32[]",
    # shapes
    "float extent": X + "%1 = reshape(%0) shape=(12.0,) : float32[12]",
    "bool extent": X + "%1 = reshape(%0) shape=(12, True) : float32[12, 1]",
    "negative extents": X + "%1 = reshape(%0) shape=(-3, -4) : float32[3, 4]",
    "perm of bools": X + "%1 = transpose(%0) perm=(True, False) : float32[4, 3]",
    "perm repeats": X + "%1 = transpose(%0) perm=(0, 0) : float32[3, 3]",
    "flip axis": X + "%1 = flip(%0) axes=(2,) : float32[3, 4]",
    "flip axis negative": X + "%1 = flip(%0) axes=(-1,) : float32[3, 4]",
    "start after stop": X
        + "%1 = slice(%0) starts=(0, 3) stops=(3, 1) steps=(1, 1) : float32[3, 2]",
    "start beyond": X + "%1 = slice(%0) starts=(9, 0) stops=(9, 4) steps=(1, 1) : float32[0, 4]",
    "step 0": X + "%1 = slice(%0) starts=(0, 0) stops=(3, 4) steps=(1, 0) : float32[3, 4]",
    "stops short": X + "%1 = slice(%0) starts=(0,) stops=(3,) steps=(1,) : float32[3]",
    "pad negative": X
        + "%1 = pad(%0) low=(-1, 0) high=(0, 0) inner=(0, 0) value=0.0 : float32[2, 4]",
    "pad short": X + "%1 = pad(%0) low=(1,) high=(0,) inner=(0,) value=0.0 : float32[4, 4]",
    "concat axis": X + "%1 = concat(%0, %0) axis=2 : float32[3, 4]",
    "concat axis negative": X + "%1 = concat(%0, %0) axis=-1 : float32[3, 8]",
    "huge": X + f"%1 = constant value=0.0 dtype=float32 shape=({2**31}, {2**31}) : "
                f"float32[{2**31}, {2**31}]",
    "huge beside nothing": X + f"%1 = constant value=0.0 dtype=float32 shape=(0, {2**62}) : "
                               f"float32[0, {2**62}]",
    "huge symbol":
        f"program p\nsymbol N 1..{2**60}\n%0 = iota shape=(N,) axis=0 dtype=int64 : int64[N]",
    "huge broadcast": X + f"%1 = broadcast(%0) shape=({2**50}, 3, 4) : float32[{2**50}, 3, 4]",
    "huge pad": X + f"%1 = pad(%0) low=({2**50}, 0) high=(0, 0) inner=(0, 0) value=0.0 : "
                    f"float32[{2**50 + 3}, 4]",
    "huge inside": 'program p\n' + "".join(
        f'%{k} = input "{k}" : float32[{2**26}, 1]\n' for k in range(3)) +
        f"%3 = attention(%0, %1, %2) scale=1.0 causal=False : float32[{2**26}, 1]",
    # windows
    "pool of a million": IMAGE
        + "%1 = max_pool(%0) window=(999, 999) stride=(1, 1) : float32[1, 1, 1, 1]",
    "pool of nothing": IMAGE
        + "%1 = avg_pool(%0) window=(0, 1) stride=(1, 1) : float32[1, 999, 999, 1]",
    "pool stride 0": IMAGE
        + "%1 = max_pool(%0) window=(2, 2) stride=(0, 1) : float32[1, 9, 998, 1]",
    "pool of three": IMAGE + "%1 = max_pool(%0) window=(2, 2, 2) stride=(1, 1, 1) : float32[1]",
    "pool names swapped": IMAGE + "%1 = max_pool(%0) window=(2, 2) stride=(2, 2) : "
                                  "float32[1, 499, 499, 1]\n%2 = max_pool(%1) stride=(2, 2) "
                                  "window=(900, 2) : float32[1, 249, 249, 1]",
    # contractions
    "out twice": MM + DOT.replace('out=("i", "j")', 'out=("i", "i")') + " : float32[3, 3]",
    "sum and out": MM + DOT.replace('sum=("k",)', 'sum=("k", "i")') + " : float32[3, 5]",
    "sum of one side": MM + DOT.replace('out=("i", "j")', 'out=("i",)').replace(
        '("k",)', '("k", "j")')
                       + " : float32[3]",
    "axis unbound": MM + DOT.replace('sum=("k",)', "sum=()") + " : float32[3, 5]",
    "unknown name": MM + DOT.replace('out=("i", "j")', 'out=("i", "q")') + " : float32[3, 5]",
    "size unknown": MM + DOT.replace('"i", "k"', '"i + q", "k"') + " : float32[3, 5]",
    "code as index": MM + DOT.replace('"i", "k"', '"exit()", "k"') + " : float32[3, 5]",
    "power as index": MM + DOT.replace('"i", "k"', '"9**9**9", "k"') + " : float32[3, 5]",
    "deep index": MM + DOT.replace('"i", "k"', f'"{"-" * 90000}i", "k"') + " : float32[3, 5]",
    "long index": MM + DOT.replace('"i", "k"', f'"i{" + 1" * 90000}", "k"') + " : float32[3, 5]",
    "half an index": MM + DOT.replace('"i", "k"', '"1.5*i", "k"') + " : float32[3, 5]",
    "negative size": MM + DOT.replace('"i", "k"', '"2*i", "k"').replace(
        "sizes=()", 'sizes=(("i", -3),)') + " : float32[3, 5]",
    "sizes are text": MM + DOT.replace("sizes=()", 'sizes="ij"') + " : float32[3, 5]",
    "sum is text": MM + DOT.replace('sum=("k",)', 'sum="k"') + " : float32[3, 5]",
    # indices
    "take axis": V + "%2 = take(%0, %1) axis=1 batch=0 : float32[4, 2]",
    "take axis negative": V + "%2 = take(%0, %1) axis=-1 batch=0 : float32[2]",
    "take batch beyond": V + "%2 = take(%0, %1) axis=0 batch=1 : float32[2]",
    "take batch differs": 'program p\n%0 = input "x" : float32[4, 3]\n%1 = input "i" : int32[2]\n'
                          "%2 = take(%0, %1) axis=1 batch=1 : float32[4]",
    "take batch of scalar": 'program p\n%0 = input "x" : float32[4, 3]\n%1 = input "i" : int32[]\n'
                            "%2 = take(%0, %1) axis=1 batch=1 : float32[4]",
    "sort rank": V + "%2 = sort(%0) descending=True : float32[4]",
    "argsort too many": ROW3 + "%1 = argsort(%0) count=5 descending=True dtype=int32 : "
                               "int32[1, 5, 1]",
    "argsort negative": ROW3 + "%1 = argsort(%0) count=-1 descending=True dtype=int32 : "
                               "int32[1, 4, 1]",
    "argsort as float": ROW3 + "%1 = argsort(%0) count=4 descending=True dtype=float32 : "
                               "float32[1, 4, 1]",
    "cumulative rank": V + '%2 = cumulative(%0) exclusive=True monoid="sum" reverse=True : '
                           "float32[4]",
    "cumulative monoid": ROW3 + '%1 = cumulative(%0) exclusive=True monoid="any" reverse=True : '
                                "float32[1, 4, 1]",
    "searchsorted rows": 'program p\n%0 = input "x" : float32[2, 4]\n'
                         '%1 = input "v" : float32[3, 4]\n'
                         "%2 = searchsorted(%0, %1) right=True : int32[3, 4]",
    "scatter rank": V + '%2 = scatter(%0, %1, %0) monoid="sum" : float32[4]',
    "scatter monoid": SCATTER.format(4, 2, 2) + 'monoid="any" : float32[1, 1, 4, 1]',
    "scatter updates": SCATTER.format(4, 2, 3) + 'monoid="sum" : float32[1, 1, 4, 1]',
    "scatter nowhere": SCATTER.format(0, 2, 2) + 'monoid="sum" : float32[1, 1, 0, 1]',
    "sizes too large": V.replace("int32[2]", "int32[]")
        + "%2 = dynamic_slice(%0, %1) sizes=(5,) : float32[5]",
    "sizes negative": V.replace("int32[2]", "int32[]")
        + "%2 = dynamic_slice(%0, %1) sizes=(-1,) : float32[1]",
    "sizes missing": V.replace("int32[2]", "int32[]")
        + "%2 = dynamic_slice(%0, %1) sizes=() : float32[]",
    "word 2": KEY + "%1 = random_bits(%0) shape=(3,) word=2 : uint32[3]",
    "word true": KEY + "%1 = random_bits(%0) shape=(3,) word=True : uint32[3]",
    "word -1": KEY + "%1 = random_bits(%0) shape=(3,) word=-1 : uint32[3]",
    # symbols: right for some sizes only
    "stop beyond the symbol": ROWS + "%1 = slice(%0) starts=(0, 0) stops=(B + 1, 4) steps=(1, 1) : "
                                     "float32[B + 1, 4]",
    "stop twice the symbol": ROWS + "%1 = slice(%0) starts=(0, 0) stops=(2*B - 1, 4) "
                                    "steps=(1, 1) : float32[2*B - 1, 4]",
    "stop fixed": ROWS + "%1 = slice(%0) starts=(0, 0) stops=(8, 4) steps=(1, 1) : float32[8, 4]",
    "update of eight": ROWS + '%1 = constant value=0.0 dtype=float32 shape=(8, 4) : float32[8, 4]\n'
                              '%2 = constant value=0 dtype=int32 shape=() : int32[]\n'
                              "%3 = update_slice(%0, %1, %2, %2) : float32[B, 4]",
    "negative by symbol": ROWS + "%1 = pad(%0) low=(B - 4, 0) high=(0, 0) inner=(0, 0) value=0.0 : "
                                 "float32[2*B - 4, 4]",
    # index notation
    "notation without body": X + "%1 = notation(%0) : float32[3, 4]",
    "notation is a number": X + "%1 = notation(%0) body=3 : float32[3, 4]",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_text_is_refused_in_time(name):
    last = max(re.findall(r"^(%\d+) = ", REFUSED[name], re.MULTILINE), key=lambda n: int(n[1:]))
    start = time.perf_counter()
    with pytest.raises(ProgramError) as e:
        load(f"{REFUSED[name]}\nreturn {last}\n")
    assert time.perf_counter() - start < SECONDS
    assert not re.search("is written as|negative extent in|Error: ", str(e.value)), "by chance"


def test_every_op_declares_its_operands_and_parameters():
    for op in all_ops():
        assert op.arity >= 0 and all(p.__doc__ for p in op.params.values()), op
    for case in CASES:
        op, count = case.op, len(case.arrays)
        assert count == op.arity or (op.more and count > op.arity), case.name
        if case.body is None:
            assert case.params.keys() == op.params.keys(), case.name


# ---- mutants ------------------------------------------------------------------------------------

VALUES = ["0", "1", "2", "3", "-1", "5", "17", "1.5", "True", '"x"', "None", "4097",
          "1099511627776", "int8", "float64", "()", "(1,)", "(0, 1)"]
DTYPES = ["bool", "uint8", "int8", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
NUMBER = r"(?<![%\w.])-?\d+(?:\.\d*)?(?:e[-+]?\d+)?"
PARAM = r' (\w+)=(".*?"|\(.*?\)(?= \w+=|$)|\S+)'
PER_CASE, MOST_RUNS, MOST_COUNT = 20, 300, 20000


def mutant(text: str, rng: random.Random) -> str:
    """The text with one thing changed: a number, a parameter, an operand, an op, a dtype."""
    lines = text.rstrip("\n").split("\n")
    at = rng.choice([len(lines) - 2] * 5 + list(range(1, len(lines) - 1)))
    head, _, type_ = re.sub(r"  # \S+$", "", lines[at]).rpartition(" : ")
    kind = rng.choice(["number"] * 6 + ["drop", "double", "rename", "operand", "op", "dtype",
                                       "extent"])
    if kind == "number":
        head = _replaced(NUMBER, head, rng.choice(VALUES), rng)
    elif kind in ("drop", "double", "rename"):
        new = {"drop": "", "double": r"\g<0>\g<0>", "rename": r" q\1=\2"}[kind]
        head = _replaced(PARAM, head, new, rng)
    elif kind == "operand":
        head = _replaced(r"%\d+(, )?(?=.*\))", head, rng.choice(["", "%0, ", "%0", "%1"]), rng)
    elif kind == "op":
        head = re.sub(r"= \w+", f"= {rng.choice(all_ops()).name}", head, count=1)
    elif kind == "dtype":
        type_ = re.sub(r"^\w+", rng.choice(DTYPES), type_)
    else:
        type_ = _replaced(NUMBER, type_, rng.choice(["0", "1", "2", "7"]), rng)
    lines[at] = f"{head} : {type_}"
    return "\n".join(lines) + "\n"


def _replaced(pattern: str, text: str, new: str, rng: random.Random) -> str:
    found = list(re.finditer(pattern, text))
    if not found:
        return text
    match = rng.choice(found)
    return text[:match.start()] + match.expand(new) + text[match.end():]


def loaded(text: str) -> Program | None:
    """The program, a wrong result type put right so that mutants go further; None: refused."""
    for _ in range(3):
        try:
            return load(text)
        except LamellaError as e:
            told = re.search(r"line (\d+): .*the type is written as .*, but is (\S.*)$", str(e))
            if told is None:
                return None
            lines = text.split("\n")
            head = lines[int(told[1]) - 1].rpartition(" : ")[0]
            lines[int(told[1]) - 1] = f"{head} : {told[2]}"
            text = "\n".join(lines)
    return None


def arrays_for(program: Program, rng: np.random.Generator) -> list[np.ndarray]:
    return [(rng.standard_normal(t.shape) * 3).astype(t.dtype.numpy) for t in program.input_types]


def runs_briefly(program: Program) -> bool:
    """Whether values are small and loops end soon, as far as the text tells."""
    return all(
        all(t.size <= MOST_COUNT for t in tensors(n.type)) and n.op.name != "while"
        and n.params.get("length", 0) < 100 and all(map(runs_briefly, programs(n.params)))
        for n in program.nodes())


def test_mutants_are_refused_or_run():
    rng, numbers, runs, refused = random.Random(5), np.random.default_rng(5), 0, 0
    texts = [to_text(c.program()) for c in CASES if sum(a.size for a in c.arrays) < 2000]
    found = [(text, mutant(text, rng)) for text in texts for _ in range(PER_CASE)]
    rng.shuffle(found)
    for text, changed in found:
        start = time.perf_counter()
        program = loaded(changed)
        assert time.perf_counter() - start < SECONDS, changed
        refused += program is None
        if program is None or changed == text or runs >= MOST_RUNS:
            continue
        if not runs_briefly(program):
            continue
        runs += 1
        arrays = arrays_for(program, numbers)
        with np.errstate(all="ignore"):
            expected = interpret(program, arrays)
        given = compile_program(program)(arrays)
        for a, b in zip(given, expected, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype), changed
    assert refused > len(found) // 4 and runs > MOST_RUNS // 2
