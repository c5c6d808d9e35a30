"""How a setting is declared: once, with its kind, default and meaning, beside the code that reads it.

A part's settings are a class, and each setting is a field of it::

    class GIFSettings(Settings):
        \"\"\"The Neumann series.\"\"\"

        unlearn_gif_iterations: Count = setting(100, "Steps at most.", "Its released code.")

The defaults of a run, the names that are known, the checks of values and the yaml under ``properties/`` follow from it.
"""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError

from recbole_unlearn.errors import UsageError, unknown


@dataclass(frozen=True)
class Words:
    """What a value may be, for the error about another one; in an ``Annotated`` kind.

    Without it, an error gives the type and its bounds.
    """

    text: str


def _yes_or_no(value):
    return bool(value) if value in (0, 1) else value


Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Weight = Annotated[FiniteFloat, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1), Words("a share in (0, 1]")]
ShareOrZero = Annotated[float, Field(ge=0, lt=1), Words("a share in [0, 1)")]
Temperature = Annotated[FiniteFloat, Field(ge=0.03), Words("a number >= 0.03, below which its exponentials vanish")]
Flag = Annotated[bool | None, BeforeValidator(_yes_or_no), Words("True or False")]  # 0, 1 and empty, too

# RecBole's settings that several backbones give a default
EmbeddingSize = Annotated[Count, Field(description="The embedding size of users and items.")]
Layers = Annotated[Count, Field(description="The number of layers.")]
RegularizationWeight = Annotated[Weight, Field(description="The L2 regularization weight.")]
SquaredNorm = Annotated[Flag, Field(description="Whether the regularization is the squared norm.")]
LearningRate = Annotated[Positive, Field(description="Learning rate.")]
Candidates = Annotated[
    Annotated[int, Field(ge=2)] | None,
    Field(
        description="Users (items) that the contrastive loss tells a user (an item) from: so many, drawn for each "
        "batch, stand for all; empty takes all. A batch of the papers has 2048."
    ),
]
Epochs = Annotated[Count, Field(description="The number of training epochs.")]

NAMES_OF_TYPES = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", NoneType: "empty"}
BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


class Settings(BaseModel):
    """The settings of a part; subclass it and add a field for each. Several parts' are joined by inheritance.

    The docstring is the heading in the yaml. Types are strict: True is no number, 1.0 no whole one, and text neither.
    """

    model_config = ConfigDict(strict=True, protected_namespaces=())


def setting(default: Any, meaning: str, source: str = "") -> Any:
    """A field of :class:`Settings`.

    Args:
        default: its value unless a user or a yaml gives another.
        meaning: a sentence.
        source: where the default comes from, a sentence: the method's paper, its released code, or our measurements.
    """
    return Field(default, description=f"{meaning} {source}".rstrip())


def defaults(declaration: type[Settings]) -> dict[str, Any]:
    """Name to default, without the settings that have none."""
    fields = declaration.model_fields.items()
    return {name: field.get_default() for name, field in fields if not field.is_required()}


def sections(declaration: type[Settings]) -> Iterator[tuple[str, list[str]]]:
    """The heading and the names of settings of a class and of its bases that have some."""
    seen = set()
    for part in declaration.__mro__:
        names = [name for name in inspect.get_annotations(part) if name in declaration.model_fields]
        names = [name for name in names if name not in seen]
        seen.update(names)
        if names:
            yield inspect.cleandoc(part.__doc__ or ""), names


def kinds(declaration: type[Settings]) -> dict[str, Any]:
    """Name to kind of value: a type, or an ``Annotated`` one."""
    found: dict[str, Any] = {}
    for name, field in declaration.model_fields.items():
        found[name] = field.annotation
        for each in field.metadata:
            found[name] = Annotated[found[name], each]
    return found


def type_names(kind: Any) -> list[str]:
    """The types of a kind as in the comments of the yaml, e.g. ``["float", "str"]``, without that of empty."""
    origin = get_origin(kind)
    if origin is Annotated:
        return type_names(get_args(kind)[0])
    if origin in (Union, UnionType):
        return list(dict.fromkeys(name for part in get_args(kind) for name in type_names(part)))
    if origin is Literal:
        return [type(get_args(kind)[0]).__name__]
    return [] if kind is NoneType else [(origin or kind).__name__]


def words(kind: Any) -> str:
    """What a value of a kind may be."""
    origin = get_origin(kind)
    if origin is Annotated:
        said = [each.text for each in kind.__metadata__ if isinstance(each, Words)]
        return said[-1] if said else f"{words(get_args(kind)[0])} {' and '.join(_bounds(kind))}".rstrip()
    if origin in (Union, UnionType):
        return " or ".join(map(words, get_args(kind)))
    if origin is Literal:
        return ", ".join(map(str, get_args(kind)))
    return NAMES_OF_TYPES.get(kind) or f"a {(origin or kind).__name__}"


def check(declaration: type[Settings], values: Mapping[str, Any]) -> None:
    """Refuse values that a declaration does not allow.

    Args:
        declaration: its other settings pass.
        values: of any settings.

    Raises:
        UsageError: names the setting, its value and what it may be.
    """
    try:
        declaration.model_validate({name: values[name] for name in declaration.model_fields if name in values})
    except ValidationError as error:
        for wrong in error.errors():
            if wrong["type"] != "missing":
                raise _refusal(declaration, wrong, values) from None


def _refusal(declaration, wrong, values):
    reason = " ".join(str(wrong.get("ctx", {}).get("error", "")).split())  # of an author's own validator
    if not wrong["loc"]:  # of several settings
        return UsageError(reason)
    name = wrong["loc"][0]
    kind = kinds(declaration)[name]
    if get_origin(kind) is Literal:
        return unknown(name, values[name], map(str, get_args(kind)))
    return UsageError(f"Setting '{name}' must be {words(kind)}, not {values[name]!r}. {reason}".rstrip())


def _bounds(kind):
    for each in kind.__metadata__:
        for bound in getattr(each, "metadata", [each]):
            yield from (f"{sign} {getattr(bound, key)}" for key, sign in BOUNDS.items() if hasattr(bound, key))
