"""verl's reward managers with the decoding of data_prep/tokens.py: their own drops all tokens marked as special, which
may be answer tags. Looked up by verl's names, so reward.reward_manager.name=dapo also works."""

from functools import cache
from typing import Any

from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls

from data_prep.tokens import decode_response


class WholeText:
    """A tokenizer whose `decode` keeps answer tags."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def decode(self, ids: Any, **_: Any) -> str:
        """The text of a response, from its token ids."""
        return decode_response(self._tokenizer, ids)


@cache
def manager(name: str) -> type[Any]:
    """verl's manager of that name with our decoding. Raises ValueError for a name unknown to verl."""
    base: Any = get_reward_manager_cls(name)

    class Manager(base):
        """Only the tokenizer differs."""

        def __init__(self, config: Any, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(config, WholeText(tokenizer), *args, **kwargs)

    return Manager


def __getattr__(name: str) -> Any:
    try:
        return manager(name)
    except ValueError as error:
        raise AttributeError(str(error)) from None
