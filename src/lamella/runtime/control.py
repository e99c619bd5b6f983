"""Loops and branches, in LLVM IR: each handler returns the index of the next step."""

from __future__ import annotations

from lamella.runtime.layout import STEP_WORDS, fields, words

TEXT = f"""
; Move the loop's image words by %times of their strides.
define internal void @shift(ptr %b, ptr %loop, i64 %times) {{
entry:
{fields("strides image")}
{words("%loop", first=3, count=4)}
  %strides = load ptr, ptr %p.strides
  %image = load ptr, ptr %p.image
  br label %look
look:
  %k = phi i64 [0, %entry], [%k1, %one]
  %more = icmp ult i64 %k, %count
  br i1 %more, label %one, label %out
one:
  %i = add i64 %first, %k
  %i2 = shl i64 %i, 1
  %pw = getelementptr i64, ptr %strides, i64 %i2
  %pd = getelementptr i64, ptr %pw, i64 1
  %w = load i64, ptr %pw
  %d = load i64, ptr %pd
  %px = getelementptr i64, ptr %image, i64 %w
  %x = load i64, ptr %px
  %m = mul i64 %d, %times
  %y = add i64 %x, %m
  store i64 %y, ptr %px
  %k1 = add i64 %k, 1
  br label %look
out:
  ret void
}}
define internal i64 @do_loop(ptr %b, ptr %s, i64 %i) {{
{fields("counters")}
{words("%s", trips=1, counter=2, after=5)}
  %counters = load ptr, ptr %p.counters
  %pc = getelementptr i64, ptr %counters, i64 %counter
  store i64 0, ptr %pc
  %none = icmp eq i64 %trips, 0
  %inside = add i64 %i, 1
  %next = select i1 %none, i64 %after, i64 %inside
  ret i64 %next
}}
define internal i64 @do_again(ptr %b, ptr %s, i64 %i) {{
{fields("steps counters")}
{words("%s", begin=1)}
  %steps = load ptr, ptr %p.steps
  %o = mul i64 %begin, {STEP_WORDS}
  %loop = getelementptr i64, ptr %steps, i64 %o
{words("%loop", trips=1, counter=2)}
  %counters = load ptr, ptr %p.counters
  %pc = getelementptr i64, ptr %counters, i64 %counter
  %c = load i64, ptr %pc
  %c1 = add i64 %c, 1
  store i64 %c1, ptr %pc
  %more = icmp ult i64 %c1, %trips
  %back = sub i64 0, %c
  %times = select i1 %more, i64 1, i64 %back
  call void @shift(ptr %b, ptr %loop, i64 %times)
  %inside = add i64 %begin, 1
  %after = add i64 %i, 1
  %next = select i1 %more, i64 %inside, i64 %after
  ret i64 %next
}}
define internal i64 @do_branch(ptr %b, ptr %s, i64 %i) {{
{fields("image")}
{words("%s", word=1, target=2)}
  %image = load ptr, ptr %p.image
  %pw = getelementptr i64, ptr %image, i64 %word
  %pf = load ptr, ptr %pw
  %flag = load i8, ptr %pf
  %zero = icmp eq i8 %flag, 0
  %after = add i64 %i, 1
  %next = select i1 %zero, i64 %target, i64 %after
  ret i64 %next
}}
"""
