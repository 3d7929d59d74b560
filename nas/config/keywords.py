"""What a function that takes options as keywords says of itself, in a notebook and in `help`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar, get_type_hints

from nas.config.run_config import RunConfig

Given = ParamSpec("Given")
Result = TypeVar("Result")


def takes_options(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Lets signature and documentation of a function that takes `**options` for `RunConfig.of` name every option.

    Args:
        function: It is changed in place; how it is called stays as it is.
    """
    options = [option for option in RunConfig.options().values() if option.flag is not None]
    hints = {section: get_type_hints(kind) for section, kind in RunConfig.sections().items()}
    named = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=option.default,
            annotation=hints[option.section][option.name],
        )
        for option in options
    ]
    whole = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind | None)
        for name, kind in RunConfig.sections().items()
    ]
    signature = inspect.signature(function)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    function.__signature__ = signature.replace(parameters=[*own, *named, *whole])  # type: ignore[attr-defined]
    lines = [f"    {option.name}: {option.meaning}" for option in options]
    function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), "", "Options:", *lines])
    return function
