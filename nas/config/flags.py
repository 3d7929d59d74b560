"""The flags of a command, made from the options that they set: `@with_flags("epochs", "seed")`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from nas.config.run_config import Option, RunConfig
from nas.config.spelling import NAMES, Spelling
from nas.fields import Absent, Flag, FolderPath, Form, Number, OneOf, Several, Whole

_TYPES: Mapping[type, type] = {Whole: int, Number: float, Flag: bool, FolderPath: Path}
"""Form of an option to the type that the command line reads; any other is a text."""


def with_flags(
    names: Iterable[str] | None = None, *, absent: Mapping[str, str] | None = None, config: type[RunConfig] = RunConfig
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command one flag for each of some options; those that are given reach it as `options`, name to value.

    Args:
        names: Of the options; None for all that have a flag, in the panels of their sections.
        absent: Name of an option to what it is where it is not given, in words; of any other, that is its default.
        config: Where the options are declared.

    Returns:
        What changes a function that takes `options` by keyword, for typer.
    """
    declared = config.options()
    options = {name: declared[name] for name in names or declared if declared[name].flag is not None}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*positional: Any, **given: Any) -> None:
            values = {name: given.pop(name) for name in options}
            read = {name: _read(options[name], value) for name, value in values.items() if value is not None}
            command(*positional, options={name: value for name, value in read.items() if value is not None}, **given)

        flags = []
        for name, option in options.items():
            annotation = _annotation(
                option, (absent or {}).get(name) or _default(option), panel=option.panel if names is None else None
            )
            flags.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
        own = inspect.signature(command, eval_str=True).parameters
        parameters = [
            flag
            for parameter in own.values()
            for flag in (flags if parameter.name == "options" else [parameter.replace(kind=parameter.KEYWORD_ONLY)])
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _annotation(option: Option, absent: str, *, panel: str | None) -> Any:
    form, spelling = _form_of(option), _spelling_of(option)
    kind = str if spelling else _TYPES.get(type(form), str)
    names = form.names if isinstance(form, OneOf) else ()
    shape: Any = list[str] if spelling and spelling.is_repeated else kind
    metavar = spelling.metavar if spelling else "NAME" if names else None
    flag = f"--{option.flag}"
    if kind is bool and option.default is not False:
        flag = f"{flag}/--no-{option.flag}"
    return Annotated[
        shape | None,
        typer.Option(
            flag,
            help=option.meaning,
            metavar=metavar,
            show_default=absent or False,
            rich_help_panel=panel,
            autocompletion=(lambda incomplete: [name for name in names if name.startswith(incomplete)])
            if names
            else None,
        ),
    ]


def _form_of(option: Option) -> Form:
    return option.form.form if isinstance(option.form, Absent) else option.form


def _spelling_of(option: Option) -> Spelling | None:
    found = option.spelling or (NAMES if isinstance(_form_of(option), Several) else None)
    assert found is None or isinstance(found, Spelling)
    return found


def _default(option: Option) -> str:
    """An option's default for people; empty where there is nothing to say."""
    form, spelling, default = _form_of(option), _spelling_of(option), option.default
    if isinstance(form, Whole) and form.zero and default == 0:
        return form.zero
    if isinstance(form, Flag):
        return str(option.flag) if default else ""
    if spelling:
        return spelling.write(default) if default else ""
    return "" if default is None else str(default)


def _read(option: Option, value: Any) -> Any:
    """The value of an option; None where an empty text is spelled, which is as good as no flag."""
    spelling = _spelling_of(option)
    if spelling is None:
        return value
    text = ",".join(value) if isinstance(value, list) else value
    return spelling.read(text, str(option.flag)) if text else None
