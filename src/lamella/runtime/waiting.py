"""Waiting for a word to change, in LLVM IR: spin for 20 us, yield up to 50 us, then sleep.

So nothing spins for long where threads outnumber cores, and an idle worker costs nothing.
"""

from __future__ import annotations

SPIN_NS = 20_000
YIELD_NS = 50_000

TEXT = f"""
; Return when the word no longer has the old value (or for no reason: callers look again).
define internal void @await(ptr %word, i32 %old, ptr %waiters) {{
entry:
  br label %look
look:
  %k = phi i32 [0, %entry], [%k1, %pause], [%k1, %time], [%k1, %yield]
  %since = phi i64 [0, %entry], [%since, %pause], [%start, %time], [%start, %yield]
  %now = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %now, %old
  br i1 %same, label %pause, label %out
pause:
  call void @cpu_relax()
  %k1 = add i32 %k, 1
  %low = and i32 %k1, 63
  %due = icmp eq i32 %low, 0
  br i1 %due, label %time, label %look
time:
  %t = call i64 @clock_ns(i32 1)
  %first = icmp eq i64 %since, 0
  %start = select i1 %first, i64 %t, i64 %since
  %spent = sub i64 %t, %start
  %hot = icmp ult i64 %spent, {SPIN_NS}
  br i1 %hot, label %look, label %tired
tired:
  %warm = icmp ult i64 %spent, {YIELD_NS}
  br i1 %warm, label %yield, label %sleep
yield:
  call void @cpu_yield()
  br label %look
sleep:
  %a = atomicrmw add ptr %waiters, i32 1 seq_cst
  call void @sleep_while(ptr %word, i32 %old)
  %b = atomicrmw sub ptr %waiters, i32 1 seq_cst
  br label %out
out:
  ret void
}}
; After the word was changed (seq_cst): wake up to %count of those asleep on it.
define internal void @rouse(ptr %word, ptr %waiters, i32 %count) {{
  %n = load atomic i32, ptr %waiters seq_cst, align 4
  %any = icmp ne i32 %n, 0
  br i1 %any, label %call, label %out
call:
  call void @wake(ptr %word, i32 %count)
  br label %out
out:
  ret void
}}
"""
