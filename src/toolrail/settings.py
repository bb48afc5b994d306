"""What a setting may be. Anything else is a DefinitionError (TR301) that names the setting, its value and the mend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NoReturn, cast

from toolrail.errors import DefinitionError


def near(name: object, known: Iterable[str]) -> str | None:
    """What may have been meant by a name that is none of these."""
    import difflib  # only for a mistake

    found = difflib.get_close_matches(str(name), list(known), n=1)
    return found[0] if found else None


def wrong(owner: str, name: str, value: object, *, problem: str, mend: str) -> NoReturn:
    """Says no. `problem` begins after the setting's name."""
    raise DefinitionError("TR301", f"{owner}({name}={value!r})", f"{name} {problem}", mend)


def positive(owner: str, *, must: bool = False, **values: Any) -> None:
    """Numbers over zero; None says that there is no limit, unless there `must` be one."""
    for name, value in values.items():
        number = _number(owner, name, value, must=must)
        if number is not None and not number > 0:
            mend = "Give a positive number." if must else "Give a positive number, or None."
            wrong(owner, name, value, problem="must be over zero.", mend=mend)


def counts(owner: str, *, must: bool = False, **values: Any) -> None:
    """Whole numbers over zero, or None as above."""
    positive(owner, must=must, **values)
    for name, value in values.items():
        _whole(owner, name, value)


def not_negative(owner: str, *, must: bool = False, whole: bool = False, **values: Any) -> None:
    """Numbers from zero on, or None as above."""
    for name, value in values.items():
        number = _number(owner, name, value, must=must)
        if number is not None and not number >= 0:
            wrong(owner, name, value, problem="must not be negative.", mend="Give zero or more.")
        if whole:
            _whole(owner, name, value)


def share(owner: str, **values: Any) -> None:
    """Shares of one: over zero, at most one."""
    positive(owner, **values)
    for name, value in values.items():
        if value is not None and value > 1:  # a percentage: such a limit would never hold
            wrong(owner, name, value, problem="must not be over one.", mend="Give a share of one, as in 0.5.")


def money(owner: str, value: Any) -> None:
    """An exact amount over zero, or None."""
    if value is None:
        return
    if not isinstance(value, Decimal):
        plain = isinstance(value, int | float | str) and not isinstance(value, bool)
        mend = f'Write money=Decimal("{value}").' if plain else 'Write it as in money=Decimal("0.50").'
        raise DefinitionError("TR301", f"{owner}(money={value!r})", "money is no Decimal.", mend)
    if not value.is_finite():
        wrong(owner, "money", value, problem="must be an amount.", mend='Write it as in money=Decimal("0.50").')
    positive(owner, money=value)


def flags(owner: str, **values: Any) -> None:
    """True or False."""
    for name, value in values.items():
        if value is not True and value is not False:
            wrong(owner, name, value, problem="must be True or False.", mend=f"Write {name}=True or {name}=False.")


def texts(owner: str, **values: Any) -> None:
    """Text."""
    for name, value in values.items():
        if not isinstance(value, str):
            wrong(owner, name, value, problem="must be text.", mend=f'Write it in quotes, as in {name}="...".')


def several(owner: str, name: str, value: Any) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    given = tuple(cast("Sequence[Any]", value)) if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(one, str) for one in given):
        wrong(
            owner, name, cast(object, value), problem="must be names.", mend=f'Write {name}="a", or {name}=("a", "b").'
        )
    return given


def instance(owner: str, name: str, value: object, *, of: type[Any], mend: str) -> None:
    """An object of a class."""
    if not isinstance(value, of):
        wrong(owner, name, value, problem=f"is no {of.__name__}.", mend=mend)


def _number(owner: str, name: str, value: Any, *, must: bool) -> int | float | Decimal | None:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return value
    if value is None and not must:
        return None
    mend = (
        f"Write {name}={value}, without quotes." if _numeric(value) else f"Give a number{'' if must else ', or None'}."
    )
    wrong(owner, name, value, problem="must be a number.", mend=mend)


def _whole(owner: str, name: str, value: Any) -> None:
    if value is not None and not isinstance(value, int):
        wrong(owner, name, value, problem="must be a whole number.", mend=f"Write {name}={max(1, round(value))}.")


def _numeric(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True
