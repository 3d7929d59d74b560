"""What every page is made of: a template filled with plain values, our style sheet and scripts, drawings inlined."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def fill(template: str, *, scripts: Sequence[str] = (), **values: Any) -> str:
    """A page as HTML that needs nothing from anywhere.

    Args:
        template: Name of one beside this file that extends frame.html.j2.
        scripts: Names of ours; they, and no others, may run.
        values: What the template asks for; text in them is escaped.
    """
    environment = Environment(
        loader=PackageLoader("nas.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    texts = [environment.get_template(name).render() for name in scripts]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
    return environment.get_template(template).render(
        stylesheet=Markup(environment.get_template("page.css").render()),  # our own files
        scripts=[(Markup(text), digest) for text, digest in zip(texts, hashes, strict=True)],
        **values,
    )


def inline_svg(svg: bytes, name: str, alt: str, tooltips: Mapping[str, str]) -> Markup:
    """An SVG file as part of a page: no namespaces, comments or style sheet, names of its own, and a text alternative.

    Args:
        svg: As matplotlib writes it.
        name: Prefix of every id, so that two figures on a page do not mix up their clip paths.
        alt: What it shows.
        tooltips: Id of a part to what it tells when one points at it, or reaches it by keyboard.
    """
    root = ET.fromstring(svg)
    parents = {child: parent for parent in root.iter() for child in parent}
    for element in list(root.iter()):
        element.tag = element.tag.rsplit("}", 1)[-1]
        if element.tag in ("metadata", "style"):
            parents[element].remove(element)
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            plain_key = key.rsplit("}", 1)[-1]
            if plain_key == "id":
                element.set("id", f"{name}-{value}")
                if value in tooltips:
                    element.attrib |= {"tabindex": "0", "role": "img"}
                    title = ET.Element("title")
                    title.text = tooltips[value]
                    element.insert(0, title)
            elif plain_key == "href":  # an address outside the figure has no business on the page
                inside = value if value.startswith("data:image/png;base64,") else "#"
                element.set("href", f"#{name}-{value[1:]}" if value.startswith("#") else inside)
            else:
                element.set(plain_key, re.sub(r"url\(#", f"url(#{name}-", value))
    width = float(root.attrib.pop("width").removesuffix("pt"))
    root.attrib.pop("height")
    root.attrib.pop("version", None)
    root.set("role", "group" if tooltips else "img")  # an image has no parts that one could reach
    root.set("aria-label", alt)
    root.set("style", f"max-width:{width / 72 * 96:.0f}px")
    return Markup(ET.tostring(root, encoding="unicode"))  # ElementTree has escaped every text in it
