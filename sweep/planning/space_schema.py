"""JSON schema of spaces in YAML or TOML, for editors."""

from typing import Any

from pydantic import TypeAdapter

from sweep.planning.field_reference import field_references
from sweep.space import Range, SearchSpace
from trainables.config import TrialConfig

_BEST = {
    "type": "object",
    "description": "the value of a field that did best in the stages before, among the trials of a data set",
    "properties": {
        "best": {
            "type": "object",
            "properties": {"field": {"type": "string"}, "dataset": {"type": "string"}},
            "required": ["field", "dataset"],
            "additionalProperties": False,
        }
    },
    "required": ["best"],
    "additionalProperties": False,
}

_LIST = {
    "type": "object",
    "description": "a Python list, as `sweep spaces` prints it",
    "properties": {"list": {"type": "array", "minItems": 1}},
    "required": ["list"],
    "additionalProperties": False,
}
_STEPS = {
    "type": "object",
    "description": "a range of Python: first number, end (not included) and step",
    "properties": {"range": {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 3}},
    "required": ["range"],
    "additionalProperties": False,
}


def space_schema() -> dict[str, Any]:
    """Return the JSON schema of a space as values, with each field of TrialConfig described."""
    schema = TypeAdapter(SearchSpace).json_schema()
    fields = TrialConfig.model_json_schema()["properties"]
    for reference in field_references():
        fields[reference.field]["description"] = reference.described
    one = {
        name: {"anyOf": [field, _LIST, _BEST], "description": field["description"]} for name, field in fields.items()
    }
    arrays = {
        name: {"type": "array", "items": {"anyOf": [field, _LIST]}, "minItems": 1} for name, field in fields.items()
    }
    several = {
        name: {"anyOf": [array, _LIST, _STEPS], "description": fields[name]["description"]}
        for name, array in arrays.items()
    }
    drawn = {
        name: {"anyOf": [TypeAdapter(Range).json_schema(), *field["anyOf"]], "description": field["description"]}
        for name, field in several.items()
    }
    parts = schema["$defs"]
    for holder, name, values in (
        *((schema, "base", one), (parts["Grid"], "base", one), (parts["Search"], "base", one)),
        *(
            (parts["PublishedResult"], "setting", one),
            (parts["Grid"], "axes", several),
            (parts["Search"], "over", drawn),
        ),
    ):
        holder["properties"][name] |= {"properties": values, "additionalProperties": False}
    parts["Grid"]["properties"]["points"]["items"] |= {"properties": one, "additionalProperties": False}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
