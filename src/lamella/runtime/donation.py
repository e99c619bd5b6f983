"""What a call takes from its donated arguments, in LLVM IR: their memory, before it runs.

%in are three arrays with a word for each argument: its value, and of a donated one the owner and
the number of the address that it had. %gone and None stand for these from then on, so that whoever
looks at the value meanwhile or later is told. It is taken where nothing else holds its block and it
is no argument twice; otherwise all is given back, and where a run fails, what no step had written
into.
"""

from __future__ import annotations

from lamella.runtime.slots import element, parts, slots

_TAKEN = """
  %at.owner = add i64 %inputs, %k
  %at.number = add i64 %inputs, %at.owner
  %p.value = getelementptr ptr, ptr %in, i64 %k
  %p.owner = getelementptr ptr, ptr %in, i64 %at.owner
  %p.number = getelementptr ptr, ptr %in, i64 %at.number
  %v = load ptr, ptr %p.value"""

TEXT = f"""
; Whether a value is the only holder of a block.
define internal i1 @holds_alone(ptr %v) {{
{slots("value_owner block large_block")}
  %owner = call ptr @get(ptr %v, i64 %value_owner)
  %small = call i1 @is_a(ptr %owner, i64 %block)
  %large = call i1 @is_a(ptr %owner, i64 %large_block)
  %whole = or i1 %small, %large
  %count = load i32, ptr %owner
  %alone = icmp eq i32 %count, 1
  %yes = and i1 %whole, %alone
  ret i1 %yes
}}
; Take all that is donated; whether that could be.
define internal i1 @take(ptr %s, ptr %in, ptr %gone) {{
entry:
{parts("inputs donated")}
{slots("value_address value_owner none")}
  %nothing = inttoptr i64 %none to ptr
  br label %look
look:
  %k = phi i64 [0, %entry], [%k1, %next]
  %more = icmp ult i64 %k, %inputs
  br i1 %more, label %one, label %check
one:
{_TAKEN}
  store ptr null, ptr %p.owner
{element("is", "donated", "k", "i64")}
  %yes = icmp ne i64 %is, 0
  br i1 %yes, label %try, label %next
try:
  %number = call ptr @get(ptr %v, i64 %value_address)
  %there = icmp ne ptr %number, %nothing
  %alone = call i1 @holds_alone(ptr %v)
  %good = and i1 %there, %alone
  br i1 %good, label %mark, label %clear
mark:
  %owner = call ptr @get(ptr %v, i64 %value_owner)
  store ptr %owner, ptr %p.owner
  store ptr %number, ptr %p.number
  call void @set(ptr %v, i64 %value_owner, ptr %gone)
  call void @set(ptr %v, i64 %value_address, ptr %nothing)
  br label %next
next:
  %k1 = add i64 %k, 1
  br label %look
clear:                      ; what was not looked at is not to be given back
  %j = phi i64 [%k, %try], [%j1, %clear.one]
  %left = icmp ult i64 %j, %inputs
  br i1 %left, label %clear.one, label %no
clear.one:
  %j.owner = add i64 %inputs, %j
  %p.j = getelementptr ptr, ptr %in, i64 %j.owner
  store ptr null, ptr %p.j
  %j1 = add i64 %j, 1
  br label %clear
check:                      ; what is not donated must still be there
  %i = phi i64 [0, %look], [%i1, %check.next]
  %some = icmp ult i64 %i, %inputs
  br i1 %some, label %check.one, label %all
check.one:
{element("given", "donated", "i", "i64")}
  %p.i = getelementptr ptr, ptr %in, i64 %i
  %w = load ptr, ptr %p.i
  %w.number = call ptr @get(ptr %w, i64 %value_address)
  %w.there = icmp ne ptr %w.number, %nothing
  %w.given = icmp ne i64 %given, 0
  %w.good = or i1 %w.there, %w.given
  br i1 %w.good, label %check.next, label %no
check.next:
  %i1 = add i64 %i, 1
  br label %check
all:
  ret i1 true
no:
  ret i1 false
}}
; End what was taken: for good, or back to the values where no step up to number %reached writes
; into it.
define internal void @end_taken(ptr %s, ptr %in, i1 %back, i64 %reached) {{
entry:
{parts("inputs written")}
{slots("value_address value_owner")}
  br label %look
look:
  %k = phi i64 [0, %entry], [%k1, %next]
  %more = icmp ult i64 %k, %inputs
  br i1 %more, label %one, label %out
one:
{_TAKEN}
  %k1 = add i64 %k, 1
  %owner = load ptr, ptr %p.owner
  %kept = icmp eq ptr %owner, null
  br i1 %kept, label %next, label %taken
taken:
  %number = load ptr, ptr %p.number
{element("first", "written", "k", "i64")}
  %whole = icmp sgt i64 %first, %reached
  %returns = and i1 %back, %whole
  br i1 %returns, label %give, label %drop
give:
  call void @replace(ptr %v, i64 %value_address, ptr %number)
  call void @replace(ptr %v, i64 %value_owner, ptr %owner)
  br label %drop
drop:
  call void @Py_DecRef(ptr %number)
  call void @Py_DecRef(ptr %owner)
  br label %next
next:
  br label %look
out:
  ret void
}}
; Make argument %k's memory that of a new value.
define internal void @move(ptr %s, ptr %in, i64 %k, ptr %new) {{
entry:
{parts("inputs")}
{slots("value_address value_owner")}
{_TAKEN}
  %owner = load ptr, ptr %p.owner
  %kept = icmp eq ptr %owner, null
  br i1 %kept, label %share, label %taken
share:
  %own = call ptr @get(ptr %v, i64 %value_owner)
  %address = call ptr @get(ptr %v, i64 %value_address)
  br label %put
taken:
  %number = load ptr, ptr %p.number
  br label %put
put:
  %o = phi ptr [%own, %share], [%owner, %taken]
  %a = phi ptr [%address, %share], [%number, %taken]
  call void @set(ptr %new, i64 %value_owner, ptr %o)
  call void @set(ptr %new, i64 %value_address, ptr %a)
  ret void
}}
"""
