"""The walker and Python, in LLVM IR: its lock, its signals, its callables.

A run gives up the lock for its whole length (unless the table holds it), and takes it back for
host steps and, on the main thread, every POLL_NS to let signal handlers run.
"""

from __future__ import annotations

from lamella.runtime.layout import INTERRUPTED, fields, words

POLL_NS = 50_000_000

TEXT = f"""
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare i32 @PyErr_CheckSignals()
declare ptr @PyErr_Occurred()
declare ptr @PyLong_AsVoidPtr(ptr)
declare ptr @PyLong_FromVoidPtr(ptr)
declare ptr @PyObject_CallOneArg(ptr, ptr)
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare i64 @PyThread_get_thread_ident()
@main_thread = global i64 0

define internal void @gil_release(ptr %b) {{
{fields("hold state")}
  %hold = load i64, ptr %p.hold
  %free = icmp eq i64 %hold, 0
  br i1 %free, label %save, label %out
save:
  %s = call ptr @PyEval_SaveThread()
  store ptr %s, ptr %p.state
  br label %out
out:
  ret void
}}
define internal void @gil_take(ptr %b) {{
{fields("state")}
  %s = load ptr, ptr %p.state
  %away = icmp ne ptr %s, null
  br i1 %away, label %back, label %out
back:
  call void @PyEval_RestoreThread(ptr %s)
  store ptr null, ptr %p.state
  br label %out
out:
  ret void
}}
; On the entering thread: every POLL_NS let Python handle signals; nonzero stops the run.
define internal i64 @poll(ptr %b) {{
{fields("deadline polls outcome")}
  %now = call i64 @clock_ns(i32 6)
  %deadline = load i64, ptr %p.deadline
  %due = icmp uge i64 %now, %deadline
  br i1 %due, label %look, label %out
look:
  %next = add i64 %now, {POLL_NS}
  store i64 %next, ptr %p.deadline
  %polls = load i64, ptr %p.polls
  %main = icmp ne i64 %polls, 0
  br i1 %main, label %ask, label %out
ask:
  call void @gil_take(ptr %b)
  %r = call i32 @PyErr_CheckSignals()
  call void @gil_release(ptr %b)
  %raised = icmp ne i32 %r, 0
  br i1 %raised, label %stop, label %out
stop:
  store i64 {INTERRUPTED}, ptr %p.outcome
  br label %out
out:
  %o = load i64, ptr %p.outcome
  ret i64 %o
}}
; Call Python with the address of the step's args, under the caller's float control word: the
; outcome.
define internal i64 @do_host(ptr %b, ptr %s) {{
{fields("image control outcome")}
{words("%s", callee=1, at=2)}
  %image = load ptr, ptr %p.image
  %args = getelementptr i64, ptr %image, i64 %at
  %f = inttoptr i64 %callee to ptr
  %control = load i32, ptr %p.control
  call void @float_leave(i32 %control)
  call void @gil_take(ptr %b)
  %a = call ptr @PyLong_FromVoidPtr(ptr %args)
  %r = call ptr @PyObject_CallOneArg(ptr %f, ptr %a)
  call void @Py_DecRef(ptr %a)
  %bad = icmp eq ptr %r, null
  br i1 %bad, label %raised, label %fine
raised:
  store i64 {INTERRUPTED}, ptr %p.outcome
  br label %out
fine:
  call void @Py_DecRef(ptr %r)
  br label %out
out:
  call void @gil_release(ptr %b)
  %old = call i32 @float_enter()
  %o = load i64, ptr %p.outcome
  ret i64 %o
}}
"""
