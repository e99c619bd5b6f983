"""Small kernels and arrays that the runtime's tests run."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from lamella.runtime import cache, llvm, walker


def _each(name: str, body: str) -> str:
    """A kernel that runs `body` for every task %i."""
    return f"""
define void @{name}(ptr %args, i64 %begin, i64 %end, ptr %scratch) {{
entry:
  %a1 = getelementptr i64, ptr %args, i64 1
  %a2 = getelementptr i64, ptr %args, i64 2
  %p0 = load ptr, ptr %args
  br label %look
look:
  %i = phi i64 [%begin, %entry], [%i1, %done]
  %more = icmp ult i64 %i, %end
  br i1 %more, label %one, label %out
one:
{body}
  br label %done
done:
  %i1 = add i64 %i, 1
  br label %look
out:
  ret void
}}
"""


TEXT = (
    _each("mark", """
  %q = getelementptr i64, ptr %p0, i64 %i
  %o = atomicrmw add ptr %q, i64 1 monotonic""")
    + _each("add", """
  %p1 = load ptr, ptr %a1
  %v = load i64, ptr %a2
  %d = getelementptr i64, ptr %p0, i64 %i
  %s = getelementptr i64, ptr %p1, i64 %i
  %x = load i64, ptr %s
  %y = add i64 %x, %v
  store i64 %y, ptr %d""")
    + _each("fail", """
  %at = load i64, ptr %a1
  %bad = icmp eq i64 %i, %at
  br i1 %bad, label %store, label %done
store:
  store atomic i64 7, ptr %p0 monotonic, align 8""")
    + _each("slow", """
  br label %spin
spin:
  %k = phi i64 [0, %one], [%k1, %spin]
  store volatile i64 %k, ptr %scratch
  %k1 = add i64 %k, 1
  %on = icmp ult i64 %k1, 100000
  br i1 %on, label %spin, label %rest
rest:""")
    + _each("where", """
  %q = getelementptr ptr, ptr %p0, i64 %i
  store ptr %scratch, ptr %q""")
    + _each("share", """
  br label %spin
spin:
  %k = phi i64 [0, %one], [%k1, %spin]
  store volatile i64 %k, ptr %scratch
  %k1 = add i64 %k, 1
  %on = icmp ult i64 %k1, 10000
  br i1 %on, label %spin, label %rest
rest:
  %q = getelementptr ptr, ptr %p0, i64 %i
  store ptr %scratch, ptr %q""")
    + _each("control", """
  %q = getelementptr i32, ptr %p0, i64 %i
  call void @llvm.x86.sse.stmxcsr(ptr %q)""")
    + _each("countdown", """
  %p1 = load ptr, ptr %a1
  %x = load i64, ptr %p0
  %y = sub i64 %x, 1
  store i64 %y, ptr %p0
  %some = icmp ne i64 %y, 0
  %flag = zext i1 %some to i8
  store i8 %flag, ptr %p1""")
    + "declare void @llvm.x86.sse.stmxcsr(ptr)\n"
)  # fmt: skip
NAMES = ("mark", "add", "fail", "slow", "where", "share", "control", "countdown")


@pytest.fixture(scope="session")
def kernels() -> dict[str, int]:
    """Addresses of the kernels above."""
    return llvm.load(cache.compiled(TEXT), NAMES)


@pytest.fixture(params=[1, 2, 4])
def threads(request) -> int:
    """Run the test on so many threads."""
    before = walker.threads()
    walker.set_threads(request.param)
    yield request.param
    walker.set_threads(before)


class Words:
    """An array of 64-bit words with its address."""

    def __init__(self, count: int):
        self.array = np.zeros(count, np.int64)
        self.address = self.array.__array_interface__["data"][0]


@pytest.fixture
def words():
    """`words(n)`: n zero words."""
    return Words


def start(code: str, *arguments: str, **environment: str) -> subprocess.Popen:
    """Another Python process that sees what this one can import."""
    paths = os.pathsep.join(p for p in sys.path if p)
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def python():
    """`python(code, *arguments, **environment)`: what another process prints; it must succeed."""

    def run(code: str, *arguments: str, **environment: str) -> str:
        process = start(code, *arguments, **environment)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out.strip()

    return run
