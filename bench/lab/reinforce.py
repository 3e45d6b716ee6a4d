"""The reinforcement stage, as recipes/verl_plugin/trainer.py with one update per batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from omegaconf import OmegaConf
from torchdata.stateful_dataloader.sampler import RandomSampler

from bench.lab.imitate import solution_tokens
from bench.lab.losses import Scored, loss_of, score
from bench.lab.model import Parameters
from bench.lab.optimise import DECAY, descend
from bench.lab.rollouts import Lab, Rollout, Start, roll, start_of
from bench.lab.validate import validate
from data_prep.schema import solution_of
from recipes.algorithms.base import Bare, Group, Plan
from recipes.algorithms.hints.cut import memory_key
from recipes.algorithms.hints.schedule import sampling_seed
from recipes.common.records import Records
from recipes.common.run_dir import RunDir
from recipes.settings.hook_settings import hook_settings
from recipes.verl_plugin.agent_loop import plan_batch, prompt_key
from recipes.verl_plugin.config_sections import uft_section
from recipes.verl_plugin.memory import recalled, update
from recipes.verl_plugin.metrics import hint_metrics, without_variance
from recipes.verl_plugin.weighing import plan_of

Row = Mapping[str, Any]


class Reinforcement:
    """The reinforcement stage, as recipes/verl_plugin/trainer.py with one update per batch."""

    def __init__(self, lab: Lab, weights: Parameters, folder: RunDir) -> None:
        self.lab, self.weights, self.folder = lab, weights, folder
        e = lab.experiment
        self.settings = OmegaConf.create(uft_section(e, folder))
        self.s = SimpleNamespace(**hook_settings(e))
        self.reference = {name: value.detach().clone() for name, value in weights.items()}
        self.optimiser = torch.optim.AdamW(weights.values(), lr=e.lr, weight_decay=DECAY)
        self.memory = recalled(None)
        self.records = Records(folder.path, e.T)
        self.trained = self.generated = 0

    def train(self, train: Sequence[Row], test: Sequence[Row]) -> None:
        """All steps, with validations."""
        e = self.lab.experiment
        self.records.log(0, validate(self.lab, self.weights, test, 0, self.folder))
        for step, batch in zip(range(1, e.T + 1), batches(train, e.batch_size, e.seed), strict=False):
            metrics = self.step(step, batch, train)
            if step % e.test_freq == 0 or step == e.T:
                metrics |= validate(self.lab, self.weights, test, step, self.folder)
            self.records.log(step, metrics)

    def step(self, step: int, batch: Sequence[Row], train: Sequence[Row]) -> dict[str, float]:
        """One step on a batch of problems; its metrics."""
        e = self.lab.experiment
        planned = plan_batch(
            [_as_planned(row) for row in batch], settings=self.settings, step=step, validate=False, memory=self.memory
        )
        rollouts = self._rollouts(batch, planned, step)
        flat = [each for group in rollouts for each in group]
        prompts, responses = [each.start.prompt for each in flat], [each.response for each in flat]
        scored = score(self.weights, self.lab.shape, prompts, responses)
        ref = None
        if e.kl_coef or "reference" in e.algorithm.needs:
            with torch.no_grad():
                ref = score(self.reference, self.lab.shape, prompts, responses).log_probs
        groups = self._groups(batch, planned, rollouts, scored, ref, step)
        weighed = [] if e.algorithm.loss is not None else [e.algorithm.weigh(group, self.s) for group in groups]
        loss = loss_of(e, self.s, groups, weighed, scored, ref)
        descend(self.optimiser, self.weights, loss)
        self.generated += sum(len(each.generated) for each in flat)
        self.trained += sum(map(len, responses))
        due = update(self.memory, e.algorithm, groups, self.s)
        metrics = self._metrics(rollouts, planned) | {"actor/loss": float(loss.detach())}
        return metrics | (self._learn(due, train) if due else {})

    def _rollouts(self, batch: Sequence[Row], planned: Sequence[Any], step: int) -> list[list[Rollout]]:
        e = self.lab.experiment
        n = e.n_rollout + e.algorithm.demonstrations
        rows, starts = [], []
        for row, each in zip(batch, planned, strict=True):
            made = [start_of(self.lab, row, plan) for plan in each["plans"]]
            starts += made if len(made) == n else made * n
            rows += [row] * n
        # A stream a step: as repeatable as the real loop's, which has one a rollout.
        seed = sampling_seed(e.seed, step, "lab", 0)
        found = roll(self.lab, self.weights, rows, starts, temperature=1.0, seed=seed)
        return [found[at : at + n] for at in range(0, len(found), n)]

    def _groups(
        self,
        batch: Sequence[Row],
        planned: Sequence[Any],
        rollouts: Sequence[Sequence[Rollout]],
        scored: Scored,
        ref: torch.Tensor | None,
        step: int,
    ) -> list[Group]:
        groups, at = [], 0
        for row, plan, each in zip(batch, planned, rollouts, strict=True):
            n, width = len(each), max(len(one.response) for one in each)
            mine = slice(at, at + n)
            at += n
            given, demo, length = (
                torch.tensor(values).unsqueeze(-1)
                for values in (
                    [0 if one.start.whole else len(one.start.given) for one in each],
                    [len(one.start.given) if one.start.whole else 0 for one in each],
                    [len(one.response) for one in each],
                )
            )
            place = torch.arange(width)
            plans = plan["plans"] if len(plan["plans"]) == n else plan["plans"] * n
            groups.append(
                Group(
                    scores=torch.tensor([float(one.verdict["score"]) for one in each]),
                    ok=torch.ones(n, dtype=torch.bool),
                    plans=tuple(_plan(p, one.start) for p, one in zip(plans, each, strict=True)),
                    given=place < given,
                    gen=(place >= given + demo) & (place < length),
                    demo=place < demo,
                    old=scored.log_probs[mine, :width].detach(),
                    ref=None if ref is None else ref[mine, :width],
                    key=plan["prompt_key"],
                    step=step,
                    segments=plan["n_segments"],
                    entropy=scored.entropy[mine, :width].detach(),
                    hinted=any(one.start.hinted for one in each),
                    messages=list(row["prompt"]),
                    solution=solution_of(row),
                    texts=tuple(one.text for one in each),
                )
            )
        if self.lab.experiment.algorithm.context is not None:
            groups = [self._rescored(group, each) for group, each in zip(groups, rollouts, strict=True)]
        return groups

    def _rescored(self, group: Group, rollouts: Sequence[Rollout]) -> Group:
        """The group with its responses scored once more under the algorithm's context."""
        context = self.lab.experiment.algorithm.context
        assert context is not None
        asked = {}
        for place in range(len(rollouts)):
            messages = context(place, group, self.s)
            if messages is not None:
                asked[place] = self.lab.encode(messages)
        value = group.old.clone()
        if asked:
            with torch.no_grad():
                responses = [rollouts[place].response for place in asked]
                found = score(self.weights, self.lab.shape, list(asked.values()), responses).log_probs
            for place, row in zip(asked, found, strict=True):
                value[place, : found.shape[1]] = row
        return replace(group, rescored=value)

    def _learn(self, due: Sequence[str], train: Sequence[Row]) -> dict[str, float]:
        """One supervised update on the solutions that are due."""
        by_key = {memory_key(prompt_key(_as_planned(row))): row for row in train}
        pairs = [solution_tokens(self.lab, by_key[key]) for key in due if by_key[key]["answer"]]
        if not pairs:
            return {"due/rows": 0.0}
        found = score(self.weights, self.lab.shape, [a for a, _ in pairs], [b for _, b in pairs]).log_probs
        count = sum(len(b) for _, b in pairs)
        loss = -found.sum() / count
        descend(self.optimiser, self.weights, loss)
        self.trained += count
        return {"due/rows": float(len(pairs)), "due/nll": float(loss.detach())}

    def _metrics(self, rollouts: Sequence[Sequence[Rollout]], planned: Sequence[Any]) -> dict[str, float]:
        records: list[dict[str, Any]] = []
        scores: list[float | None] = []
        keys: list[str] = []
        for place, (each, plan) in enumerate(zip(rollouts, planned, strict=True)):
            plans = plan["plans"] if len(plan["plans"]) == len(each) else plan["plans"] * len(each)
            for session, (one, p) in enumerate(zip(each, plans, strict=True)):
                if one.start.whole:
                    continue
                records.append(
                    {
                        "length": p["length"],
                        "n_segments": plan["n_segments"],
                        "hint_tokens": len(one.start.given),
                        "gen_tokens": len(one.generated),
                        "truncated": len(one.generated) >= self.lab.experiment.max_response_length,
                    }
                )
                scores.append(float(one.verdict["score"]))
                keys.append(f"{place}_{session}_0")
        return hint_metrics(records, scores) | {
            "critic/score/mean": sum(filter(None, scores)) / len(scores),
            "uft/groups_without_variance": without_variance(keys, scores),
            "lab/generated": float(self.generated),
            "lab/trained": float(self.trained),
        }


def batches(rows: Sequence[Row], size: int, seed: int) -> Iterator[list[Row]]:
    """The rows in the order in which verl's sampler has them, epoch after epoch."""
    sampler = RandomSampler(rows, generator=torch.Generator().manual_seed(seed))
    while True:
        order = list(sampler)
        for at in range(0, len(rows) - size + 1, size):
            yield [rows[place] for place in order[at : at + size]]


def _plan(record: Mapping[str, Any], start: Start) -> Plan:
    """What a row started from; a demonstration that does not fit is a rollout from the bare prompt."""
    left_out = record.get("demonstration") and not start.whole
    return Bare() if left_out else plan_of({**record, "in_prompt": "wrap" in record})


def _as_planned(row: Row) -> dict[str, Any]:
    return {"raw_prompt": list(row["prompt"]), "extra_info": row["extra_info"], "hint": list(row["hint"])}
