"""Answers that should earn nothing, and that no scorer should trip over. They are harmless if executed: they create a
file in a temporary folder, or look up a name that does not exist."""

from __future__ import annotations

from reward_fns.audit.names import CANARY


def executable(path: str) -> list[str]:
    """Answers that create the file `path` if evaluated as Python, in a shell, or by an object loader.

    In many forms, because scorers clean up answers before they look at them, split them at commas, read _ as a base.
    """
    touch = f'__import__("pathlib").Path("{path}").touch()'
    write = f'open("{path}","w").close()'
    return [
        *(f"{before}{code}{after}" for code in (touch, write) for before, after in _AROUND),
        f"exec(\"open('{path}','w')\")",
        f"{CANARY}(1)",
        f"print({touch})",
        f'__import__("socket").getaddrinfo("{CANARY}.invalid",9)',
        f"$(touch {path})",
        f"`touch {path}`; touch {path}",
        f"!!python/object/apply:os.system ['touch {path}']",
    ]


_AROUND = (("", ""), ("[", "]"), ("", "or\\pi"), ("Matrix([", "])"), ("2*", ""), ("(lambda:", ")()"))

ENDLESS = {
    "a tower of powers": "9**9**9**9",
    "a tower of powers in LaTeX": "9^{9^{9^{9^{9}}}}",
    "a large factorial": "99999999!",
    "a long sum": "\\sum_{n=1}^{10^{12}} n^{n}",
    "a large binomial": "\\binom{999999999}{499999999}",
    "a product to expand": "(x+y+z+1)^{99999}",
    "a long number": "7" * 100_000,
    "many terms": "1+" * 50_000 + "1",
    "deep brackets": "(" * 20_000 + "1" + ")" * 20_000,
    "open brackets": "(" * 20_000,
    "deep fractions": "\\frac{" * 5_000,
    "deep roots": "\\sqrt{" * 3_000 + "2" + "}" * 3_000,
    "many boxes": "\\boxed{" * 5_000,
    "many tags": "<answer>" * 2_000,
    "one letter": "a" * 200_000,
    "blanks": " " * 200_000 + "x",
    "one word again and again": "knight " * 50_000,
    # Patterns such as (a+)+$ backtrack over all splits of a text that matches up to its last character.
    "letters that end otherwise": "a" * 900 + "!",
    "words that end otherwise": "so " * 300 + "!",
    "digits that end otherwise": "1" * 900 + "!",
    "brackets that end otherwise": "(" * 900 + "!",
}

BLANKS = ("", " ", "\n", "\n\n \t\n")


def respaced(text: str) -> list[str]:
    """The response with other whitespace around it, which should make no difference."""
    return [text + "\n", text + " \n\n", f"  {text}", f"\n{text}\t", text.replace("\n", "\r\n")]
