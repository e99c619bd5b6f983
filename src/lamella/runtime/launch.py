"""Launches, in LLVM IR: kernels handed to the team chunk by chunk; and the copy kernel."""

from __future__ import annotations

from lamella.runtime.layout import FAILED, HOST, RUNNING, STEP_WORDS, fields, words

PAST = 32 << 20     # bytes of a copy

TEXT = f"""
; Chunk %chunk of the group of steps at the block's `group`: a range of a launch's tasks, or a call
; of Python, which comes first in its group, so that it stays with the entering thread.
define internal i64 @chunk(ptr %b, i64 %chunk, i64 %thread) {{
entry:
{fields("group image scratch scratch_stride status")}
  %first = load ptr, ptr %p.group
  br label %find
find:
  %s = phi ptr [%first, %entry], [%after, %skip]
  %c = phi i64 [%chunk, %entry], [%rest, %skip]
{words("%s", own=7)}
  %here = icmp ult i64 %c, %own
  br i1 %here, label %run, label %skip
skip:
  %rest = sub i64 %c, %own
  %after = getelementptr i64, ptr %s, i64 {STEP_WORDS}
  br label %find
run:
{words("%s", kind=0, fn=1, at=2, tasks=3, grain=4)}
  %python = icmp eq i64 %kind, {HOST}
  br i1 %python, label %host, label %kernel
host:
  %r = call i64 @do_host(ptr %b, ptr %s)
  ret i64 %r
kernel:
  %f = inttoptr i64 %fn to ptr
  %begin = mul i64 %c, %grain
  %full = add i64 %begin, %grain
  %end = call i64 @llvm.umin.i64(i64 %full, i64 %tasks)
  %image = load ptr, ptr %p.image
  %args = getelementptr i64, ptr %image, i64 %at
  %base = load ptr, ptr %p.scratch
  %stride = load i64, ptr %p.scratch_stride
  %offset = mul i64 %stride, %thread
  %scratch = getelementptr i8, ptr %base, i64 %offset
  call void %f(ptr %args, i64 %begin, i64 %end, ptr %scratch)
  %status = load atomic i64, ptr %p.status monotonic, align 8
  %well = icmp eq i64 %status, 0
  br i1 %well, label %fine, label %failed
fine:
  %leader = icmp eq i64 %thread, 0
  br i1 %leader, label %ask, label %on
ask:
  %o = call i64 @poll(ptr %b)
  ret i64 %o
on:
  ret i64 0
failed:
  ret i64 1
}}
; Each handler returns the index of the next step.
define internal i64 @do_launch(ptr %b, ptr %s) {{
{fields("group granted status outcome")}
{words("%s", chunks=5, next=6)}
  store ptr %s, ptr %p.group
  %threads = load i64, ptr %p.granted
  %lost = call i64 @team_share(ptr @chunk, ptr %b, i64 %chunks, i64 %threads)
  %status = load atomic i64, ptr %p.status acquire, align 8
  %wrong = or i64 %status, %lost
  %well = icmp eq i64 %wrong, 0
  br i1 %well, label %out, label %failed
failed:
  %outcome = load i64, ptr %p.outcome
  %running = icmp eq i64 %outcome, {RUNNING}
  br i1 %running, label %first, label %out
first:
  store i64 {FAILED}, ptr %p.outcome
  br label %out
out:
  ret i64 %next
}}
; args: distance in words to the two addresses, bytes in all, bytes of one task. Of so many that no
; cache would keep them, whole lines go past the caches.
define internal void @copy(ptr %args, i64 %begin, i64 %end, ptr %scratch) {{
entry:
{words("%args", to=0, source=1, bytes=2, piece=3)}
  %pd = getelementptr i64, ptr %args, i64 %to
  %ps = getelementptr i64, ptr %args, i64 %source
  %d = load ptr, ptr %pd
  %s = load ptr, ptr %ps
  %lo = mul i64 %begin, %piece
  %far = mul i64 %end, %piece
  %hi = call i64 @llvm.umin.i64(i64 %far, i64 %bytes)
  %n = sub i64 %hi, %lo
  %d1 = getelementptr i8, ptr %d, i64 %lo
  %s1 = getelementptr i8, ptr %s, i64 %lo
  %many = icmp sge i64 %bytes, {PAST}
  %address = ptrtoint ptr %d1 to i64
  %low = and i64 %address, 63
  %aligned = icmp eq i64 %low, 0
  %past = and i1 %many, %aligned
  %lines = lshr i64 %n, 6
  %some = icmp ne i64 %lines, 0
  %go = and i1 %past, %some
  br i1 %go, label %line, label %plain
line:
  %i = phi i64 [0, %entry], [%i1, %line]
  %at = shl i64 %i, 6
  %from = getelementptr i8, ptr %s1, i64 %at
  %into = getelementptr i8, ptr %d1, i64 %at
  %x = load <16 x i32>, ptr %from, align 1
  store <16 x i32> %x, ptr %into, align 64, !nontemporal !0
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %lines
  br i1 %more, label %line, label %rest
rest:
  %done = shl i64 %lines, 6
  %left = sub i64 %n, %done
  %d2 = getelementptr i8, ptr %d1, i64 %done
  %s2 = getelementptr i8, ptr %s1, i64 %done
  call void @llvm.memcpy.p0.p0.i64(ptr %d2, ptr %s2, i64 %left, i1 false)
  call void @llvm.x86.sse.sfence()
  ret void
plain:
  call void @llvm.memcpy.p0.p0.i64(ptr %d1, ptr %s1, i64 %n, i1 false)
  ret void
}}
!0 = !{{i32 1}}
declare void @llvm.x86.sse.sfence()
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define ptr @copy_kernel() {{
  ret ptr @copy
}}
"""
