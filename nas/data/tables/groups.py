"""Which columns form which modality: numbers, categories and dates together, every other one alone, or as named."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from itertools import chain

from torch import nn

from nas.data.from_arrays import check_name
from nas.data.tables.columns import IN_TABLE, ROLES, Column
from nas.errors import UserError, unknown_name

TABLE = "table"
"""Name of the modality of all numbers, categories and dates."""

Named = str | Sequence[str] | Mapping[str, str | Sequence[str]]


def group(columns: Sequence[Column], named: Named | None) -> dict[str, tuple[str, ...]]:
    """Modality to its columns.

    Args:
        columns: All of the table.
        named: What the caller wants, such as "meta=year+author,picture,title"; other columns are left out then. In a
            group, `*` stands for anything: "motion=acc_*" takes all such columns that are not named by themselves
            and are no target, split or the like. None for the modality `table` and one of every picture, recording and
            text.

    Raises:
        UserError: If a column is not there, used twice, left out, or of another kind than the rest of its modality; or
            if fewer than two modalities come of it.
    """
    groups = _default(columns) if named is None else _named(columns, named)
    if len(groups) < 2:
        kinds = ", ".join(f"{one.name}: {_kind(one)}" for one in columns)
        raise UserError(
            f"fusion needs two or more modalities, but these columns give {', '.join(groups) or 'none'} "
            f"({kinds:.800}); "
            'overrule kinds with --columns NAME:text, or make groups with --modalities "left=a+b,right=c+d"'
        )
    return groups


def _kind(column: Column) -> str:
    return f"left out, {column.reason}" if column.kind == "ignore" else column.kind


def _default(columns: Sequence[Column]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for column in columns:
        if column.kind in IN_TABLE:
            found[TABLE] = (*found.get(TABLE, ()), column.name)
        elif column.kind not in (*ROLES, "ignore"):
            found[modality_name(column.name, {*found, TABLE})] = (column.name,)
    return found


def _named(columns: Sequence[Column], named: Named) -> dict[str, tuple[str, ...]]:
    kinds = {column.name: column for column in columns}
    wanted = _parsed(named, kinds)
    used: dict[str, str] = {}
    found: dict[str, tuple[str, ...]] = {}
    named_alone = set(chain.from_iterable(wanted.values()))
    free = [one.name for one in columns if one.kind not in (*ROLES, "ignore") and one.name not in named_alone]
    for given, patterns in wanted.items():
        members = tuple(chain.from_iterable(_matching(one, kinds, free, given) for one in patterns))
        whole_table = members == (TABLE,) and TABLE not in kinds
        name = given if given is not None else members[0]
        for member in members if not whole_table else ():
            if member not in kinds:
                raise unknown_name("column in modalities:", member[:200], kinds)
            if member in used:
                raise UserError(f"column {member!r} is in two modalities, {used[member]} and {name}; use it once")
            used[member] = name
        found[name] = members
    for name, members in found.items():
        if members == (TABLE,) and TABLE not in kinds:
            rest = tuple(one.name for one in columns if one.kind in IN_TABLE and one.name not in used)
            if not rest:
                raise UserError(
                    f"modality {name!r} would be of all other numbers, categories and dates, but there are none"
                )
            found[name] = rest
        else:
            _check_kinds(name, [kinds[member] for member in members])
    valid: dict[str, tuple[str, ...]] = {}
    for name, members in found.items():
        is_column = members == (name,)
        if not is_column:
            check_name(name)
        valid[modality_name(name, valid) if is_column else name] = members
    return valid


def _matching(member: str, known: Collection[str], free: Sequence[str], name: str) -> Sequence[str]:
    """The columns that a member of a group stands for: itself, or those that are free and match its `*`."""
    if "*" not in member or member in known:
        return [member]
    pattern = re.compile(".*".join(map(re.escape, member.split("*"))), re.DOTALL)
    found = [one for one in free if pattern.fullmatch(one)]
    if not found:
        told = ", ".join(free) or "none"
        raise UserError(f"no column of modality {name!r:.200} is like {member[:200]!r}; free are {told:.800}")
    return found


def _parsed(named: Named, known: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Name to columns from any of the forms."""
    if isinstance(named, Mapping):
        pairs: list[tuple[str, str | Sequence[str]]] = [(str(name), value) for name, value in named.items()]
    else:
        parts = named.split(",") if isinstance(named, str) else [str(part) for part in named]
        pairs = []
        for part in parts:
            name, equals, value = part.strip().partition("=")
            is_column = part.strip() in known or not equals
            pairs.append((part.strip(), part.strip()) if is_column else (name.strip(), value))
    found: dict[str, tuple[str, ...]] = {}
    for name, wanted in pairs:
        if isinstance(wanted, str):
            members = (wanted,) if wanted in known or not wanted else tuple(one.strip() for one in wanted.split("+"))
        else:
            members = tuple(str(one) for one in wanted)
        if not name or not members or not all(members):
            raise UserError(
                f'modalities {str(named)!r:.200} hold an empty name; expected such as "meta=year+author,picture,title"'
            )
        if name in found:
            raise UserError(f"modality {name!r:.200} is named twice; name it once")
        found[name] = members
    return found


def _check_kinds(name: str, members: Sequence[Column]) -> None:
    for member in members:
        if member.kind in ROLES:
            raise UserError(
                f"column {member.name!r} is the {member.kind} and in modality {name!r}; leave it out of the modalities"
            )
        if member.kind == "ignore":
            raise UserError(
                f"column {member.name!r} of modality {name!r} is left out ({member.reason}); say --columns "
                f"{member.name}:number or the like, or leave it out of the modalities"
            )
    kinds = ["table" if member.kind in IN_TABLE else member.kind for member in members]
    if len(set(kinds)) > 1:
        first, other = members[0], next(one for one, kind in zip(members, kinds, strict=True) if kind != kinds[0])
        raise UserError(
            f"modality {name!r} joins {first.name!r} ({first.kind}) and {other.name!r} ({other.kind}); numbers, "
            f"categories and dates go together, or texts: say --columns {other.name}:category, or give it a modality "
            "of its own"
        )
    if kinds[0] in ("image", "frames", "audio") and len(members) > 1:
        raise UserError(
            f"modality {name!r} joins {len(members)} columns of kind {kinds[0]}; give each a modality of its own"
        )


def modality_name(column: str, taken: Collection[str]) -> str:
    """A valid name of a modality after that of a column, other than those that are taken."""
    name = re.sub(r"_+", "_", re.sub(r"\W", "_", unicodedata.normalize("NFKC", column))).strip("_")
    if not name or not name.isidentifier() or name.startswith("fusion"):
        name = f"column_{name}".rstrip("_")
    if not name.isidentifier():  # letters that Python allows in no name
        name = "column"
    if hasattr(nn.ModuleDict, name) or name == "training":
        name = f"{name}_input"
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
