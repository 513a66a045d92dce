"""Options that are declared once, as the fields of a frozen dataclass.

A field made by `option` carries its default, its help text and its legal values. The command-line
argument (`add_argument`), the range check (`check_options`) and the default in a config
(`defaults`) are all derived from it:

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Options:
        threshold: float = option(0.5, help="least intensity of a present unit", at_least=0)

        __post_init__ = check_options
"""

import argparse
import dataclasses
import math
import types
import typing
from typing import Any


class OptionError(ValueError):
    """An option is missing, unknown, or has an illegal value; the message says what is legal."""


@dataclasses.dataclass(frozen=True)
class Declaration:
    """Everything about an option that its dataclass field does not hold itself.

    Attributes:
      help: text shown by `--help`.
      choices: the legal values; empty where any value of the type in range is legal.
      at_least: smallest legal value, or None.
      above: bound that a value must exceed, or None.
      at_most: largest legal value, or None.
      below: bound that a value must stay under, or None.
      metavar: placeholder of the value in `--help`, or one for each item of a tuple.
    """

    help: str
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    metavar: str | tuple[str, ...] | None = None


def option(default: Any = dataclasses.MISSING, **declaration: Any) -> Any:
    """A dataclass field that declares an option.

    Args:
      default: the default value; without one the option is required.
      **declaration: attributes of `Declaration`, of which `help` is required.
    """
    return dataclasses.field(default=default, metadata={"declaration": Declaration(**declaration)})


def check_options(options: Any) -> None:
    """Raises OptionError for the first field of a dataclass instance with an illegal value."""
    for field in dataclasses.fields(options):
        check_value(field, getattr(options, field.name))


def check_value(field: dataclasses.Field, value: Any) -> None:
    """Raises OptionError unless `value` is legal for the option that `field` declares.

    None is legal exactly where the type of the field allows it. Fields that `option` did not make
    are not checked.
    """
    declaration = field.metadata.get("declaration")
    value_type, optional = _value_type(field)
    if declaration is None or (value is None and optional):
        return
    if declaration.choices:
        legal = value in declaration.choices
    elif value_type in (int, float):
        legal = _is_number(value, value_type) and _in_range(value, declaration)
    else:
        legal = True
    if not legal:
        expected = _expected(declaration, value_type)
        raise OptionError(f"{field.name} is {value!r}, expected {expected}")


def is_required(field: dataclasses.Field) -> bool:
    """True where an option has no default."""
    return field.default is dataclasses.MISSING


def flag(name: str) -> str:
    """Command-line spelling of an option's name."""
    return "--" + name.replace("_", "-")


def add_argument(
    parser: argparse.ArgumentParser,
    field: dataclasses.Field,
    *,
    prefix: str = "",
    optional: bool = False,
) -> None:
    """Adds the command-line argument of an option to `parser`.

    Args:
      parser: the parser.
      field: a field made by `option`.
      prefix: text before the help text.
      optional: use None for an absent argument in place of the declared default.
    """
    declaration = field.metadata["declaration"]
    value_type, _ = _value_type(field)
    settings: dict[str, Any] = {"help": prefix + declaration.help, "metavar": declaration.metavar}
    if declaration.choices:
        settings["choices"] = declaration.choices
    elif typing.get_origin(value_type) is tuple:
        items = typing.get_args(value_type)
        settings |= {"type": items[0], "nargs": len(items)}
    else:
        settings["type"] = value_type
    if is_required(field) and not optional:
        settings["required"] = True
    else:
        settings["default"] = None if optional else field.default
    parser.add_argument(flag(field.name), **settings)


def defaults(*classes: type) -> dict[str, Any]:
    """Name -> default of every option that the dataclasses declare with a default."""
    return {
        field.name: field.default
        for options in classes
        for field in dataclasses.fields(options)
        if "declaration" in field.metadata and not is_required(field)
    }


def _value_type(field: dataclasses.Field) -> tuple[Any, bool]:
    """Type of an option's values, and whether None is legal too."""
    if isinstance(field.type, types.UnionType):
        members = typing.get_args(field.type)
        (value_type,) = (member for member in members if member is not types.NoneType)
        return value_type, types.NoneType in members
    return field.type, False


def _is_number(value: Any, value_type: type) -> bool:
    """True for a finite number, which must be whole where the option is an integer."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) if value_type is int else math.isfinite(value)


def _in_range(value: float, declaration: Declaration) -> bool:
    return (
        (declaration.at_least is None or value >= declaration.at_least)
        and (declaration.above is None or value > declaration.above)
        and (declaration.at_most is None or value <= declaration.at_most)
        and (declaration.below is None or value < declaration.below)
    )


def _expected(declaration: Declaration, value_type: type) -> str:
    """Words for the legal values of an option."""
    if declaration.choices:
        *others, last = declaration.choices
        return f"{', '.join(others)} or {last}" if others else last
    bounds = []
    if declaration.at_least is not None:
        bounds.append(f"at least {declaration.at_least}")
    if declaration.above is not None:
        bounds.append(f"more than {declaration.above}")
    if declaration.at_most is not None:
        bounds.append(f"at most {declaration.at_most}")
    if declaration.below is not None:
        bounds.append(f"less than {declaration.below}")
    kind = "a whole number" if value_type is int else "a number"
    return f"{kind}, {' and '.join(bounds)}" if bounds else kind
