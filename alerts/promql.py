"""Small pieces of PromQL and rule files."""

from typing import Any

import yaml

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml: ten times faster


def matcher(label: str, value: str) -> str:
    """Return `label="value"`, escaped."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{label}="{escaped}"'


def series(name: str, *matchers: str) -> str:
    """Return a selector; empty matchers are left out."""
    held = ",".join(one for one in matchers if one)
    return f"{name}{{{held}}}" if held else name


def in_template(text: str) -> str:
    """Return text as annotations and labels of alerts may hold it: Prometheus reads them as Go templates."""
    return text.replace("{{", '{{ "{{" }}')


def dump(document: dict[str, Any]) -> str:
    """Return a document as YAML, keys in their order."""
    return str(yaml.dump(document, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=10_000))
