"""The thread team: workers that share the chunks of one job at a time, in LLVM IR.

One team per process. The entering thread leads: it publishes a job (a function, a context, a
number of chunks), works on it like everyone, and waits only for chunks that a worker has taken,
so a worker the system does not schedule delays nobody. Each thread has an equal range of the
chunks on a line of its own, {epoch: 32, next: 16, end: 16}, and takes them from the front; when it
has none left it takes those of the others, from the back, as in the deques of Cilk (Blumofe and
Leiserson 1999). So what a thread wrote in one launch it mostly reads in the next, and no line goes
from core to core but for what is stolen: where cores share no cache, that is what sharing costs.
A claim is a compare-and-swap of a range of the job's own epoch, which ends only when all ranges are
empty: one that succeeds proves that the job read before it is still the one published. A second
caller does not wait for the team: it gets one thread, its own.
"""

from __future__ import annotations

import ctypes
import os

from lamella.base import knobs
from lamella.base.errors import LamellaError
from lamella.runtime.cores import cores

RANGE = (1 << 16) - 1     # chunks of one thread
MAX_CHUNKS = 2 * RANGE    # two threads share a job at least
MAX_THREADS = 1024

# All signals but the synchronous ones (ILL 4, BUS 7, FPE 8, SEGV 11) stay with Python's threads.
_BLOCKED = ~sum(1 << (n - 1) for n in (4, 7, 8, 11))

TEXT = f"""
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare ptr @pthread_self()

; epoch, body, context, chunks in all, threads allowed: one line, written by the leader.
%job = type {{ i32, i32, ptr, ptr, i64, i64, [11 x i64] }}
%range = type {{ i64, [15 x i64] }}
%line = type {{ i32, [31 x i32] }}
@job = internal global %job zeroinitializer, align 128
@ranges = internal global [{MAX_THREADS} x %range] zeroinitializer, align 128
@done = internal global %line zeroinitializer, align 128      ; chunks that workers finished
@sleepers = internal global %line zeroinitializer, align 128  ; workers asleep on the epoch
@dozing = internal global %line zeroinitializer, align 128    ; the leader asleep on @done
@taken = internal global %line zeroinitializer, align 128     ; 1 while someone leads
@leader = internal global ptr null                            ; the thread that leads
@team_size = global i64 1                                     ; threads wanted, leader included
@born = internal global i64 1                                 ; threads there are
@blocked = internal constant [16 x i64] [{", ".join(["i64 " + str(_BLOCKED)] + ["i64 -1"] * 15)}]

; The range of a thread that has the place %k behind %me in a ring of %limit.
define internal i64 @neighbour(i64 %me, i64 %k, i64 %limit) {{
  %sum = add i64 %me, %k
  %past = sub i64 %sum, %limit
  %round = icmp uge i64 %sum, %limit
  %v = select i1 %round, i64 %past, i64 %sum
  ret i64 %v
}}
; The first chunk of a thread's range: the first %extra ranges have one chunk more than %each.
define internal i64 @start(i64 %thread, i64 %each, i64 %extra) {{
  %before = mul i64 %thread, %each
  %more = call i64 @llvm.umin.i64(i64 %thread, i64 %extra)
  %start = add i64 %before, %more
  ret i64 %start
}}
; Claim and run chunks of the job %epoch, first those of its own range; how many are done by this
; thread. A body that returns nonzero drops the chunks nobody has claimed (they count as done here).
define internal i64 @work(i32 %epoch, i64 %me) {{
entry:
  %pb = getelementptr %job, ptr @job, i64 0, i32 2
  %pc = getelementptr %job, ptr @job, i64 0, i32 3
  %pn = getelementptr %job, ptr @job, i64 0, i32 4
  %pl = getelementptr %job, ptr @job, i64 0, i32 5
  %body = load atomic ptr, ptr %pb monotonic, align 8
  %context = load atomic ptr, ptr %pc monotonic, align 8
  %total = load atomic i64, ptr %pn monotonic, align 8
  %limit1 = load atomic i64, ptr %pl monotonic, align 8
  %limit = call i64 @llvm.umax.i64(i64 %limit1, i64 1)
  %each = udiv i64 %total, %limit
  %extra = urem i64 %total, %limit
  br label %turn
turn:
  %k = phi i64 [0, %entry], [%k1, %after]
  %mine = phi i64 [0, %entry], [%sum, %after]
  %some = icmp ult i64 %k, %limit
  br i1 %some, label %whose, label %out
whose:
  %v = call i64 @neighbour(i64 %me, i64 %k, i64 %limit)
  %range = getelementptr [{MAX_THREADS} x %range], ptr @ranges, i64 0, i64 %v
  %start = call i64 @start(i64 %v, i64 %each, i64 %extra)
  %own = icmp eq i64 %k, 0
  %step = select i1 %own, i64 65536, i64 -1
  %w0 = load atomic i64, ptr %range acquire, align 8
  br label %try
try:
  %w = phi i64 [%w0, %whose], [%seen, %miss], [%now, %more]
  %sum = phi i64 [%mine, %whose], [%sum, %miss], [%sum1, %more]
  %high = lshr i64 %w, 32
  %of = trunc i64 %high to i32
  %same = icmp eq i32 %of, %epoch
  br i1 %same, label %inside, label %over
inside:
  %both = trunc i64 %w to i32
  %next = lshr i32 %both, 16
  %end = and i32 %both, 65535
  %left = icmp ult i32 %next, %end
  br i1 %left, label %take, label %after
take:
  %w1 = add i64 %w, %step
  %r = cmpxchg ptr %range, i64 %w, i64 %w1 acq_rel acquire
  %seen = extractvalue {{ i64, i1 }} %r, 0
  %ok = extractvalue {{ i64, i1 }} %r, 1
  br i1 %ok, label %run, label %miss
miss:
  br label %try
run:
  %last = sub i32 %end, 1
  %which = select i1 %own, i32 %next, i32 %last
  %place = zext i32 %which to i64
  %chunk = add i64 %start, %place
  %stop = call i64 %body(ptr %context, i64 %chunk, i64 %me)
  %sum1 = add i64 %sum, 1
  %on = icmp eq i64 %stop, 0
  br i1 %on, label %more, label %drop
more:
  %now = load atomic i64, ptr %range acquire, align 8
  br label %try
after:
  %k1 = add i64 %k, 1
  br label %turn
drop:
  %rest = call i64 @drop(i32 %epoch, i64 %limit)
  %all = add i64 %sum1, %rest
  ret i64 %all
over:
  ret i64 %sum
out:
  ret i64 %mine
}}
; Take away the chunks of the job %epoch that nobody has claimed: how many.
define internal i64 @drop(i32 %epoch, i64 %limit) {{
entry:
  br label %turn
turn:
  %v = phi i64 [0, %entry], [%v, %try], [%v1, %gone]
  %rest = phi i64 [0, %entry], [%rest, %try], [%rest1, %gone]
  %some = icmp ult i64 %v, %limit
  br i1 %some, label %look, label %out
look:
  %range = getelementptr [{MAX_THREADS} x %range], ptr @ranges, i64 0, i64 %v
  %w = load atomic i64, ptr %range acquire, align 8
  %high = lshr i64 %w, 32
  %of = trunc i64 %high to i32
  %same = icmp eq i32 %of, %epoch
  br i1 %same, label %try, label %out
try:
  %none = and i64 %w, -4294967296
  %r = cmpxchg ptr %range, i64 %w, i64 %none acq_rel acquire
  %ok = extractvalue {{ i64, i1 }} %r, 1
  br i1 %ok, label %gone, label %turn
gone:
  %both = trunc i64 %w to i32
  %next = lshr i32 %both, 16
  %end = and i32 %both, 65535
  %n32 = sub i32 %end, %next
  %n = zext i32 %n32 to i64
  %rest1 = add i64 %rest, %n
  %v1 = add i64 %v, 1
  br label %turn
out:
  ret i64 %rest
}}
define internal ptr @worker(ptr %id) {{
entry:
  %me = ptrtoint ptr %id to i64
  %f = call i32 @float_enter()
  %pl = getelementptr %job, ptr @job, i64 0, i32 5
  br label %look
look:
  %epoch = load atomic i32, ptr @job acquire, align 4
  %limit = load atomic i64, ptr %pl monotonic, align 8
  %inside = icmp ult i64 %me, %limit
  br i1 %inside, label %join, label %rest
join:
  %mine = call i64 @work(i32 %epoch, i64 %me)
  %none = icmp eq i64 %mine, 0
  br i1 %none, label %rest, label %report
report:
  %mine32 = trunc i64 %mine to i32
  %o = atomicrmw add ptr @done, i32 %mine32 seq_cst
  call void @rouse(ptr @done, ptr @dozing, i32 1)
  br label %rest
rest:
  call void @await(ptr @job, i32 %epoch, ptr @sleepers)
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
  %most = call i64 @llvm.umin.i64(i64 %size, i64 {MAX_THREADS})
  %cut = call i64 @llvm.umin.i64(i64 %want, i64 %most)
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
declare i64 @llvm.umax.i64(i64, i64)
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
  %epoch = call i32 @publish(ptr %body, ptr %context, i64 %chunks, i64 %limit)
  %stop0 = call i64 %body(ptr %context, i64 0, i64 0)
  %well = icmp eq i64 %stop0, 0
  br i1 %well, label %join, label %leave
join:
  %worked = call i64 @work(i32 %epoch, i64 0)
  br label %count
leave:
  %dropped = call i64 @drop(i32 %epoch, i64 %limit)
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
; The job and all ranges, then its epoch, which is returned. The first chunk stays with the leader:
; it may be a call of Python.
define internal i32 @publish(ptr %body, ptr %context, i64 %chunks, i64 %limit) {{
entry:
  %pb = getelementptr %job, ptr @job, i64 0, i32 2
  %pc = getelementptr %job, ptr @job, i64 0, i32 3
  %pn = getelementptr %job, ptr @job, i64 0, i32 4
  %pl = getelementptr %job, ptr @job, i64 0, i32 5
  store atomic ptr %body, ptr %pb monotonic, align 8
  store atomic ptr %context, ptr %pc monotonic, align 8
  store atomic i64 %chunks, ptr %pn monotonic, align 8
  store atomic i64 %limit, ptr %pl monotonic, align 8
  store atomic i32 0, ptr @done monotonic, align 4
  %old = load atomic i32, ptr @job monotonic, align 4
  %epoch = add i32 %old, 1
  %low = zext i32 %epoch to i64
  %high = shl i64 %low, 32
  %each = udiv i64 %chunks, %limit
  %extra = urem i64 %chunks, %limit
  br label %turn
turn:
  %v = phi i64 [0, %entry], [%v1, %turn]
  %longer = icmp ult i64 %v, %extra
  %more = zext i1 %longer to i64
  %end = add i64 %each, %more
  %first = icmp eq i64 %v, 0
  %next = select i1 %first, i64 65536, i64 0
  %ends = or i64 %high, %end
  %w = or i64 %ends, %next
  %range = getelementptr [{MAX_THREADS} x %range], ptr @ranges, i64 0, i64 %v
  store atomic i64 %w, ptr %range release, align 8
  %v1 = add i64 %v, 1
  %again = icmp ult i64 %v1, %limit
  br i1 %again, label %turn, label %open
open:
  store atomic i32 %epoch, ptr @job seq_cst, align 4
  %n = load i64, ptr @born
  %whole = icmp eq i64 %n, %limit
  %others = sub i64 %chunks, 1
  %wakes = select i1 %whole, i64 %others, i64 {(1 << 31) - 1}
  %wakes32 = trunc i64 %wakes to i32
  call void @rouse(ptr @job, ptr @sleepers, i32 %wakes32)
  ret i32 %epoch
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
  call void @llvm.memset.p0.i64(ptr @ranges, i8 0, i64 {MAX_THREADS * 128}, i1 false)
  ret void
}}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
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
