"""Exact arithmetic on text: numbers, + - * / **, parentheses. Read with `ast`, never run; 0.1 + 0.2 is 0.3 here."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from toolrail import ToolError

MAX_CHARACTERS = 200
MAX_DEPTH = 40
MAX_EXPONENT = 64
MAX_BITS = 2_048
"""Of the numerator and of the denominator, at every step: about 600 digits."""
ROUNDED_DIGITS = 28
"""Significant digits of a result that has no end, such as 1/3."""

_ALLOWED = re.compile(r"[0-9eE.+\-*/() _]*")
_ROUND = Context(prec=ROUNDED_DIGITS, rounding=ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999)


@dataclass(frozen=True, slots=True)
class Calculation:
    """A result: its digits, and whether they are all of them."""

    value: str
    exact: bool
    """False: the digits never end, and were rounded to 28 significant ones."""


def calculate(expression: str) -> Calculation:
    """Works out a formula with exact decimals."""
    try:
        return evaluate(expression)
    except ValueError as error:
        raise ToolError(str(error)) from None


def evaluate(expression: str) -> Calculation:
    """The value of an arithmetic expression.

    Raises `ValueError`, in words for whoever wrote the expression, for anything else and for results out of bounds.

    >>> evaluate("(19.99 * 3 + 4.90) / 2")
    Calculation(value='32.435', exact=True)
    >>> evaluate("1 / 3").exact
    False
    """
    text = expression.strip()
    if not text:
        raise ValueError("The expression is empty.")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"The expression is longer than {MAX_CHARACTERS} characters.")
    allowed = _ALLOWED.match(text)
    end = allowed.end() if allowed else 0
    if end < len(text):
        raise ValueError(f"{text[end]!r} is not allowed: write numbers with a point, + - * / ** and parentheses.")
    return _show(_value(_parse(text), text, depth=0))


def _parse(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError("This is not an arithmetic expression.") from None


def _value(node: ast.expr, text: str, *, depth: int) -> Fraction:
    if depth > MAX_DEPTH:
        raise ValueError(f"The expression is nested deeper than {MAX_DEPTH} levels.")
    match node:
        case ast.Constant(value=int() | float()):
            return _number(ast.get_source_segment(text, node) or "")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            value = _value(operand, text, depth=depth + 1)
            return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=operator, right=right):
            return _apply(operator, _value(left, text, depth=depth + 1), _value(right, text, depth=depth + 1))
        case _:
            raise ValueError("This is not an arithmetic expression.")


def _number(digits: str) -> Fraction:
    # From the text: as a float, 0.1 would not be 0.1 any more.
    try:
        number = Decimal(digits)
    except ArithmeticError:
        raise ValueError(f"{digits[:40]} is out of range.") from None
    # Before it becomes a fraction: 1e999999 is short as text and a million digits as a number.
    if number and abs(number.adjusted()) > MAX_BITS // 4:
        raise ValueError(f"{digits[:40]} is out of range.")
    return _bounded(Fraction(number))


def _apply(operator: ast.operator, left: Fraction, right: Fraction) -> Fraction:
    match operator:
        case ast.Add():
            return _bounded(left + right)
        case ast.Sub():
            return _bounded(left - right)
        case ast.Mult():
            return _bounded(left * right)
        case ast.Div():
            if right == 0:
                raise ValueError("Division by zero.")
            return _bounded(left / right)
        case ast.Pow():
            return _power(left, right)
        case _:
            raise ValueError("Only + - * / and ** are known.")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT:
        raise ValueError(f"An exponent must be a whole number from -{MAX_EXPONENT} to {MAX_EXPONENT}.")
    if base == 0 and exponent < 0:
        raise ValueError("Division by zero.")
    return _bounded(base ** int(exponent))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise ValueError("A number grew out of range.")
    return value


def _show(value: Fraction) -> Calculation:
    places = _decimal_places(value.denominator)
    if places is None:
        rounded = _ROUND.divide(Decimal(value.numerator), Decimal(value.denominator))
        return Calculation(f"{rounded:f}", exact=False)
    scaled = Decimal(value.numerator * 10**places // value.denominator)
    # A tuple and not `scaleb`, which would round to the context's precision.
    return Calculation(f"{Decimal((scaled.as_tuple().sign, scaled.as_tuple().digits, -places)):f}", exact=True)


def _decimal_places(denominator: int) -> int | None:
    """How many decimals 1/denominator has, or None where they never end."""
    twos = fives = 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    return max(twos, fives) if denominator == 1 else None
