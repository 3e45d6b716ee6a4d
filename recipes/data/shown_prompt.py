"""Renders a prompt as the model gets it, with its chat template and special tokens, for people to read."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.tokens import plain_template
from recipes.data.stored_template import stored_template
from recipes.data.stored_tokenizer import StoredTokenizer, stored_tokenizer


def shown_prompt(model: str, messages: Sequence[Mapping[str, Any]], *, chat: bool) -> str:
    """The text of the prompt up to where the answer begins.

    Args:
        chat: use the model's chat template, or placeholders if it is not local or cannot be rendered here; else plain
            text.
    """
    plain = "".join(message["content"] for message in messages)
    tokenizer = stored_tokenizer(model, fetch=False)
    template = stored_template(model) if chat else None if tokenizer is None else plain_template(tokenizer)
    rendered = _rendered(template, messages, tokenizer) if template else None
    if rendered is not None:
        return rendered
    return f"<the model's chat template>{plain}<the assistant's turn>" if chat else plain


def _rendered(template: str, messages: Sequence[Mapping[str, Any]], tokenizer: StoredTokenizer | None) -> str | None:
    """Render as transformers does; None if the template needs variables that are not given here."""
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    around = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    around.globals["raise_exception"] = refuse
    named = {} if tokenizer is None else {name: _text(tokenizer, name) for name in ("bos_token", "eos_token")}
    try:
        return around.from_string(template).render(
            messages=messages, add_generation_prompt=True, tools=None, documents=None, **named
        )
    except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None


def _text(tokenizer: StoredTokenizer, name: str) -> Any:
    number = getattr(tokenizer, f"{name}_id")
    return "" if number is None else tokenizer.decode([number])
