"""Pickles read as data: the values that they describe are put together here, and nothing that they name is called.

`torch.save` writes a pickle, which is a program for a small stack machine. Python's own machine imports and calls what
the program names. This one knows some sixty harmless instructions and a fixed list of names, which stand for functions
of this file; any other name ends the reading. It takes time and memory in proportion to the pickle's length.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import torch
from torch import Tensor

from apollo.checkpoints.stand_ins import HARMLESS_DICTIONARIES, HARMLESS_OBJECTS, StandIn

INSTRUCTIONS = 1_000_000  # a state of 16 million weights with its optimiser has 60,000
INTEGER_BITS = 128
DIMENSIONS = 16

# Gives `numel` numbers of the storage `key`, one-dimensional.
LoadStorage = Callable[[str, torch.dtype, int], Tensor]


class ForeignNameError(Exception):
    """A pickle names a class or function that is not on the list."""


class PickleError(Exception):
    """A pickle is damaged, or larger than any model's."""


class Function:
    """What a name in a pickle stands for: takes the arguments that the pickle gives, and gives a value."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


class Storage(Function):
    """The type of a storage; no pickle calls it."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(lambda *arguments: STAND_IN)
        self.dtype = dtype


STAND_IN = StandIn()
MARK = object()


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """View a storage as a tensor, within its bounds."""
    for numbers in ((offset,), size, stride):
        if len(numbers) > DIMENSIONS or not all(type(number) is int and number >= 0 for number in numbers):
            raise PickleError("a tensor's shape is not whole numbers")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if not isinstance(storage, Tensor) or (0 not in size and last >= len(storage)):
        raise PickleError("a tensor lies outside of its storage")
    if math.prod(size) > max(len(storage), 1):
        raise PickleError("a tensor repeats its storage")
    return storage.as_strided(size, stride, offset)


def scalar(value: Any) -> bool:
    """Whether a value may be a key: hashing a value that holds others may never end."""
    return value is None or isinstance(value, (str, bytes, int, float))


def dictionary(pairs: Iterable[Any] = ()) -> dict[Any, Any]:
    """A dictionary of those pairs whose key is a scalar."""
    if not isinstance(pairs, (list, tuple)):
        return {}
    return {
        pair[0]: pair[1] for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2 and scalar(pair[0])
    }


def of_type(function: Any, _type: Any, arguments: Any, *_: Any) -> Any:
    """What a subclass of tensors is made from."""
    return function.make(*arguments) if isinstance(function, Function) and isinstance(arguments, tuple) else STAND_IN


def first(value: Any = None, *_: Any) -> Any:
    """A value without what goes with it."""
    return value


def nothing(*_: Any) -> StandIn:
    """Something that is not needed."""
    return STAND_IN


STORAGES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}
DTYPES = [value for value in vars(torch).values() if isinstance(value, torch.dtype)]
KNOWN: dict[str, Function] = {
    **dict.fromkeys(HARMLESS_OBJECTS, Function(nothing)),
    **dict.fromkeys(HARMLESS_DICTIONARIES, Function(lambda *_: {})),
    **{f"torch.{name}Storage": Storage(dtype) for name, dtype in STORAGES.items()},
    **{str(dtype): Function(nothing) for dtype in DTYPES},
    "_codecs.encode": Function(nothing),
    "collections.OrderedDict": Function(dictionary),
    "torch.Size": Function(first),
    "torch.device": Function(nothing),
    "torch.storage.UntypedStorage": Storage(torch.uint8),
    "torch._tensor._rebuild_from_type_v2": Function(of_type),
    "torch._utils._rebuild_parameter": Function(first),
    "torch._utils._rebuild_parameter_with_state": Function(first),
    "torch._utils._rebuild_tensor": Function(rebuild_tensor),
    "torch._utils._rebuild_tensor_v2": Function(rebuild_tensor),
    "torch.Tensor": Function(nothing),
    "torch.nn.parameter.Parameter": Function(nothing),
}
CONSTANTS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "EMPTY_TUPLE": (),
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}


def read_pickle(file: BinaryIO, load: LoadStorage) -> Any:
    """Read the one pickle at the place where a file is; `load` gives the storages that tensors view.

    Raises ForeignNameError with the dotted name of a class or function that is not on the list, and PickleError if the
    pickle is damaged, or larger than any model's.
    """
    return Machine(load).run(pickletools.genops(file))


class Machine:
    """A stack, marks in it, and a memory of values by number; `load` gives the storages that tensors view."""

    def __init__(self, load: LoadStorage) -> None:
        self.load = load
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def run(self, instructions: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> Any:
        """Follow all instructions, and return what is then on the stack."""
        for count, (instruction, argument, _) in enumerate(instructions):
            if count >= INSTRUCTIONS:
                raise PickleError("it has more parts than any model")
            name = instruction.name
            if name == "STOP":
                return self.pop()
            self.step(name, argument)
        raise PickleError("it has no end")

    def step(self, name: str, argument: Any) -> None:
        """Follow one instruction."""
        stack = self.stack
        if name in ("BINGET", "LONG_BINGET", "GET"):
            if argument not in self.memory:
                raise PickleError("it refers to a missing object")
            stack.append(self.memory[argument])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memory[argument] = self.top()
        elif name == "MEMOIZE":
            self.memory[len(self.memory)] = self.top()
        elif name in LITERALS:
            if isinstance(argument, int) and argument.bit_length() > INTEGER_BITS:
                raise PickleError("it holds a number that no model has")
            stack.append(argument)
        elif name == "MARK":
            stack.append(MARK)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in TUPLES:
            stack.append(tuple(reversed([self.pop() for _ in range(TUPLES[name])])))
        elif name == "TUPLE":
            stack.append(tuple(self.marked()))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments = self.pop()
            stack.append(self.call(self.pop(), arguments))
        elif name in ("BINPERSID", "PERSID"):
            stack.append(self.storage(self.pop() if name == "BINPERSID" else argument))
        elif name == "GLOBAL":
            stack.append(self.named(*str(argument).split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute = self.pop()
            stack.append(self.named(self.pop(), attribute))
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "SETITEM":
            value = self.pop()
            key = self.pop()
            self.set_items([key, value])
        elif name == "SETITEMS":
            self.set_items(self.marked())
        elif name == "DICT":
            values = self.marked()
            stack.append(dictionary(list(zip(values[::2], values[1::2], strict=False))))
        elif name in ("EMPTY_LIST", "EMPTY_SET"):
            stack.append([] if name == "EMPTY_LIST" else STAND_IN)
        elif name == "LIST":
            stack.append(self.marked())
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            values = [self.pop()] if name == "APPEND" else self.marked()
            if isinstance(self.top(), list):
                self.top().extend(values)
        elif name == "BUILD":
            self.pop()  # the state of an object that is not made
            self.top()
        elif name == "FROZENSET":
            self.marked()
            stack.append(STAND_IN)
        elif name == "NEWOBJ_EX":
            self.pop()
            arguments = self.pop()
            stack.append(self.call(self.pop(), arguments))
        elif name == "BYTEARRAY8":
            stack.append(STAND_IN)
        elif name not in ("PROTO", "FRAME"):
            raise PickleError(f"it has the instruction {name}, which no model has")

    def top(self) -> Any:
        """The last value on the stack."""
        if not self.stack or self.stack[-1] is MARK:
            raise PickleError("it uses a missing object")
        return self.stack[-1]

    def pop(self) -> Any:
        """Remove the last value from the stack and return it."""
        value = self.top()
        self.stack.pop()
        return value

    def marked(self) -> list[Any]:
        """Remove the last mark and all values after it, and return those."""
        values: list[Any] = []
        while self.stack:
            value = self.stack.pop()
            if value is MARK:
                return values[::-1]
            values.append(value)
        raise PickleError("it uses a missing object")

    def set_items(self, keys_and_values: list[Any]) -> None:
        """Put values into the dictionary on the stack, each under the scalar before it."""
        if isinstance(self.top(), dict):
            pairs = zip(keys_and_values[::2], keys_and_values[1::2], strict=False)
            self.top().update((key, value) for key, value in pairs if scalar(key))

    def named(self, module: Any, attribute: Any) -> Function:
        """What a name stands for."""
        name = f"{'builtins' if module == '__builtin__' else module}.{attribute}"
        if name not in KNOWN:
            raise ForeignNameError(name)
        return KNOWN[name]

    def call(self, function: Any, arguments: Any) -> Any:
        """Give the value that a known name makes of arguments."""
        if not isinstance(function, Function):
            raise PickleError("it calls a value")
        try:
            return function.make(*arguments)
        except (TypeError, ValueError, ArithmeticError, RuntimeError):
            raise PickleError("it calls a function with wrong arguments") from None

    def storage(self, identity: Any) -> Tensor:
        """The storage that a persistent identity names."""
        match identity:
            case ("storage", Storage() as kind, str() as key, _, int() as numel, *rest) if numel >= 0 and not any(rest):
                return self.load(key, kind.dtype, numel)
        raise PickleError("it refers to something that is not a storage")
