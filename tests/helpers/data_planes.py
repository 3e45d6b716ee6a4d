"""verl's data plane, in memory."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensordict import TensorDict


def data_plane(
    monkeypatch: pytest.MonkeyPatch, module: Any, rows: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What `module` reads and writes are these rows."""

    def get(keys: list[str], partition_id: str, select_fields: list[str] | None = None) -> Any:
        if select_fields is None:
            return [rows[key] for key in keys]
        found: dict[str, Any] = {}
        for name in select_fields:
            values = [rows[key][name] for key in keys]
            nested = isinstance(values[0], torch.Tensor)
            found[name] = torch.nested.as_nested_tensor(values, layout=torch.jagged) if nested else values
        return found

    def put(keys: list[str], partition_id: str, fields: TensorDict | None = None, tags: Any = None) -> Any:
        written = {} if fields is None else dict(fields.items())
        for name, values in written.items():
            for key, value in zip(keys, values.unbind(), strict=True):
                rows[key][name] = value
        return SimpleNamespace(fields=["old ones", *written])

    monkeypatch.setattr(module.tq, "kv_batch_get", get)
    monkeypatch.setattr(module.tq, "kv_batch_put", put)
    return rows
