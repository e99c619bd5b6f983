"""The entry of a run, in LLVM IR: from the addresses of a call to the walk over the steps and back.

`walk` takes them from Python as integers; `call` (in `call.py`) reads them from its arguments.
"""

from __future__ import annotations

from lamella.runtime.gil import POLL_NS
from lamella.runtime.layout import INTERRUPTED, MISCOUNTED, RUNNING, fields

TEXT = f"""
; Write the addresses of this call into the image, for the bases that changed since the last.
define internal void @place(ptr %b, ptr %addresses) {{
entry:
{fields("bases n_bases ends patches image")}
  %bases = load ptr, ptr %p.bases
  %n = load i64, ptr %p.n_bases
  %ends = load ptr, ptr %p.ends
  %patches = load ptr, ptr %p.patches
  %image = load ptr, ptr %p.image
  br label %look
look:
  %k = phi i64 [0, %entry], [%k1, %same], [%k1, %patch]
  %more = icmp ult i64 %k, %n
  br i1 %more, label %one, label %out
one:
  %po = getelementptr ptr, ptr %addresses, i64 %k
  %base = load ptr, ptr %po
  %k1 = add i64 %k, 1
  %pb = getelementptr ptr, ptr %bases, i64 %k
  %old = load ptr, ptr %pb
  %equal = icmp eq ptr %old, %base
  br i1 %equal, label %same, label %changed
same:
  br label %look
changed:
  store ptr %base, ptr %pb
  %pe = getelementptr i64, ptr %ends, i64 %k
  %pe1 = getelementptr i64, ptr %ends, i64 %k1
  %from = load i64, ptr %pe
  %to = load i64, ptr %pe1
  %base_word = ptrtoint ptr %base to i64
  br label %patch
patch:
  %i = phi i64 [%from, %changed], [%i1, %write]
  %some = icmp ult i64 %i, %to
  br i1 %some, label %write, label %look
write:
  %i2 = shl i64 %i, 1
  %pw = getelementptr i64, ptr %patches, i64 %i2
  %pd = getelementptr i64, ptr %pw, i64 1
  %w = load i64, ptr %pw
  %d = load i64, ptr %pd
  %x = add i64 %base_word, %d
  %px = getelementptr i64, ptr %image, i64 %w
  store i64 %x, ptr %px
  %i1 = add i64 %i, 1
  br label %patch
out:
  ret void
}}
define internal void @begin(ptr %b) {{
{fields("status outcome deadline polls control threads granted state")}
  store i64 0, ptr %p.status
  store i64 {RUNNING}, ptr %p.outcome
  store ptr null, ptr %p.state
  %now = call i64 @clock_ns(i32 6)
  %first = add i64 %now, {POLL_NS}
  store i64 %first, ptr %p.deadline
  %me = call i64 @PyThread_get_thread_ident()
  %main = load i64, ptr @main_thread
  %same = icmp eq i64 %me, %main
  %polls = zext i1 %same to i64
  store i64 %polls, ptr %p.polls
  %old = call i32 @float_enter()
  store i32 %old, ptr %p.control
  %want = load i64, ptr %p.threads
  %got = call i64 @team_take(i64 %want)
  store i64 %got, ptr %p.granted
  ret void
}}
define internal void @finish(ptr %b) {{
{fields("granted control")}
  %got = load i64, ptr %p.granted
  call void @team_give(i64 %got)
  %old = load i32, ptr %p.control
  call void @float_leave(i32 %old)
  ret void
}}
; Run over the addresses: RUNNING where all went well, else what went wrong.
define internal i64 @run(ptr %b, ptr %addresses) {{
{fields("outcome")}
  call void @place(ptr %b, ptr %addresses)
  call void @begin(ptr %b)
  call void @gil_release(ptr %b)
  call void @steps(ptr %b)
  call void @finish(ptr %b)
  call void @gil_take(ptr %b)
  %outcome = load i64, ptr %p.outcome
  ret i64 %outcome
}}
; What Python sees of a run: %well, NULL after an exception, or the outcome as an integer.
define internal ptr @told(i64 %outcome, ptr %well) {{
  switch i64 %outcome, label %fail [ i64 {RUNNING}, label %fine
                                     i64 {INTERRUPTED}, label %raise ]
fine:
  call void @Py_IncRef(ptr %well)
  ret ptr %well
raise:
  ret ptr null
fail:
  %word = inttoptr i64 %outcome to ptr
  %r = call ptr @PyLong_FromVoidPtr(ptr %word)
  ret ptr %r
}}
; PyCFunction, METH_FASTCALL; self is the address of the block, args are the bases.
define ptr @walk(ptr %self, ptr %args, i64 %count) {{
entry:
  %b = call ptr @PyLong_AsVoidPtr(ptr %self)
{fields("n_bases none")}
  %none = load ptr, ptr %p.none
  %n = load i64, ptr %p.n_bases
  %fits = icmp eq i64 %n, %count
  br i1 %fits, label %take, label %odd
odd:
  %r0 = call ptr @told(i64 {MISCOUNTED}, ptr %none)
  ret ptr %r0
take:
  %addresses = alloca ptr, i64 %n
  br label %look
look:
  %k = phi i64 [0, %take], [%k1, %next]
  %more = icmp ult i64 %k, %n
  br i1 %more, label %one, label %go
one:
  %po = getelementptr ptr, ptr %args, i64 %k
  %object = load ptr, ptr %po
  %base = call ptr @PyLong_AsVoidPtr(ptr %object)
  %pa = getelementptr ptr, ptr %addresses, i64 %k
  store ptr %base, ptr %pa
  %null = icmp eq ptr %base, null
  br i1 %null, label %check, label %next
check:
  %e = call ptr @PyErr_Occurred()
  %bad = icmp ne ptr %e, null
  br i1 %bad, label %raised, label %next
next:
  %k1 = add i64 %k, 1
  br label %look
raised:
  ret ptr null
go:
  %outcome = call i64 @run(ptr %b, ptr %addresses)
  %r = call ptr @told(i64 %outcome, ptr %none)
  ret ptr %r
}}
"""
