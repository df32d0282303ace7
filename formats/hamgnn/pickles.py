"""Pickles of graphs, read as data: nothing in them is imported or called.

A pickle is a program for a small stack machine, and the usual reader calls what it names. This one
is a machine of its own with the few instructions that graphs of torch_geometric need. Names are
compared with exact tables; each stands for what is done here with NumPy instead. The storage of a
tensor is a stream of pickles again, read with a second table; torch's `_load_from_bytes`, which
unpickles anything, is never called. Work and memory are bounded by the length of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError

REMEDY = "a graph_data.npz as HamGNN's scripts write it expected; nothing of this file was run"
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1",
    "BoolStorage": "?", "ComplexFloatStorage": "<c8", "ComplexDoubleStorage": "<c16",
}  # fmt: skip
MOST_DIMENSIONS = 8
MOST_STEPS = 20_000_000  # at 64 bytes each; a graph has some thousand
MARK = object()


@dataclass(frozen=True)
class Name:
    """A name in a pickle, which is not imported.

    Parameters
    ----------
    module, name : str
        As given there.
    """

    module: str
    name: str

    def __str__(self) -> str:
        """Return ``module.name``."""
        return f"{self.module}.{self.name}"


@dataclass
class Instance:
    """An object of a class that is only known by its name.

    Parameters
    ----------
    kind : Name
        The class.
    state : object
        What the pickle gives it.
    """

    kind: Name
    state: Any = None


class _Array:
    """An array that gets its contents later."""

    values: npt.NDArray[Any] | list[Any] | None = None


class _Kind:
    """A dtype of NumPy that gets its byte order later."""

    def __init__(self, text: str) -> None:
        self.text, self.order = text, "="

    def dtype(self) -> np.dtype:
        dtype = np.dtype(self.text)
        if dtype.kind not in "biufc" or dtype.hasobject:
            raise ValueError(f"the type {self.text}")
        return dtype.newbyteorder(self.order if self.order in "<>=" else "=")


def read_pickle(raw: memoryview, label: str) -> Any:
    """Return the graphs of a pickle, of Python objects, arrays and `Instance`.

    Parameters
    ----------
    raw : memoryview
        Bytes, to the end of the pickle at least.
    label : str
        The file, for messages.

    Returns
    -------
    object
        Tensors are arrays; objects of torch_geometric are `Instance`.

    Raises
    ------
    DamagedError
        If it names anything else, or is cut short or damaged.
    """
    machine = _Machine(raw, 0, OUTER, label)
    try:
        return _finished(machine.run())
    except DamagedError:
        raise
    except RefusedNameError as error:
        raise DamagedError(
            f"is a pickle that names {error}, which no graph of HamGNN has",
            path=label,
            remedy=REMEDY,
        ) from error
    except (ValueError, IndexError, KeyError, TypeError, struct.error, OverflowError) as error:
        raise DamagedError(
            f"its pickle is damaged at byte {machine.at}: {error or type(error).__name__}",
            path=label,
            remedy=REMEDY,
        ) from error


class RefusedNameError(Exception):
    """A name that is in no table."""


def _finished(value):
    """Return the contents of an array of objects, or the value itself."""
    return value.values if isinstance(value, _Array) else value


def _rebuild_tensor(storage, offset, size, stride, *rest):
    """Return the view of a storage that is a tensor."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1:
        raise ValueError("a tensor without a storage")
    size, stride = tuple(size), tuple(stride)
    whole = all(type(n) is int and 0 <= n < 2**40 for n in (offset, *size, *stride))
    if not whole or len(size) != len(stride) or len(size) > MOST_DIMENSIONS:
        raise ValueError(f"a tensor of size {size} and stride {stride}")
    count = 1
    for n in size:
        count *= n
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > len(storage) or (count > 0 and last >= len(storage)):
        raise ValueError(f"a tensor of size {size} in a storage of {len(storage)} numbers")
    if count == 0:
        return np.zeros(size, dtype=storage.dtype)
    steps = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


def _storage(raw):
    """Return the numbers of a storage: four pickles, a count, and the bytes."""
    raw = memoryview(raw)
    found, at = [], 0
    for _ in range(5):
        machine = _Machine(raw, at, INNER, "")
        found.append(machine.run())
        at = machine.at
    magic, protocol, system, reference, keys = found
    if magic != MAGIC or protocol != PROTOCOL or not isinstance(system, dict):
        raise ValueError("a storage of another layout")
    if system.get("little_endian") is not True:
        raise ValueError("a storage of another byte order")
    kind, key, _, count, *view = reference if isinstance(reference, tuple) else (None,) * 4
    if not isinstance(kind, np.dtype) or type(count) is not int or keys != [key] or any(view):
        raise ValueError("a storage of another layout")
    (stored,) = struct.unpack_from("<q", raw, at)
    if stored != count or len(raw) - at - 8 != count * kind.itemsize:
        raise ValueError(f"a storage of {count} numbers with {len(raw) - at - 8} bytes")
    return np.frombuffer(raw[at + 8 :], dtype=kind)


def _new_array(kind, shape, code):
    if kind != Name("numpy", "ndarray"):
        raise RefusedNameError(kind)
    return _Array()


def _new_dtype(text, *flags):
    if not isinstance(text, str) or len(text) > 4:
        raise ValueError("a type of NumPy")
    return _Kind(text)


def _scalar(kind, raw):
    return np.frombuffer(raw, dtype=kind.dtype(), count=1)[0].item()


def _encode(text, coding):
    if coding != "latin1":
        raise ValueError(f"the coding {coding!r:.20}")
    return text.encode("latin1")


NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
#: What a call of each name amounts to; None for classes that are only named.
OUTER: dict[Name, Callable[..., Any] | None] = {
    Name("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    Name("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    Name("torch.storage", "_load_from_bytes"): _storage,
    Name("collections", "OrderedDict"): lambda *pairs: dict(*pairs) if not pairs else _refuse(),
    Name("numpy", "ndarray"): None,
    Name("numpy", "dtype"): _new_dtype,
    Name("_codecs", "encode"): _encode,
    **{Name(module, "_reconstruct"): _new_array for module in NUMPY},
    **{Name(module, "scalar"): _scalar for module in NUMPY},
}
INNER: dict[Name, Callable[..., Any] | None] = {Name("torch", name): None for name in STORAGES}
CLASSES = {
    Name("torch_geometric.data.data", "Data"),
    Name("torch_geometric.data.data", "DataTensorAttr"),
    Name("torch_geometric.data.data", "DataEdgeAttr"),
    Name("torch_geometric.data.storage", "GlobalStorage"),
}
OUTER |= dict.fromkeys(CLASSES)


def _refuse():
    raise ValueError("a filled OrderedDict")


class _Machine:
    """The stack machine.

    Parameters
    ----------
    raw : memoryview
        Bytes.
    at : int
        Where the pickle begins.
    table : dict of Name to callable or None
        Names that may occur.
    label : str
        The file, for messages.
    """

    def __init__(self, raw, at, table, label):
        self.raw, self.at, self.table, self.label = raw, at, table, label
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self):
        """Return the value that the pickle makes."""
        for _ in range(MOST_STEPS):
            code = self.raw[self.at]
            self.at += 1
            if code == 0x2E:  # STOP
                (value,) = self.stack
                return value
            step = STEPS.get(code)
            if step is None:
                raise ValueError(f"the instruction {code:#x}")
            step(self)
        raise ValueError(f"more than {MOST_STEPS} instructions")

    def take(self, count):
        """Return the next bytes."""
        if count < 0 or self.at + count > len(self.raw):
            raise ValueError("cut short")
        part = self.raw[self.at : self.at + count]
        self.at += count
        return part

    def number(self, form):
        """Return the next number."""
        size = struct.calcsize(form)
        return struct.unpack(form, self.take(size))[0]

    def line(self):
        """Return the next line of text."""
        end = bytes(self.raw[self.at : self.at + 200]).find(b"\n")
        if end < 0:
            raise ValueError("a name without an end")
        text = bytes(self.take(end)).decode("utf-8")
        self.at += 1
        return text

    def text(self, form):
        """Return the next text, its length before it."""
        return bytes(self.take(self.number(form))).decode("utf-8")

    def push(self, value):
        """Put a value on the stack."""
        self.stack.append(value)

    def marked(self):
        """Take all values above the last mark."""
        place = len(self.stack) - 1
        while self.stack[place] is not MARK:
            place -= 1
            if place < 0:
                raise ValueError("no mark")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def pop(self):
        """Take the last value."""
        value = self.stack.pop()
        if value is MARK:
            raise ValueError("a mark out of place")
        return value

    def named(self, module, name):
        """Put a name of the table on the stack."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no text")
        found = Name(module, name)
        if found not in self.table:
            raise RefusedNameError(f"{str(found)[:60]}")
        self.push(found)

    def reduce(self):
        """Do what a call stands for."""
        arguments, function = self.pop(), self.pop()
        action = self.table.get(function) if isinstance(function, Name) else None
        if action is None or not isinstance(arguments, tuple):
            raise ValueError(f"a call of {str(function)[:60]}")
        self.push(action(*arguments))

    def new(self):
        """Make an object of a known class."""
        arguments, kind = self.pop(), self.pop()
        if kind not in CLASSES or arguments != ():
            raise ValueError(f"an object of {str(kind)[:60]}")
        self.push(Instance(kind))

    def build(self):
        """Give an object its state."""
        state, found = self.pop(), self.stack[-1]
        if isinstance(found, Instance) and isinstance(state, dict) and found.state is None:
            found.state = state
        elif isinstance(found, _Kind) and isinstance(state, tuple):
            found.order = state[1]
        elif isinstance(found, _Array) and isinstance(state, tuple):
            _, shape, kind, fortran, values = state
            if isinstance(values, list):
                if shape != () or len(values) != 1:
                    raise ValueError("an array of objects")
                found.values = values[0]
            else:
                flat = np.frombuffer(values, dtype=kind.dtype())
                found.values = flat.reshape(shape, order="F" if fortran else "C")
        else:
            raise ValueError(f"a state of {type(found).__name__}")

    def set_items(self, pairs):
        """Put keys and values into the last dict."""
        target = self.stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise ValueError("items of no dict")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if type(key) not in (str, int):
                raise ValueError("a key that is neither text nor number")
            target[key] = _finished(value)

    def append(self, values):
        """Put values into the last list."""
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError("members of no list")
        target.extend(_finished(value) for value in values)

    def long(self, size):
        """Put a number of any length on the stack."""
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def persistent(self):
        """Put a reference to a storage on the stack."""
        reference = self.pop()
        if self.table is not INNER or not isinstance(reference, tuple) or len(reference) < 5:
            raise ValueError("a reference")
        word, kind, *rest = reference
        if word != "storage" or not isinstance(kind, Name) or kind not in INNER:
            raise ValueError("a reference to no storage")
        self.push((np.dtype(STORAGES[kind.name]), *rest))

    def tuple_of(self, count):
        """Put a tuple of the last values on the stack."""
        values = [self.pop() for _ in range(count)][::-1]
        self.push(tuple(values))

    def remember(self, index):
        """Keep the last value."""
        self.memo[index] = self.stack[-1]


STEPS: dict[int, Callable[[_Machine], Any]] = {
    0x80: lambda m: m.take(1),  # PROTO
    0x95: lambda m: m.take(8),  # FRAME
    0x28: lambda m: m.push(MARK),
    0x8C: lambda m: m.push(m.text("<B")),  # SHORT_BINUNICODE
    0x58: lambda m: m.push(m.text("<I")),  # BINUNICODE
    0x94: lambda m: m.remember(len(m.memo)),  # MEMOIZE
    0x71: lambda m: m.remember(m.number("<B")),  # BINPUT
    0x72: lambda m: m.remember(m.number("<I")),  # LONG_BINPUT
    0x68: lambda m: m.push(m.memo[m.number("<B")]),  # BINGET
    0x6A: lambda m: m.push(m.memo[m.number("<I")]),  # LONG_BINGET
    0x63: lambda m: m.named(m.line(), m.line()),  # GLOBAL
    0x93: lambda m: m.named(*[m.pop(), m.pop()][::-1]),  # STACK_GLOBAL
    0x29: lambda m: m.push(()),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    0x74: lambda m: m.push(tuple(m.marked())),
    0x5D: lambda m: m.push([]),
    0x7D: lambda m: m.push({}),
    0x61: lambda m: m.append([m.pop()]),
    0x65: lambda m: m.append(m.marked()),
    0x73: lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    0x75: lambda m: m.set_items(m.marked()),
    0x52: lambda m: m.reduce(),
    0x81: lambda m: m.new(),
    0x62: lambda m: m.build(),
    0x51: lambda m: m.persistent(),
    0x4B: lambda m: m.push(m.number("<B")),
    0x4D: lambda m: m.push(m.number("<H")),
    0x4A: lambda m: m.push(m.number("<i")),
    0x8A: lambda m: m.long(m.number("<B")),
    0x47: lambda m: m.push(m.number(">d")),
    0x4E: lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    0x43: lambda m: m.push(m.take(m.number("<B"))),  # SHORT_BINBYTES
    0x42: lambda m: m.push(m.take(m.number("<I"))),  # BINBYTES
    0x8E: lambda m: m.push(m.take(m.number("<Q"))),  # BINBYTES8
}
