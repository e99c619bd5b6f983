"""The native walker: runs the steps of a table, compiled once for the machine.

A table is an array of steps, eight words each; the entering thread walks it and hands launches
to the team. All words a run changes live in its block (see `layout.BLOCK`), so one table can run
twice at once. Kernels are `void k(ptr args, i64 begin, i64 end, ptr scratch)`; args points into the
image, an array of words in which the walker has written the addresses of this call.

`walk` is a CPython function: it takes the base addresses as integers and returns None, raises
what a host step or a signal raised, or returns the outcome FAILED.
"""

from __future__ import annotations

import ctypes
import os
import threading
from functools import lru_cache

from lamella.runtime import (
    cache,
    call,
    control,
    donation,
    entry,
    gil,
    launch,
    layout,
    llvm,
    slots,
    spill,
    team,
    waiting,
)
from lamella.runtime import x86_linux as machine
from lamella.runtime.layout import STEP_WORDS, fields, words
from lamella.runtime.methods import Function

_STEPS = f"""
; With the profiler's array in place: add the cycles since %since to the step's word.
define internal i64 @tick(ptr %b, i64 %i, i64 %since) {{
{fields("ticks")}
  %ticks = load ptr, ptr %p.ticks
  %off = icmp eq ptr %ticks, null
  br i1 %off, label %out, label %on
on:
  %now = call i64 @llvm.readcyclecounter()
  %pt = getelementptr i64, ptr %ticks, i64 %i
  %t = load i64, ptr %pt
  %d = sub i64 %now, %since
  %t1 = add i64 %t, %d
  store i64 %t1, ptr %pt
  ret i64 %now
out:
  ret i64 0
}}
declare i64 @llvm.readcyclecounter()
define internal void @steps(ptr %b) {{
entry:
{fields("steps at outcome")}
  %steps = load ptr, ptr %p.steps
  %start = call i64 @llvm.readcyclecounter()
  br label %go
go:
  %i = phi i64 [0, %entry], [%next, %look]
  %since = phi i64 [%start, %entry], [%now, %look]
  store i64 %i, ptr %p.at
  %o = mul i64 %i, {STEP_WORDS}
  %s = getelementptr i64, ptr %steps, i64 %o
  %kind = load i64, ptr %s
  switch i64 %kind, label %out [
    i64 {layout.LAUNCH}, label %launch
    i64 {layout.LOOP}, label %loop
    i64 {layout.AGAIN}, label %again
    i64 {layout.BRANCH}, label %branch
    i64 {layout.JUMP}, label %jump
    i64 {layout.HOST}, label %launch
  ]
launch:
  %n0 = call i64 @do_launch(ptr %b, ptr %s)
  br label %after
loop:
  %n1 = call i64 @do_loop(ptr %b, ptr %s, i64 %i)
  br label %after
again:
  %n2 = call i64 @do_again(ptr %b, ptr %s, i64 %i)
  br label %after
branch:
  %n3 = call i64 @do_branch(ptr %b, ptr %s, i64 %i)
  br label %after
jump:
{words("%s", n4=1)}
  br label %after
after:
  %next = phi i64 [%n0, %launch], [%n1, %loop], [%n2, %again],
                  [%n3, %branch], [%n4, %jump]
  %now = call i64 @tick(ptr %b, i64 %i, i64 %since)
  %outcome = load i64, ptr %p.outcome
  %well = icmp eq i64 %outcome, 0
  br i1 %well, label %look, label %out
look:
  %r = call i64 @poll(ptr %b)
  %on = icmp eq i64 %r, 0
  br i1 %on, label %go, label %out
out:
  ret void
}}
"""

_PARTS = (machine, waiting, team, gil, launch, spill, control, entry, slots,
          donation, call)
TEXT = "".join(part.TEXT for part in _PARTS) + _STEPS
NAMES = (*team.NAMES, "main_thread", "walk", "call", "slots", "block_end", "copy_kernel",
         "spill_kernel", "fetch_kernel")


class Walker:
    """The compiled walker and its team; one per process, from `walker()`."""

    def __init__(self):
        code = llvm.load(cache.compiled(TEXT), NAMES)
        self.functions = Function("walk", code["walk"]), Function("call", code["call"])
        self.copy, self.spill, self.fetch = (ctypes.CFUNCTYPE(ctypes.c_void_p)(
            code[f"{name}_kernel"])() for name in ("copy", "spill", "fetch"))
        self.code = code
        self.team = team.Team(code)
        self._main = ctypes.c_int64.from_address(code["main_thread"])
        self._note_main()
        os.register_at_fork(after_in_child=self._note_main)

    def _note_main(self) -> None:
        """Only Python's main thread handles signals: tell the walker which one that is."""
        self._main.value = threading.main_thread().ident


@lru_cache(None)
def walker() -> Walker:
    """The process' walker, compiled or loaded at first use."""
    return Walker()


def threads() -> int:
    """Threads a run may use, the entering one included."""
    return walker().team.threads


def set_threads(count: int) -> None:
    """Use up to `count` threads from the next run on; at least one."""
    if count < 1:
        raise ValueError(f"set_threads({count}): at least one thread is needed")
    walker().team.threads = count
