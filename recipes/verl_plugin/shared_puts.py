"""Batches messages to verl's data plane: calls made while a message is being sent share the next one.

verl's rollout worker sends separate messages for each rollout and each change of a prompt's status. Each costs several
milliseconds of the single thread that all rollouts of a worker share, and more at the receivers: with a small model as
much as generation. See docs/performance.md.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tensordict import TensorDict
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

Fields = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class _Put:
    """A call waiting to be sent."""

    keys: list[str]
    fields: Fields | None
    tags: list[dict[str, Any]]
    partition_id: str
    done: asyncio.Future[None]

    @property
    def kind(self) -> tuple[Any, ...]:
        """Calls of the same kind can share a message."""
        columns = None if self.fields is None else tuple(self.fields[0])
        return self.partition_id, columns


class SharedPuts:
    """The module `transfer_queue` for one event loop, with puts that share messages; everything else is unchanged.

    As in the module, a call returns once its rows are stored, and raises what storing them raised. The order of
    sequentially awaited calls is kept.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        self._waiting: list[_Put] = []
        self._sending: asyncio.Task[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    async def async_kv_put(self, *, key: str, partition_id: str, tag: dict[str, Any]) -> None:
        """Set the tag of one key."""
        await self._share([key], None, [tag], partition_id)

    async def async_kv_batch_put(
        self, *, keys: list[str], fields: Fields, tags: list[dict[str, Any]], partition_id: str
    ) -> None:
        """Store rows. `fields` are the result of `as_they_are`."""
        await self._share(keys, fields, tags, partition_id)

    async def _share(
        self, keys: list[str], fields: Fields | None, tags: list[dict[str, Any]], partition_id: str
    ) -> None:
        put = _Put(keys, fields, tags, partition_id, asyncio.get_running_loop().create_future())
        self._waiting.append(put)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        await put.done

    async def _send(self) -> None:
        while self._waiting:
            kind = self._waiting[0].kind
            together = [put for put in self._waiting if put.kind == kind]
            self._waiting = [put for put in self._waiting if put.kind != kind]
            error = await self._store(together)
            for put in together:
                # One row that cannot be stored must not fail the others.
                its_own = await self._store([put]) if error and len(together) > 1 else error
                if put.done.cancelled():
                    continue
                if its_own is None:
                    put.done.set_result(None)
                else:
                    put.done.set_exception(its_own)

    async def _store(self, together: list[_Put]) -> Exception | None:
        """Send one message for all of them; returns the exception it raised, if any."""
        fields: TensorDict | None = None
        try:
            if together[0].fields is not None:
                fields = list_of_dict_to_tensordict([row for put in together for row in put.fields or ()])
            await self._module.async_kv_batch_put(
                keys=[key for put in together for key in put.keys],
                fields=fields,
                tags=[tag for put in together for tag in put.tags],
                partition_id=together[0].partition_id,
            )
        except Exception as error:
            return error
        return None


def as_they_are(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replaces verl's `list_of_dict_to_tensordict` in the worker: rows become one TensorDict only when sent."""
    return rows


def share_puts(worker_module: Any) -> None:
    """Make verl's rollout-worker module use `SharedPuts` in this process."""
    if not isinstance(worker_module.tq, SharedPuts):
        worker_module.tq = SharedPuts(worker_module.tq)
        worker_module.list_of_dict_to_tensordict = as_they_are
