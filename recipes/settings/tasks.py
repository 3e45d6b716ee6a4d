"""The tasks behind --data: lengths of their texts and where their files come from."""

from dataclasses import dataclass

from data_prep.prompt_styles import STYLES
from recipes.settings.alignment import DataKind


@dataclass(frozen=True)
class Task:
    """One task. Lengths are in tokens of a Qwen2.5-like tokenizer, as in the UFT paper (table 1)."""

    name: str
    """Value of --data."""

    title: str
    """One line for tables."""

    max_prompt_length: int
    """Longest prompt; longer ones are reported and skipped, never truncated."""

    max_hint_length: int
    """Longest hint; longer ones lose complete steps."""

    max_response_length: int
    """Maximum number of generated tokens, excluding the hint."""

    prompt_styles: tuple[str, ...]
    """Values of --prompt_style whose answers its reward can read."""

    only_for_evaluation: str = ""
    """Why training on it is refused; empty if it is allowed."""

    kind: DataKind = "problems"
    """Kind of its rows."""

    evaluated_on: str = ""
    """For answers: the task whose verifier scores the trained model's own answers."""

    from_hub: bool = False
    """Its data come from the Hub (or a local copy, --data_path), not from a generator."""

    needs_copy: str = ""
    """Why a local copy is required and where to get it; empty if the hub has it."""


def validated_on(data: str, stages: tuple[str, ...]) -> str | None:
    """The problems on which training on these data is validated; None for answers without a verifier."""
    if stages != ("alignment",):
        return data
    task = TASKS.get(data)
    return (task.evaluated_on or None) if task else None


_TAGS = ("completion", "chat", "r1")

TASKS = {
    task.name: task
    for task in (
        Task(
            name="countdown",
            title="reach a target from 3-4 numbers with + - * /",
            max_prompt_length=256,
            max_hint_length=256,
            max_response_length=1024,
            prompt_styles=_TAGS,
        ),
        Task(
            name="kk_logic",
            title="who is a knight and who is a knave, 3-7 people",
            max_prompt_length=1024,
            max_hint_length=1024,
            max_response_length=1024,
            prompt_styles=_TAGS,
        ),
        Task(
            name="chain",
            title="list every state from a start through inputs; depth and competence are adjustable",
            max_prompt_length=512,
            max_hint_length=512,
            max_response_length=512,
            prompt_styles=_TAGS,
        ),
        Task(
            name="math",
            title="MATH, levels 3-5",
            max_prompt_length=1024,
            max_hint_length=1024,
            max_response_length=1024,
            prompt_styles=(*_TAGS, "qwen_math", "none"),
            from_hub=True,
        ),
        Task(
            name="others",
            title="AIME24/25, AMC, MATH-500, Minerva, OlympiadBench, GSM8K",
            max_prompt_length=1024,
            max_hint_length=1024,
            max_response_length=3000,
            prompt_styles=(*_TAGS, "qwen_math", "none"),
            only_for_evaluation="its problems are the benchmarks that results are reported on",
            from_hub=True,
        ),
        Task(
            name="vnhsge",
            title="Vietnamese high-school graduation examination, multiple choice",
            max_prompt_length=2048,
            max_hint_length=1024,
            max_response_length=1024,
            prompt_styles=_TAGS,
            only_for_evaluation="it is the alignment framework's benchmark",
            from_hub=True,
            needs_copy="is on no data hub and has no licence to ship it: git clone https://github.com/Xdao85/VNHSGE",
        ),
        Task(
            name="general_knowledge",
            title="open-ended general-knowledge questions",
            max_prompt_length=1024,
            max_hint_length=1024,
            max_response_length=512,
            prompt_styles=_TAGS,
            only_for_evaluation="it is the alignment framework's benchmark",
            from_hub=True,
        ),
        Task(
            name="countdown_preference",
            title="synthetic: countdown answers with their true score, and instructions",
            max_prompt_length=256,
            max_hint_length=256,
            max_response_length=1024,
            prompt_styles=_TAGS,
            kind="answers",
            evaluated_on="countdown",
        ),
        Task(
            name="helpsteer2",
            title="HelpSteer2: two answers per prompt, rated by people",
            max_prompt_length=1024,
            max_hint_length=1024,
            max_response_length=1024,
            prompt_styles=tuple(STYLES),
            kind="answers",
            from_hub=True,
        ),
        Task(
            name="ultrafeedback",
            title="UltraFeedback: a chosen and a rejected answer per prompt, scored",
            max_prompt_length=1024,
            max_hint_length=1024,
            max_response_length=1024,
            prompt_styles=tuple(STYLES),
            kind="answers",
            from_hub=True,
        ),
        Task(
            name="ultrachat",
            title="UltraChat: conversations as instructions, turns unfolded",
            max_prompt_length=1024,
            max_hint_length=1024,
            max_response_length=1024,
            prompt_styles=tuple(STYLES),
            kind="answers",
            from_hub=True,
        ),
    )
}
