"""Where objects keep what a call reads and writes, and the words of a signature: as LLVM IR sees
them."""

from __future__ import annotations

from lamella.runtime.layout import words

# Offsets within objects (node_data, value_type, ...), and objects: classes, None, NotImplemented.
SLOTS = ("node_data", "value", "value_type", "value_address", "value_owner", "block", "large_block",
         "block_item", "block_home", "none", "other")  # fmt: skip
# `sources` says of each result which argument's memory it has: -1 - k means new block k, whose
# home and size are those of number k. `donated` says it of each argument, and `written` which step
# of the table is the first that may write into its memory.
SIGNATURE = ("array", "array_node", "inputs", "outputs", "input_types", "output_types", "homes",
             "sizes", "sources", "donated", "written", "refill")  # fmt: skip


def slots(names: str) -> str:
    """Loads %<name> of the process' slots."""
    return words("@slots", **{n: SLOTS.index(n) for n in names.split()})


def parts(names: str) -> str:
    """Loads %<name> of the words of signature %s."""
    return words("%s", **{n: SIGNATURE.index(n) for n in names.split()})


def element(name: str, array: str, index: str, type: str = "ptr") -> str:
    """%<name>, an element of an array whose address is a word."""
    return (f"  %{name}.array = inttoptr i64 %{array} to ptr\n"
            f"  %{name}.at = getelementptr {type}, ptr %{name}.array, i64 %{index}\n"
            f"  %{name} = load {type}, ptr %{name}.at")


TEXT = f"""
@slots = global [{len(SLOTS)} x i64] zeroinitializer

define internal ptr @get(ptr %object, i64 %offset) {{
  %p = getelementptr i8, ptr %object, i64 %offset
  %x = load ptr, ptr %p
  ret ptr %x
}}
define internal void @set(ptr %object, i64 %offset, ptr %x) {{
  %p = getelementptr i8, ptr %object, i64 %offset
  call void @Py_IncRef(ptr %x)
  store ptr %x, ptr %p
  ret void
}}
define internal void @replace(ptr %object, i64 %offset, ptr %x) {{
  %old = call ptr @get(ptr %object, i64 %offset)
  call void @set(ptr %object, i64 %offset, ptr %x)
  call void @Py_DecRef(ptr %old)
  ret void
}}
define internal i1 @is_a(ptr %object, i64 %class) {{
  %type = call ptr @get(ptr %object, i64 8)
  %word = ptrtoint ptr %type to i64
  %yes = icmp eq i64 %word, %class
  ret i1 %yes
}}
"""
