"""The file in which a run keeps values that do not rest in memory: it has no name, and ends with
the lease of the run that owns it; and the kernels that write and read it, in LLVM IR.

The system's cache of files may keep what was written in memory while there is room; what it keeps
is no part of the process, and it gives it up for others.
"""

from __future__ import annotations

import os
import tempfile
import weakref

from lamella.base.errors import ExecutionError
from lamella.runtime.layout import words

PIECE = 1 << 20     # bytes of one task
_ENDED = 5          # EIO: the file is shorter than what is to be read

TEXT = f"""
declare i64 @pwrite(i32, ptr, i64, i64)
declare i64 @pread(i32, ptr, i64, i64)
declare ptr @__errno_location()
; args: distance in words to the address, offset in the file, bytes in all, bytes of one task, the
; file's descriptor, the address of the word that failures are reported into.
define internal void @transfer(ptr %args, i64 %begin, i64 %end, i1 %writes) {{
entry:
{words("%args", at=0, offset=1, bytes=2, piece=3, file=4, status=5)}
  %pa = getelementptr i64, ptr %args, i64 %at
  %a = load ptr, ptr %pa
  %fd = trunc i64 %file to i32
  %lo = mul i64 %begin, %piece
  %far = mul i64 %end, %piece
  %hi = call i64 @llvm.umin.i64(i64 %far, i64 %bytes)
  br label %look
look:
  %k = phi i64 [%lo, %entry], [%k1, %moved], [%k, %failed]
  %left = sub i64 %hi, %k
  %done = icmp eq i64 %left, 0
  br i1 %done, label %out, label %one
one:
  %p = getelementptr i8, ptr %a, i64 %k
  %o = add i64 %offset, %k
  br i1 %writes, label %write, label %read
write:
  %w = call i64 @pwrite(i32 %fd, ptr %p, i64 %left, i64 %o)
  br label %moved
read:
  %r = call i64 @pread(i32 %fd, ptr %p, i64 %left, i64 %o)
  br label %moved
moved:
  %n = phi i64 [%w, %write], [%r, %read]
  %k1 = add i64 %k, %n
  %well = icmp sgt i64 %n, 0
  br i1 %well, label %look, label %stopped
stopped:
  %ended = icmp eq i64 %n, 0
  br i1 %ended, label %lost, label %failed
failed:
  %pe = call ptr @__errno_location()
  %e32 = load i32, ptr %pe
  %e = zext i32 %e32 to i64
  %again = icmp eq i64 %e, 4
  br i1 %again, label %look, label %lost
lost:
  %code = phi i64 [{_ENDED}, %stopped], [%e, %failed]
  %ps = inttoptr i64 %status to ptr
  store atomic i64 %code, ptr %ps monotonic, align 8
  br label %out
out:
  ret void
}}
define internal void @spill(ptr %args, i64 %begin, i64 %end, ptr %scratch) {{
  call void @transfer(ptr %args, i64 %begin, i64 %end, i1 true)
  ret void
}}
define internal void @fetch(ptr %args, i64 %begin, i64 %end, ptr %scratch) {{
  call void @transfer(ptr %args, i64 %begin, i64 %end, i1 false)
  ret void
}}
define ptr @spill_kernel() {{
  ret ptr @spill
}}
define ptr @fetch_kernel() {{
  ret ptr @fetch
}}
"""


class SpillFile:
    """A file of so many bytes, all of them set aside, that no folder names: when the process ends,
    however it does, or this object, its bytes are free."""

    __slots__ = ("__weakref__", "descriptor", "process")

    def __init__(self, size: int, folder: str):
        self.process = os.getpid()
        try:
            with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
                self.descriptor = os.dup(file.fileno())
            weakref.finalize(self, os.close, self.descriptor)
            os.posix_fallocate(self.descriptor, 0, size)
        except OSError as e:
            raise ExecutionError(f"there is no room for a file of {size} bytes in {folder}, where "
                                 f"values are spilled: {e.strerror}; name another folder with "
                                 "spill=, or a larger memory budget") from None
