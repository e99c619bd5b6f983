"""The errors a user can meet: each says the op, the fact with shapes, and the remedy."""

from __future__ import annotations


class LamellaError(Exception):
    """Base of every error raised on purpose; an assert elsewhere is a bug of ours."""


class ShapeError(LamellaError, ValueError):
    """Extents that do not fit together."""


class DTypeError(LamellaError, TypeError):
    """Element types that an operation does not take or cannot mix."""


class TraceError(LamellaError, RuntimeError):
    """A value was looked at, or a rule broken, while a function was being traced."""


class PositionError(ShapeError, IndexError):
    """A position outside of an axis, an axis that is not there, or an index that does not fit."""


class CopyError(LamellaError, BufferError, ValueError):
    """Memory that was to be shared and cannot be."""


class DonatedError(LamellaError, RuntimeError):
    """An array was used after it had been donated."""


class NotationError(LamellaError, ValueError):
    """An index-notation definition that cannot be understood; names the axis."""


class ProgramError(LamellaError, ValueError):
    """A program text or structure that breaks a rule; names the node and the rule."""


class BudgetError(LamellaError, MemoryError):
    """A memory budget that cannot be kept; says what would fit."""


class AllocationError(LamellaError, MemoryError):
    """A value that does not fit into the machine's memory."""


class SettingError(LamellaError, ValueError):
    """An environment variable with a value that it cannot have."""


class FormatError(LamellaError, ValueError):
    """A file that is damaged, too large, or of another format."""


class UnsupportedError(LamellaError, NotImplementedError):
    """A machine, dtype or feature that is not supported here."""


class DeviceError(LamellaError, ValueError):
    """Operands that live on different devices; says which, and how to bring them together."""


class MissingExtra(LamellaError, ImportError):
    """An optional package that this needs is not installed, or not of a supported version."""


class ExecutionError(LamellaError, RuntimeError):
    """A plan stopped while running; names the step and its source line."""


class RecipeError(LamellaError, ValueError):
    """A recipe with a wrong key or value; names the nearest right one."""
