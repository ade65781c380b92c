"""A line of an explanation: a named formula, the same with numbers in it, and what it comes to.

The text of a formula is its only definition: `evaluate` computes the value from it, so what is shown is what was
calculated. Formulas are integer expressions in Python's syntax (`//` rounds down) with the rules' own functions
``div_up``, ``div_down``, ``div_toward_zero`` and ``min``, ``max``, ``abs``, ``isqrt``; conditions are comparisons.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from math import isqrt
from typing import Any, Final

import msgspec

from node.stf.fixed_point import div_down, div_toward_zero, div_up

FUNCTIONS: Final[dict[str, Callable[..., int]]] = {
    "div_up": div_up, "div_down": div_down, "div_toward_zero": div_toward_zero, "min": min, "max": max, "abs": abs,
    "isqrt": isqrt,
}
_OPERATORS: Final[dict[type[ast.AST], Callable[[Any, Any], Any]]] = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b, ast.Pow: lambda a, b: a**b if 0 <= b <= 64 else _too_much(),
    ast.Lt: lambda a, b: a < b, ast.LtE: lambda a, b: a <= b, ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b, ast.Eq: lambda a, b: a == b, ast.NotEq: lambda a, b: a != b,
}
_NAME: Final = re.compile(r"\b[A-Za-z_]\w*\b")
_TEXT_MAX: Final = 4_000


class Line(msgspec.Struct):
    """``value`` is what ``numbers`` evaluates to: an amount in ``unit``, or whether a condition holds."""

    name: str
    formula: str
    numbers: str
    value: int | bool
    unit: str = "micro-USD"


def line(line_name: str, formula: str, line_unit: str = "micro-USD", /, **symbols: int) -> Line:
    """A formula with its symbols' numbers. Conditions have the unit "condition"."""
    numbers = substitute(formula, symbols)
    return Line(line_name, formula, numbers, evaluate(numbers), line_unit)


def condition(line_name: str, formula: str, /, **symbols: int) -> Line:
    """A comparison; its value says whether it holds."""
    return line(line_name, formula, "condition", **symbols)


def substitute(formula: str, symbols: Mapping[str, int]) -> str:
    """The formula with numbers for names. Raises KeyError for a name without one."""

    def number(match: re.Match[str]) -> str:
        name = match.group()
        if name in FUNCTIONS:
            return name
        value = int(symbols[name])
        return str(value) if value >= 0 else f"({value})"

    return _NAME.sub(number, formula)


def evaluate(numbers: str) -> int | bool:
    """The value of an integer expression or comparison. Raises ValueError for anything else."""
    if len(numbers) > _TEXT_MAX:
        raise ValueError(f"an expression of {len(numbers)} characters is longer than {_TEXT_MAX}")
    try:
        value = _value(ast.parse(numbers, mode="eval").body)
    except (SyntaxError, TypeError, ZeroDivisionError, RecursionError) as error:
        raise ValueError(f"{numbers!r} is no integer expression: {error}") from None
    assert isinstance(value, int)
    return value


def _value(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _OPERATORS:
        return _OPERATORS[type(node.ops[0])](_value(node.left), _value(node.comparators[0]))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
        return FUNCTIONS[node.func.id](*[_value(argument) for argument in node.args])
    raise ValueError(f"{ast.dump(node)[:60]} has no place in a formula")


def _too_much() -> int:
    raise ValueError("an exponent is 0 to 64")
