"""The thread team: workers that share the chunks of one job at a time, in LLVM IR.

One team per process. The entering thread leads: it publishes a job (a function, a context, a
number of chunks), works on it like everyone, and waits only for chunks that a worker has taken,
so a worker the system does not schedule delays nobody. Chunks are claimed one at a time from one
word {epoch: 32, chunks left: 32} by compare-and-swap: a claim that succeeds proves that the job
read before it is still the one published, and an epoch only moves on, so no counter is ever
reset under a waiter. A second caller does not wait for the team: it gets one thread, its own.
"""

from __future__ import annotations

import ctypes
import os

from lamella.base import knobs
from lamella.base.errors import LamellaError
from lamella.runtime.cores import cores

MAX_CHUNKS = (1 << 31) - 1

# All signals but the synchronous ones (ILL 4, BUS 7, FPE 8, SEGV 11) stay with Python's threads.
_BLOCKED = ~sum(1 << (n - 1) for n in (4, 7, 8, 11))

TEXT = f"""
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare ptr @pthread_self()

; claim word, body, context, chunks in all, threads allowed: one line, written by the leader.
%job = type {{ i64, ptr, ptr, i64, i64, [11 x i64] }}
%line = type {{ i32, [31 x i32] }}
@job = internal global %job zeroinitializer, align 128
@done = internal global %line zeroinitializer, align 128      ; chunks that workers finished
@sleepers = internal global %line zeroinitializer, align 128  ; workers asleep on the epoch
@dozing = internal global %line zeroinitializer, align 128    ; the leader asleep on @done
@taken = internal global %line zeroinitializer, align 128     ; 1 while someone leads
@leader = internal global ptr null                            ; the thread that leads
@team_size = global i64 1                                     ; threads wanted, leader included
@born = internal global i64 1                                 ; threads there are
@blocked = internal constant [16 x i64] [{", ".join(["i64 " + str(_BLOCKED)] + ["i64 -1"] * 15)}]

; Claim and run chunks of the job whose claim word was %w0; how many are done by this thread.
; A body that returns nonzero drops the chunks nobody has claimed (they count as done here).
define internal i64 @work(i64 %w0, i64 %me) {{
entry:
  %pb = getelementptr %job, ptr @job, i64 0, i32 1
  %pc = getelementptr %job, ptr @job, i64 0, i32 2
  %pn = getelementptr %job, ptr @job, i64 0, i32 3
  %body = load atomic ptr, ptr %pb monotonic, align 8
  %context = load atomic ptr, ptr %pc monotonic, align 8
  %total = load atomic i64, ptr %pn monotonic, align 8
  br label %try
try:
  %w = phi i64 [%w0, %entry], [%seen, %miss], [%next, %more]
  %mine = phi i64 [0, %entry], [%mine, %miss], [%mine1, %more]
  %left = and i64 %w, 4294967295
  %empty = icmp eq i64 %left, 0
  br i1 %empty, label %out, label %take
take:
  %w1 = sub i64 %w, 1
  %r = cmpxchg ptr @job, i64 %w, i64 %w1 acq_rel acquire
  %ok = extractvalue {{ i64, i1 }} %r, 1
  br i1 %ok, label %run, label %miss
miss:
  %seen = extractvalue {{ i64, i1 }} %r, 0
  %differ = xor i64 %seen, %w0
  %epochs = lshr i64 %differ, 32
  %same = icmp eq i64 %epochs, 0
  br i1 %same, label %try, label %out
run:
  %chunk = sub i64 %total, %left
  %stop = call i64 %body(ptr %context, i64 %chunk, i64 %me)
  %mine1 = add i64 %mine, 1
  %on = icmp eq i64 %stop, 0
  br i1 %on, label %more, label %drop
more:
  %next = load atomic i64, ptr @job acquire, align 8
  br label %try
drop:
  %rest = call i64 @drop()
  %all = add i64 %mine1, %rest
  ret i64 %all
out:
  ret i64 %mine
}}
; Take away the chunks nobody has claimed: how many.
define internal i64 @drop() {{
  %old = atomicrmw and ptr @job, i64 -4294967296 acq_rel
  %rest = and i64 %old, 4294967295
  ret i64 %rest
}}
define internal ptr @worker(ptr %id) {{
entry:
  %me = ptrtoint ptr %id to i64
  %f = call i32 @float_enter()
  %pl = getelementptr %job, ptr @job, i64 0, i32 4
  %epoch_word = getelementptr i8, ptr @job, i64 4
  br label %look
look:
  %w = load atomic i64, ptr @job acquire, align 8
  %left = and i64 %w, 4294967295
  %some = icmp ne i64 %left, 0
  %limit = load atomic i64, ptr %pl monotonic, align 8
  %inside = icmp ult i64 %me, %limit
  %go = and i1 %some, %inside
  br i1 %go, label %join, label %rest
join:
  %mine = call i64 @work(i64 %w, i64 %me)
  %none = icmp eq i64 %mine, 0
  br i1 %none, label %look, label %report
report:
  %mine32 = trunc i64 %mine to i32
  %o = atomicrmw add ptr @done, i32 %mine32 seq_cst
  call void @rouse(ptr @done, ptr @dozing, i32 1)
  br label %look
rest:
  %high = lshr i64 %w, 32
  %epoch = trunc i64 %high to i32
  call void @await(ptr %epoch_word, i32 %epoch, ptr @sleepers)
  br label %look
}}
; Start workers until there are %want threads; fewer when the system gives no more.
define internal void @grow(i64 %want) {{
entry:
  %p = alloca [17 x i64]
  %tid = getelementptr i64, ptr %p, i64 16
  br label %look
look:
  %n = load i64, ptr @born
  %few = icmp ult i64 %n, %want
  br i1 %few, label %start, label %out
start:
  %id = inttoptr i64 %n to ptr
  %m = call i32 @pthread_sigmask(i32 0, ptr @blocked, ptr %p)
  %r = call i32 @pthread_create(ptr %tid, ptr null, ptr @worker, ptr %id)
  %u = call i32 @pthread_sigmask(i32 2, ptr %p, ptr null)
  %ok = icmp eq i32 %r, 0
  br i1 %ok, label %count, label %out
count:
  %n1 = add i64 %n, 1
  store i64 %n1, ptr @born
  br label %look
out:
  ret void
}}
; Lead the team with up to %want threads: how many there are; 1 when it is taken or not needed.
define i64 @team_take(i64 %want) {{
entry:
  %size = load atomic i64, ptr @team_size monotonic, align 8
  %cut = call i64 @llvm.umin.i64(i64 %want, i64 %size)
  %alone = icmp ule i64 %cut, 1
  br i1 %alone, label %one, label %try
try:
  %old = atomicrmw xchg ptr @taken, i32 1 acquire
  %free = icmp eq i32 %old, 0
  br i1 %free, label %lead, label %one
lead:
  %self = call ptr @pthread_self()
  store ptr %self, ptr @leader
  call void @grow(i64 %cut)
  %n = load i64, ptr @born
  %got = call i64 @llvm.umin.i64(i64 %cut, i64 %n)
  %enough = icmp ugt i64 %got, 1
  br i1 %enough, label %out, label %none
none:
  call void @team_give(i64 2)
  br label %one
one:
  ret i64 1
out:
  ret i64 %got
}}
declare i64 @llvm.umin.i64(i64, i64)
define void @team_give(i64 %got) {{
  %led = icmp ugt i64 %got, 1
  br i1 %led, label %free, label %out
free:
  store ptr null, ptr @leader
  store atomic i32 0, ptr @taken release, align 4
  br label %out
out:
  ret void
}}
; body(context, chunk, thread) for every chunk, on up to %limit threads (what team_take gave), the
; first chunk by this one: 0, or 1 in a child that it forked, which has not got the others' work.
define i64 @team_share(ptr %body, ptr %context, i64 %chunks, i64 %limit) {{
entry:
  %few = icmp ule i64 %chunks, 1
  %alone = icmp ule i64 %limit, 1
  %serial = or i1 %few, %alone
  br i1 %serial, label %next, label %publish
next:
  %c = phi i64 [0, %entry], [%c1, %one]
  %more = icmp ult i64 %c, %chunks
  br i1 %more, label %one, label %out
one:
  %stop = call i64 %body(ptr %context, i64 %c, i64 0)
  %c1 = add i64 %c, 1
  %on = icmp eq i64 %stop, 0
  br i1 %on, label %next, label %out
publish:
  %first = sub i64 %chunks, 1
  call void @publish(ptr %body, ptr %context, i64 %chunks, i64 %limit)
  %stop0 = call i64 %body(ptr %context, i64 0, i64 0)
  %well = icmp eq i64 %stop0, 0
  br i1 %well, label %join, label %leave
join:
  %w = load atomic i64, ptr @job acquire, align 8
  %worked = call i64 @work(i64 %w, i64 0)
  br label %count
leave:
  %dropped = call i64 @drop()
  br label %count
count:
  %mine = phi i64 [%worked, %join], [%dropped, %leave]
  %theirs = sub i64 %first, %mine
  %theirs32 = trunc i64 %theirs to i32
  br label %wait
wait:
  %d = load atomic i32, ptr @done acquire, align 4
  %lost = icmp eq i32 %d, -1
  br i1 %lost, label %child, label %look
look:
  %all = icmp eq i32 %d, %theirs32
  br i1 %all, label %out, label %sit
sit:
  call void @await(ptr @done, i32 %d, ptr @dozing)
  br label %wait
child:
  ret i64 1
out:
  ret i64 0
}}
; The first chunk stays with the leader: it need not fight for it with those it just called.
define internal void @publish(ptr %body, ptr %context, i64 %chunks, i64 %limit) {{
  %pb = getelementptr %job, ptr @job, i64 0, i32 1
  %pc = getelementptr %job, ptr @job, i64 0, i32 2
  %pn = getelementptr %job, ptr @job, i64 0, i32 3
  %pl = getelementptr %job, ptr @job, i64 0, i32 4
  %epoch_word = getelementptr i8, ptr @job, i64 4
  store atomic ptr %body, ptr %pb monotonic, align 8
  store atomic ptr %context, ptr %pc monotonic, align 8
  store atomic i64 %chunks, ptr %pn monotonic, align 8
  store atomic i64 %limit, ptr %pl monotonic, align 8
  store atomic i32 0, ptr @done monotonic, align 4
  %old = load atomic i64, ptr @job monotonic, align 8
  %base = and i64 %old, -4294967296
  %new = add i64 %base, 4294967296
  %others = sub i64 %chunks, 1
  %w = or i64 %new, %others
  store atomic i64 %w, ptr @job seq_cst, align 8
  %n = load i64, ptr @born
  %whole = icmp eq i64 %n, %limit
  %wakes = select i1 %whole, i64 %others, i64 {MAX_CHUNKS}
  %wakes32 = trunc i64 %wakes to i32
  call void @rouse(ptr %epoch_word, ptr @sleepers, i32 %wakes32)
  ret void
}}
; In a forked child: no worker came along, and nobody leads but who forked in the middle of a job.
define void @team_reset() {{
  store i64 1, ptr @born
  %self = call ptr @pthread_self()
  %leader = load ptr, ptr @leader
  %leads = icmp eq ptr %self, %leader
  %taken = zext i1 %leads to i32
  store i32 %taken, ptr @taken
  store i32 0, ptr @sleepers
  store i32 0, ptr @dozing
  store i32 -1, ptr @done
  %w = load i64, ptr @job
  %closed = and i64 %w, -4294967296
  store i64 %closed, ptr @job
  ret void
}}
"""

NAMES = ("team_take", "team_give", "team_share", "team_reset", "team_size")


class Team:
    """The Python end of the native team: its size, and its new start in a forked child."""

    def __init__(self, code: dict[str, int]):
        self._size = ctypes.c_int64.from_address(code["team_size"])
        self._size.value = default_threads()
        self.version = 0  # moves with the size: leases made for another size are dropped
        os.register_at_fork(after_in_child=ctypes.CFUNCTYPE(None)(code["team_reset"]))

    @property
    def threads(self) -> int:
        return self._size.value

    @threads.setter
    def threads(self, count: int) -> None:
        self._size.value = count
        self.version += 1


def default_threads() -> int:
    """`LAMELLA_THREADS`, or the cores of this process when that is 0."""
    wanted = knobs.threads.value
    if wanted < 0:
        raise LamellaError(f"LAMELLA_THREADS={wanted}: expected 0 (all cores) or a count")
    return wanted or cores()
