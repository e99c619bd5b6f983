"""What the team and the walker need from one kind of machine: x86-64 Linux.

Another machine costs one file like this: the same seven functions in LLVM IR.
"""

from __future__ import annotations

# Round to nearest, denormals kept, every exception masked: the control word of all our numbers.
CONTROL_WORD = 0x1F80

TEXT = f"""
declare i64 @syscall(i64, ...)
declare i32 @sched_yield()
declare i32 @clock_gettime(i32, ptr)
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)

; Set the float control word; the caller's comes back.
define internal i32 @float_enter() {{
  %p = alloca [2 x i32]
  %q = getelementptr i32, ptr %p, i64 1
  call void @llvm.x86.sse.stmxcsr(ptr %p)
  %old = load i32, ptr %p
  store i32 {CONTROL_WORD}, ptr %q
  call void @llvm.x86.sse.ldmxcsr(ptr %q)
  ret i32 %old
}}
define internal void @float_leave(i32 %old) {{
  %p = alloca i32
  store i32 %old, ptr %p
  call void @llvm.x86.sse.ldmxcsr(ptr %p)
  ret void
}}
define internal void @cpu_relax() {{
  call void @llvm.x86.sse2.pause()
  ret void
}}
define internal void @cpu_yield() {{
  %r = call i32 @sched_yield()
  ret void
}}
; Nanoseconds: clock 1 is exact (20 ns to read), clock 6 moves every few ms (5 ns to read).
define internal i64 @clock_ns(i32 %clock) {{
  %p = alloca [2 x i64]
  %q = getelementptr i64, ptr %p, i64 1
  %r = call i32 @clock_gettime(i32 %clock, ptr %p)
  %s = load i64, ptr %p
  %n = load i64, ptr %q
  %m = mul i64 %s, 1000000000
  %t = add i64 %m, %n
  ret i64 %t
}}
; Sleep while the word has this value; waking without cause is allowed. (futex, private)
define internal void @sleep_while(ptr %word, i32 %value) {{
  %r = call i64 (i64, ...) @syscall(i64 202, ptr %word, i64 128, i32 %value, ptr null)
  ret void
}}
define internal void @wake(ptr %word, i32 %count) {{
  %r = call i64 (i64, ...) @syscall(i64 202, ptr %word, i64 129, i32 %count, ptr null)
  ret void
}}
"""
