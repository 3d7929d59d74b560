"""Encoders that a user names by a text: "picture=timm:resnet18", "picture=mypackage.models:MyNet"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.data.tables.needs import Needs
from nas.encoders.imported import ImportedBuilder, is_import_path
from nas.encoders.pretrained.encoder import Opened, PretrainedBuilder
from nas.encoders.pretrained.modes import FROZEN, check_mode
from nas.encoders.pretrained.name import PretrainedName
from nas.errors import UserError
from nas.fields import told

Named = str | Sequence[str] | Mapping[str, str]
"""Modality to the name of its encoder, as pairs such as "picture=mypackage.models:MyNet" or as a mapping."""


def pairs_of(named: Named | None) -> tuple[str, ...]:
    """The pairs as they are recorded, each "modality=value"."""
    if named is None:
        return ()
    if isinstance(named, Mapping):
        return tuple(f"{name}={value}" for name, value in named.items())
    return tuple(part.strip() for part in (named.split(",") if isinstance(named, str) else named))


def parse_pairs(named: Named | None, option: str) -> dict[str, str]:
    """Modality to value, from pairs.

    Args:
        named: See `pairs_of`.
        option: What is parsed, for the error.

    Raises:
        UserError: If one is no pair, or a modality is named twice.
    """
    found: dict[str, str] = {}
    for pair in pairs_of(named):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals and value):
            raise UserError(f"{option} must be pairs such as picture=mypackage.models:MyNet, got {told(pair)}")
        if name in found:
            raise UserError(f"{option} names {name!r} twice; name it once")
        found[name] = value
    return found


def parse_encoders(named: Named | None) -> dict[str, str]:
    """Modality to the name of its encoder: an import path, or a network of another library.

    Raises:
        UserError: If it is no text of that kind.
    """
    found = parse_pairs(named, "encoder")
    for modality, name in found.items():
        if PretrainedName.parse(name) is None and not is_import_path(name):
            raise UserError(
                f"encoder of {modality!r} is {told(name)}; expected a network such as timm:resnet18, hf:./folder or "
                "torchvision:resnet18, or the import path of a module of yours, such as mypackage.models:MyNet"
            )
    return found


def builders_of(named: Named | None, modes: Named | None) -> dict[str, ImportedBuilder | PretrainedBuilder]:
    """Modality to what builds its encoder; networks of other libraries are opened, with their weights.

    Args:
        named: Modality to the name of its encoder.
        modes: Modality to how far a network of another library learns; without one, it is frozen.

    Raises:
        UserError: If a name or mode is unknown, a library is not installed, or weights are not there.
    """
    names, chosen = parse_encoders(named), parse_pairs(modes, "encoder_mode")
    for modality, mode in chosen.items():
        check_mode(mode)
        if modality not in names or is_import_path(names[modality]):
            raise UserError(
                f"encoder_mode names {told(modality)}, which has no pretrained encoder; name one in encoder"
            )
    found: dict[str, ImportedBuilder | PretrainedBuilder] = {}
    for modality, name in names.items():
        pretrained = PretrainedName.parse(name)
        if pretrained is None:
            found[modality] = ImportedBuilder(name)
        else:
            found[modality] = PretrainedBuilder(Opened.of(pretrained), chosen.get(modality, FROZEN))
    return found


def needs_of(builders: Mapping[str, object]) -> dict[str, Needs]:
    """Modality to what its encoder wants to be shown, of those with a pretrained one."""
    return {name: one.opened.needs for name, one in builders.items() if isinstance(one, PretrainedBuilder)}
