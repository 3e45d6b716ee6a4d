"""Puts that share messages: rows arrive as they would alone, a bad one harms no other, and verl puts as we expect."""

import asyncio
import inspect
import re
from typing import Any

import pytest
import torch
import transfer_queue
from hypothesis import given
from hypothesis import strategies as st
from verl.trainer.ppo.v1 import agent_loop_tq

from recipes.verl_plugin.shared_puts import SharedPuts

pytestmark = pytest.mark.contract


class Storage:
    """Stands for the module transfer_queue: keeps rows, counts messages, refuses the key "bad"."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.tags: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.messages: list[list[str]] = []

    async def async_kv_batch_put(self, *, keys: list[str], fields: Any, tags: list[Any], partition_id: str) -> None:
        await asyncio.sleep(0.001)
        if "bad" in keys:
            raise RuntimeError("cannot be stored")
        assert len(keys) == len(tags)
        assert fields is None or fields.batch_size[0] == len(keys)
        self.messages.append(keys)
        for number, (key, tag) in enumerate(zip(keys, tags, strict=True)):
            self.tags.setdefault((partition_id, key), []).append(tag)
            if fields is not None:
                self.rows[partition_id, key] = {
                    "responses": fields["responses"][number].tolist(),
                    "reward": fields["reward"][number],
                }


async def prompt(puts: SharedPuts, partition: str, uid: str, lengths: list[int]) -> None:
    """As verl's worker does: a status, a rollout a session, a status."""
    await puts.async_kv_put(key=uid, partition_id=partition, tag={"status": "running"})

    async def rollout(session: int, length: int) -> None:
        fields = {"responses": torch.arange(length) + 100 * session, "reward": {"score": length}}
        await puts.async_kv_batch_put(
            keys=[f"{uid}_{session}"], fields=[fields], tags=[{"length": length}], partition_id=partition
        )

    await asyncio.gather(*(rollout(session, length) for session, length in enumerate(lengths)))
    await puts.async_kv_put(key=uid, partition_id=partition, tag={"status": "finished"})


prompts = st.lists(st.tuples(st.sampled_from(["train", "val"]), st.lists(st.integers(1, 5), min_size=1)), max_size=6)


@given(prompts)
def test_every_row_and_status_arrives_in_its_order(drawn: list[tuple[str, list[int]]]) -> None:
    storage = Storage()

    async def all_prompts() -> None:
        puts = SharedPuts(storage)
        await asyncio.gather(
            *(prompt(puts, partition, str(uid), lengths) for uid, (partition, lengths) in enumerate(drawn))
        )

    asyncio.run(all_prompts())
    expected = {
        (partition, f"{uid}_{session}"): {
            "responses": [100 * session + i for i in range(length)],
            "reward": {"score": length},
        }
        for uid, (partition, lengths) in enumerate(drawn)
        for session, length in enumerate(lengths)
    }
    assert storage.rows == expected
    for uid, (partition, _) in enumerate(drawn):
        assert storage.tags[partition, str(uid)] == [{"status": "running"}, {"status": "finished"}]


def test_what_waits_goes_together() -> None:
    storage = Storage()

    async def all_prompts() -> None:
        puts = SharedPuts(storage)
        await asyncio.gather(*(prompt(puts, "train", str(uid), [2, 3]) for uid in range(32)))

    asyncio.run(all_prompts())
    assert len(storage.rows) == 64
    assert len(storage.messages) <= 6  # of 128 calls


def test_a_row_that_cannot_be_stored_harms_no_other() -> None:
    storage, row = Storage(), {"responses": torch.ones(2), "reward": {}}

    async def some() -> list[Any]:
        puts = SharedPuts(storage)
        calls = (
            puts.async_kv_batch_put(keys=[key], fields=[row], tags=[{}], partition_id="train")
            for key in ("a", "bad", "b")
        )
        return await asyncio.gather(*calls, return_exceptions=True)

    a, bad, b = asyncio.run(some())
    assert (a, b) == (None, None)
    assert isinstance(bad, RuntimeError)
    assert sorted(key for _, key in storage.rows) == ["a", "b"]


def test_a_caller_that_gives_up_holds_up_nobody() -> None:
    storage = Storage()

    async def some() -> None:
        puts = SharedPuts(storage)
        calls = [
            asyncio.create_task(puts.async_kv_put(key=key, partition_id="train", tag={})) for key in ("a", "b", "c")
        ]
        await asyncio.sleep(0)
        calls[0].cancel()
        await asyncio.wait_for(asyncio.gather(*calls[1:]), 5)

    asyncio.run(some())
    assert {key for _, key in storage.tags} >= {"b", "c"}


def test_verls_worker_puts_in_the_ways_we_share() -> None:
    source = inspect.getsource(agent_loop_tq)
    assert set(re.findall(r"\btq\.(\w+)", source)) == {"init", "async_kv_put", "async_kv_batch_put"}
    for call in re.findall(r"tq\.async_kv_put\((.*)\)", source):
        assert re.findall(r"(\w+)=", call) == ["key", "partition_id", "tag"], "fix shared_puts.py"
    assert "fields=list_of_dict_to_tensordict(fields)," in source, "fix shared_puts.py"
    assert source.count("list_of_dict_to_tensordict") == 2  # its import is the other
    assert agent_loop_tq.tq is transfer_queue
    named = inspect.signature(transfer_queue.async_kv_batch_put).parameters
    assert {"keys", "partition_id", "fields", "tags"} <= set(named)
    assert named["fields"].default is None
