"""A call from arrays to new arrays, in LLVM IR: no Python code runs between them.

An array holds a value, or a node that holds one, and the value a block: three objects for each
result, which cost more in Python than a small kernel runs. `slots` says where each keeps the next.
A result lies in an argument's memory or in a block of its own. Where a signature names no array
class, values stand in place of arrays. What is not the usual case (another type, no value yet, a
donated argument that something else holds) is answered by NotImplemented.
"""

from __future__ import annotations

from lamella.runtime.layout import RUNNING, fields
from lamella.runtime.slots import element, parts, slots

TEXT = f"""
declare i64 @PyList_Size(ptr)
declare ptr @PyList_GetItem(ptr, i64)
declare ptr @PyList_New(i64)
declare i32 @PyList_SetItem(ptr, i64, ptr)
declare i32 @PyList_SetSlice(ptr, i64, i64, ptr)
declare i32 @PyList_Append(ptr, ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare ptr @PyType_GenericAlloc(ptr, i64)
; The value of an array; null where it is none, or has no value.
define internal ptr @value_of(ptr %s, ptr %leaf) {{
entry:
{parts("array array_node")}
{slots("node_data value")}
  %bare = icmp eq i64 %array, 0
  br i1 %bare, label %look, label %class
class:
  %is = call i1 @is_a(ptr %leaf, i64 %array)
  br i1 %is, label %node, label %other
node:
  %n = call ptr @get(ptr %leaf, i64 %array_node)
  %itself = call i1 @is_a(ptr %n, i64 %value)
  br i1 %itself, label %found, label %data
data:
  %d = call ptr @get(ptr %n, i64 %node_data)
  %null = icmp eq ptr %d, null
  br i1 %null, label %other, label %look
look:
  %x = phi ptr [%leaf, %entry], [%d, %data]
  %good = call i1 @is_a(ptr %x, i64 %value)
  br i1 %good, label %found, label %other
found:
  %v = phi ptr [%n, %node], [%x, %look]
  ret ptr %v
other:
  ret ptr null
}}
; Addresses of the arguments, whose values are held from now on; how many are as expected.
define internal i64 @read(ptr %s, ptr %leaves, ptr %addresses, ptr %held) {{
entry:
{parts("inputs input_types")}
{slots("value_type value_address none")}
  %n = call i64 @PyList_Size(ptr %leaves)
  %fits = icmp eq i64 %n, %inputs
  br i1 %fits, label %look, label %none_read
none_read:
  ret i64 -1
look:
  %k = phi i64 [0, %entry], [%k1, %take]
  %more = icmp ult i64 %k, %inputs
  br i1 %more, label %one, label %out
one:
  %leaf = call ptr @PyList_GetItem(ptr %leaves, i64 %k)
  %v = call ptr @value_of(ptr %s, ptr %leaf)
  %unknown = icmp eq ptr %v, null
  br i1 %unknown, label %out, label %compare
compare:
  %have = call ptr @get(ptr %v, i64 %value_type)
{element("want", "input_types", "k")}
  %same = icmp eq ptr %have, %want
  %number = call ptr @get(ptr %v, i64 %value_address)
  %given = ptrtoint ptr %number to i64
  %there = icmp ne i64 %given, %none
  %good = and i1 %same, %there
  br i1 %good, label %take, label %out
take:
  %base = call ptr @PyLong_AsVoidPtr(ptr %number)
  %pa = getelementptr ptr, ptr %addresses, i64 %k
  store ptr %base, ptr %pa
  %ph = getelementptr ptr, ptr %held, i64 %k
  store ptr %v, ptr %ph
  call void @Py_IncRef(ptr %v)
  %k1 = add i64 %k, 1
  br label %look
out:
  ret i64 %k
}}
define internal void @let_go(ptr %held, i64 %n) {{
entry:
  br label %look
look:
  %k = phi i64 [0, %entry], [%k1, %one]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %one, label %out
one:
  %ph = getelementptr ptr, ptr %held, i64 %k
  %x = load ptr, ptr %ph
  call void @Py_DecRef(ptr %x)
  %k1 = add i64 %k, 1
  br label %look
out:
  ret void
}}
; New block %k: the last idle one of its size. Null after an exception.
define internal ptr @block_for(ptr %s, i64 %k) {{
entry:
{parts("homes sizes refill")}
{slots("block block_item block_home")}
{element("home", "homes", "k")}
  %class = inttoptr i64 %block to ptr
  %b = call ptr @PyType_GenericAlloc(ptr %class, i64 0)
  %lost = icmp eq ptr %b, null
  br i1 %lost, label %failed, label %look
look:
  %n = call i64 @PyList_Size(ptr %home)
  %empty = icmp eq i64 %n, 0
  br i1 %empty, label %ask, label %pop
ask:
{element("size", "sizes", "k")}
  %f = inttoptr i64 %refill to ptr
  %done = call ptr @PyObject_CallOneArg(ptr %f, ptr %size)
  %bad = icmp eq ptr %done, null
  br i1 %bad, label %drop, label %filled
filled:
  call void @Py_DecRef(ptr %done)
  br label %look
pop:
  %last = sub i64 %n, 1
  %item = call ptr @PyList_GetItem(ptr %home, i64 %last)
  call void @set(ptr %b, i64 %block_item, ptr %item)
  call void @set(ptr %b, i64 %block_home, ptr %home)
  %r = call i32 @PyList_SetSlice(ptr %home, i64 %last, i64 %n, ptr null)
  ret ptr %b
drop:
  call void @Py_DecRef(ptr %b)
  br label %failed
failed:
  ret ptr null
}}
; The value of result %k, for a block of its own also the address of its bytes. Null after an
; exception.
define internal ptr @value_for(ptr %s, ptr %in, i64 %k, ptr %fresh) {{
{parts("output_types sources")}
{slots("value value_type value_address value_owner block_item")}
{element("type", "output_types", "k")}
{element("source", "sources", "k", "i64")}
  %class = inttoptr i64 %value to ptr
  %v = call ptr @PyType_GenericAlloc(ptr %class, i64 0)
  %bad = icmp eq ptr %v, null
  br i1 %bad, label %failed, label %make
make:
  call void @set(ptr %v, i64 %value_type, ptr %type)
  %own = icmp slt i64 %source, 0
  br i1 %own, label %new, label %moved
moved:
  call void @move(ptr %s, ptr %in, i64 %source, ptr %v)
  ret ptr %v
new:
  %n = sub i64 -1, %source
  %b = call ptr @block_for(ptr %s, i64 %n)
  %po = getelementptr i8, ptr %v, i64 %value_owner
  store ptr %b, ptr %po
  %lost = icmp eq ptr %b, null
  br i1 %lost, label %drop, label %done
done:
  %item = call ptr @get(ptr %b, i64 %block_item)
  %number = call ptr @PyTuple_GetItem(ptr %item, i64 0)
  call void @set(ptr %v, i64 %value_address, ptr %number)
  %base = call ptr @PyLong_AsVoidPtr(ptr %number)
  %address = getelementptr ptr, ptr %fresh, i64 %n
  store ptr %base, ptr %address
  ret ptr %v
drop:
  call void @Py_DecRef(ptr %v)
  br label %failed
failed:
  ret ptr null
}}
; The array for result %k. Null after an exception.
define internal ptr @array_for(ptr %s, ptr %in, i64 %k, ptr %fresh) {{
{parts("array array_node")}
  %v = call ptr @value_for(ptr %s, ptr %in, i64 %k, ptr %fresh)
  %bad = icmp eq ptr %v, null
  %bare = icmp eq i64 %array, 0
  %as_it_is = or i1 %bad, %bare
  br i1 %as_it_is, label %value, label %wrap
wrap:
  %class = inttoptr i64 %array to ptr
  %a = call ptr @PyType_GenericAlloc(ptr %class, i64 0)
  %lost = icmp eq ptr %a, null
  br i1 %lost, label %drop, label %hold
hold:
  call void @set(ptr %a, i64 %array_node, ptr %v)
  br label %drop
drop:
  call void @Py_DecRef(ptr %v)
  ret ptr %a
value:
  ret ptr %v
}}
; The list of new arrays, and the addresses of new blocks. Null after an exception.
define internal ptr @make(ptr %s, ptr %in, ptr %fresh) {{
entry:
{parts("outputs")}
  %list = call ptr @PyList_New(i64 %outputs)
  %bad = icmp eq ptr %list, null
  br i1 %bad, label %failed, label %look
look:
  %k = phi i64 [0, %entry], [%k1, %put]
  %more = icmp ult i64 %k, %outputs
  br i1 %more, label %one, label %out
one:
  %a = call ptr @array_for(ptr %s, ptr %in, i64 %k, ptr %fresh)
  %lost = icmp eq ptr %a, null
  br i1 %lost, label %drop, label %put
put:
  %r = call i32 @PyList_SetItem(ptr %list, i64 %k, ptr %a)
  %k1 = add i64 %k, 1
  br label %look
drop:
  call void @Py_DecRef(ptr %list)
  br label %failed
failed:
  ret ptr null
out:
  ret ptr %list
}}
; PyCFunction, METH_FASTCALL; args: the list of arrays, the arena's address, and what stands for
; memory that was given away.
define ptr @call(ptr %self, ptr %args, i64 %count) {{
entry:
  %b = call ptr @PyLong_AsVoidPtr(ptr %self)
{fields("n_bases signature at")}
  %s = load ptr, ptr %p.signature
{parts("inputs")}
{slots("other")}
  %n = load i64, ptr %p.n_bases
  %addresses = alloca ptr, i64 %n
  %thrice = mul i64 %inputs, 3
  %in = alloca ptr, i64 %thrice
  %leaves = load ptr, ptr %args
  %p1 = getelementptr ptr, ptr %args, i64 1
  %p2 = getelementptr ptr, ptr %args, i64 2
  %arena.object = load ptr, ptr %p1
  %gone = load ptr, ptr %p2
  %arena = call ptr @PyLong_AsVoidPtr(ptr %arena.object)
  store ptr %arena, ptr %addresses
  %arguments = getelementptr ptr, ptr %addresses, i64 1
  %got = call i64 @read(ptr %s, ptr %leaves, ptr %arguments, ptr %in)
  %all = icmp eq i64 %got, %inputs
  br i1 %all, label %own, label %unusual
own:
  %taken = call i1 @take(ptr %s, ptr %in, ptr %gone)
  br i1 %taken, label %prepare, label %back
back:
  call void @end_taken(ptr %s, ptr %in, i1 true, i64 -1)
  br label %unusual
unusual:
  call void @let_go(ptr %in, i64 %got)
  %o = inttoptr i64 %other to ptr
  call void @Py_IncRef(ptr %o)
  ret ptr %o
prepare:
  %fresh = getelementptr ptr, ptr %arguments, i64 %inputs
  %results = call ptr @make(ptr %s, ptr %in, ptr %fresh)
  %bad = icmp eq ptr %results, null
  br i1 %bad, label %failed, label %go
go:
  %outcome = call i64 @run(ptr %b, ptr %addresses)
  %wrong = icmp ne i64 %outcome, {RUNNING}
  %reached = load i64, ptr %p.at
  call void @end_taken(ptr %s, ptr %in, i1 %wrong, i64 %reached)
  call void @let_go(ptr %in, i64 %inputs)
  %r = call ptr @told(i64 %outcome, ptr %results)
  call void @Py_DecRef(ptr %results)
  ret ptr %r
failed:
  call void @end_taken(ptr %s, ptr %in, i1 true, i64 -1)
  call void @let_go(ptr %in, i64 %inputs)
  ret ptr null
}}
; A method of blocks, METH_NOARGS: at its end a block's item goes back to its home.
define ptr @block_end(ptr %b, ptr %unused) {{
{slots("block_item block_home none")}
  %item = call ptr @get(ptr %b, i64 %block_item)
  %null = icmp eq ptr %item, null
  br i1 %null, label %out, label %give
give:
  %home = call ptr @get(ptr %b, i64 %block_home)
  %r = call i32 @PyList_Append(ptr %home, ptr %item)
  %bad = icmp ne i32 %r, 0
  br i1 %bad, label %failed, label %out
failed:
  ret ptr null
out:
  %well = inttoptr i64 %none to ptr
  call void @Py_IncRef(ptr %well)
  ret ptr %well
}}
"""
