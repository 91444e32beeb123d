"""Converts between a prediction's JSON body and a row that has a column for each field."""

import base64
from typing import Any

import numpy as np

from wire.answers import FLOAT32
from wire.record import ContractError

Body = dict[str, Any]
"""A prediction as `wire.prediction` writes it as JSON."""
Row = dict[str, Any]
"""Fields of `schemas.model.PREDICTION`; absent ones may be left out. There is no tuple in it,
because fastavro would take it for the branch of a union."""

LARGEST_LONG = (1 << 63) - 1

_DATA = {"BOOL": "booleans", "BYTES": "texts"}


def row_of(body: Body) -> Row:
    """A prediction's row; `body` is not changed."""
    task = body["task"]
    row = dict(body)
    if task == "classify":
        row["top"] = found = list(body["top"])
        if heads := body.get("heads"):
            row["heads"] = [{**head, "top": list(head["top"])} for head in heads]
    elif task == "detect":
        row["detections"] = found = [{**one, "box": list(one["box"])} for one in body["detections"]]
    elif task == "embed":
        found = []
        text = row.pop("embedding_base64", None)
        values = (
            body["embedding"] if text is None else np.frombuffer(base64.b64decode(text), FLOAT32)
        )
        row["embedding"] = np.asarray(values).tolist()
    else:
        found = []
        row["outputs"] = [_tensor(one) for one in body["outputs"]]
    if found:
        row["label"], row["score"] = found[0]["label"], found[0]["score"]
    return row


def _tensor(one: dict[str, Any]) -> dict[str, Any]:
    if "data" not in one:
        return {**one, "shape": list(one["shape"])}
    data, datatype = list(one["data"]), one["datatype"]
    if "INT" in datatype:
        column = "integers"
        if datatype == "UINT64" and max(data, default=0) > LARGEST_LONG:
            column, data = "texts", [str(number) for number in data]
    else:
        column = _DATA.get(datatype, "numbers")
    return {"name": one["name"], "datatype": datatype, "shape": list(one["shape"]), column: data}


def body_of(row: Row) -> Body:
    """The body from which `row_of` made a row; an embedding becomes a list.

    Raises:
        ContractError: a tensor has data of two kinds.
        KeyError, TypeError, ValueError: this is no such row.
    """
    # In Protobuf, empty arrays are absent. The task says which array belongs here.
    body = {name: value for name, value in row.items() if value is not None}
    lists = {"classify": "top", "detect": "detections", "embed": "embedding", "raw": "outputs"}
    if (name := lists.get(body["task"])) is not None:
        body.setdefault(name, [])
    if body["task"] == "raw":
        body["outputs"] = [_output(one) for one in body["outputs"]]
    return body


def _output(one: dict[str, Any]) -> dict[str, Any]:
    kinds = [name for name in ("numbers", "integers", "booleans", "texts") if one.get(name)]
    told = {name: one[name] for name in ("name", "datatype", "shape")}
    if held := {
        name: one[name] for name in ("data_base64", "png_base64") if one.get(name) is not None
    }:
        return {**told, **held}
    if len(kinds) > 1:
        raise ContractError(f"a tensor with both {kinds[0]} and {kinds[1]}")
    data = one[kinds[0]] if kinds else []
    if one["datatype"] == "UINT64" and kinds == ["texts"]:
        if any(len(text) > len(str(LARGEST_LONG)) + 1 for text in data):
            raise ContractError("a UINT64 of too many digits")
        data = [int(text) for text in data]
    return {**told, "data": data}
