"""The tasks of --data: their lengths, prompt styles and sources."""

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
    """Maximum prompt length; longer prompts are skipped with a warning, never truncated."""

    max_hint_length: int
    """Maximum hint length; a longer hint loses entire steps."""

    max_response_length: int
    """Maximum number of generated tokens, excluding the hint."""

    prompt_styles: tuple[str, ...]
    """Values of --prompt_style whose answers its reward can parse."""

    only_for_evaluation: str = ""
    """Why it must not be trained on; empty if it may be."""

    kind: DataKind = "problems"
    """Kind of its rows."""

    evaluated_on: str = ""
    """For answers: the task whose verifier evaluates the trained model."""

    from_hub: bool = False
    """Its data come from the Hub (or a local copy, --data_path), not from a generator."""

    needs_copy: str = ""
    """Why a local copy is needed and where to get it; empty if the Hub has it."""


def validated_on(data: str, stages: tuple[str, ...]) -> str | None:
    """The problems used to validate training on these data; None for answers without a verifier."""
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
            title="every state on the way from a start by inputs; depth and competence are knobs",
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
            needs_copy="is on no data hub and has no redistribution licence: git clone https://github.com/Xdao85/VNHSGE",
        ),
        Task(
            name="general_knowledge",
            title="open questions of general knowledge",
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
