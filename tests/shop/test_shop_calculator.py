"""The calculator is exact, bounded, and clear about what it cannot read."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from examples.shop.calculator import MAX_CHARACTERS, ROUNDED_DIGITS, Calculation, evaluate


@dataclass(frozen=True, slots=True)
class Sum:
    """An expression as text, and its value worked out beside it. None: a division by zero."""

    text: str
    value: Fraction | None


def _number(number: Decimal) -> Sum:
    return Sum(f"{number:f}", Fraction(number))


def _joined(left: Sum, operator: str, right: Sum) -> Sum:
    text = f"({left.text}){operator}({right.text})"
    if left.value is None or right.value is None:
        return Sum(text, None)
    match operator:
        case "+":
            return Sum(text, left.value + right.value)
        case "-":
            return Sum(text, left.value - right.value)
        case "*":
            return Sum(text, left.value * right.value)
        case _:
            return Sum(text, left.value / right.value if right.value else None)


NUMBERS = st.decimals(min_value=0, max_value=10**6, places=3).map(_number)
SUMS = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        st.builds(_joined, inner, st.sampled_from("+-*/"), inner),
        inner.map(lambda one: Sum(f"-({one.text})", None if one.value is None else -one.value)),
    ),
    max_leaves=8,
)


@given(SUMS)
def test_it_agrees_with_fractions(expected: Sum) -> None:
    assume(len(expected.text) <= MAX_CHARACTERS)
    if expected.value is None:
        with pytest.raises(ValueError, match=r"^Division by zero\.$"):
            evaluate(expected.text)
        return
    result = evaluate(expected.text)
    error = abs(Fraction(result.value) - expected.value)
    assert error == 0 if result.exact else 0 < error <= abs(expected.value) / 10 ** (ROUNDED_DIGITS - 1)


@given(base=st.decimals(min_value=-100, max_value=100, places=2), exponent=st.integers(-9, 9))
def test_powers_agree_with_fractions(base: Decimal, exponent: int) -> None:
    assume(base or exponent >= 0)
    result = evaluate(f"({base:f}) ** {exponent}")
    if result.exact:
        assert Fraction(result.value) == Fraction(base) ** exponent


@given(st.text(max_size=MAX_CHARACTERS + 10) | st.text("0123456789.eE+-*/() _", max_size=60))
def test_any_text_is_a_result_or_a_value_error(text: str) -> None:
    # Any other exception fails the test by itself.
    with contextlib.suppress(ValueError):
        assert Decimal(evaluate(text).value).is_finite()


@pytest.mark.parametrize(
    ("expression", "value", "exact"),
    [
        ("0.1 + 0.2", "0.3", True),
        ("3 * 19.99", "59.97", True),
        ("-2 ** 2", "-4", True),
        ("(-2) ** 2", "4", True),
        ("2 ** -2", "0.25", True),
        ("2 ** 3 ** 2", "512", True),
        ("1_000 / 8", "125", True),
        ("1e3 + .5", "1000.5", True),
        ("10 ** 30 + 0.01", "1000000000000000000000000000000.01", True),
        ("1 / 3", "0.3333333333333333333333333333", False),
        ("-2 / 3", "-0.6666666666666666666666666667", False),
        ("0 * -1", "0", True),
        ("  1 + 1\t\n", "2", True),
    ],
)
def test_it_works_out(expression: str, value: str, exact: bool) -> None:
    assert evaluate(expression) == Calculation(value, exact)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("1" * (MAX_CHARACTERS + 1), "longer than 200 characters"),
        ("__import__('os').system('id')", "'i' is not allowed"),
        ("1,000 + 1", "',' is not allowed"),
        ("2 ^ 8", "'\\^' is not allowed"),
        ("10 % 3", "'%' is not allowed"),
        ("1 +", "not an arithmetic expression"),
        ("(1", "not an arithmetic expression"),
        ("1 (2)", "not an arithmetic expression"),
        ("()", "not an arithmetic expression"),
        ("e", "not an arithmetic expression"),
        ("...", "not an arithmetic expression"),
        ("_", "not an arithmetic expression"),
        ("007", "not an arithmetic expression"),
        ("7 // 2", "Only \\+ - \\* / and \\*\\* are known"),
        ("1 / 0", "Division by zero"),
        ("1 / (2 - 2)", "Division by zero"),
        ("0 ** -1", "Division by zero"),
        ("2 ** 65", "whole number from -64 to 64"),
        ("2 ** 0.5", "whole number from -64 to 64"),
        ("9 ** 9 ** 9", "whole number from -64 to 64"),
        ("(10 ** 60) ** 60", "out of range"),
        ("1e999999999", "out of range"),
        ("1e-999999999", "out of range"),
        ("1e99999999999999999999", "out of range"),
        ("-" * 100 + "1", "nested deeper than 40 levels"),
    ],
)
def test_it_refuses(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        evaluate(expression)
