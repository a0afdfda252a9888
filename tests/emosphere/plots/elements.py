"""What a picture holds."""

import xml.etree.ElementTree as ElementTree


def of_kind(picture: str, kind: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(picture).iter(kind))
