"""Code and its constants lie together, whatever holes the process' memory has."""

import subprocess
import sys

PROGRAM = """
import ctypes, mmap
from lamella.runtime import llvm

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

def reserved(size):     # without access: no memory is taken
    found = libc.mmap(None, size, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, -1, 0)
    assert found != ctypes.c_void_p(-1).value
    return found

text = (
    "define double @add(double %x) {\\n  %y = fadd double %x, 1.25\\n  ret double %y\\n}\\n"
    "define i64 @seven() {\\n  ret i64 7\\n}\\n"
)
code = llvm.assemble(text, cpu="x86-64-v3", features=())
llvm.load(code, ["seven"])      # the linker is there before the holes are
size = 6 << 30
region = reserved(size)
for _ in range(1 << 20):        # every hole above the region is filled
    if reserved(mmap.PAGESIZE) < region:
        break
libc.munmap(region + size - (1 << 20), mmap.PAGESIZE)
address = llvm.load(code, ["add"])["add"]
print(ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address)(1.0))
"""


def test_a_hole_for_the_code_alone_far_from_all_others():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "2.25"), done.stderr
