"""Accepts the former flat spelling of components (`components.webhook-consumer`) by moving it to the nested one."""

from collections.abc import Iterable, Iterator

import yaml

from airy.components import Component
from airy.config_reader import ConfigReader

MAP_TAG = "tag:yaml.org,2002:map"


def nest_components(document: yaml.Node, reader: ConfigReader, table: Iterable[Component]) -> Iterator[str]:
    """Changes `document`. Yields `LINE: warning` for each flat key; notes a component given in both spellings."""
    section = _value(document, "components")
    if not isinstance(section, yaml.MappingNode):
        return
    flat = {each.id: each for each in table if each.section is not None}
    moved = [(key, value) for key, value in section.value if _text(key) in flat]
    section.value = [(key, value) for key, value in section.value if _text(key) not in flat]
    for key, value in moved:
        component, line = flat[_text(key)], key.start_mark.line + 1
        group = _group(section, component.type, key)
        if not isinstance(group, yaml.MappingNode) or _value(group, component.name) is not None:
            reader.note(f"components.{component.id}", f"is given as {component.path} too: keep that one", line=line)
            continue
        name = yaml.ScalarNode("tag:yaml.org,2002:str", component.name, key.start_mark, key.end_mark)
        group.value.append((name, value))
        nested = f"components: {{{component.type}: {{{component.name}: …}}}}"
        yield f"{line}: components.{component.id} is deprecated: write `{nested}`"


def _group(section: yaml.MappingNode, type_: str, at: yaml.ScalarNode) -> yaml.Node:
    """The mapping of a type; created, or put in place of an empty value."""
    for index, (key, value) in enumerate(section.value):
        if _text(key) == type_:
            if isinstance(value, yaml.ScalarNode) and value.tag.endswith(":null"):
                section.value[index] = (key, yaml.MappingNode(MAP_TAG, [], value.start_mark, value.end_mark))
            found: yaml.Node = section.value[index][1]
            return found
    group = yaml.MappingNode(MAP_TAG, [], at.start_mark, at.end_mark)
    key = yaml.ScalarNode("tag:yaml.org,2002:str", type_, at.start_mark, at.end_mark)
    section.value.append((key, group))
    return group


def _value(node: yaml.Node, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if _text(name) == key), None)


def _text(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""
