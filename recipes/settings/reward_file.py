"""--reward: a known name, or a function in a user's file, which is parsed here but not imported."""

import ast
from pathlib import Path

from recipes.common.errors import ExperimentError, nearest
from reward_fns import RANDOM, REWARDS

_NO_FUNCTION = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.JoinedStr, ast.ListComp, ast.DictComp)


def resolved_reward(reward: str) -> str:
    """A reward's name unchanged; a user's file by its full path, because workers run in other folders.

    Raises:
        ExperimentError: for an unknown name, or a function that is missing or takes other arguments.
    """
    file, colon, function = reward.rpartition(".py:")
    if not colon:
        known = (*REWARDS, RANDOM)
        if reward.endswith(".py") and Path(reward).is_file():
            defined = _names_in(Path(reward)).items()
            named = ", ".join(f"{reward}:{name}" for name, node in defined if _is_function(node) and not _unfit(node))
            what = f"give {named}" if named else "the file defines no suitable one"
            raise ExperimentError(f"--reward {reward}: names a file but no function in it; {what}")
        if reward not in known:
            raise ExperimentError(
                f"--reward {reward}: unknown{nearest(reward, known)} Known: {', '.join(known)}, or "
                f"path/to/file.py:function (docs/custom_data.md)."
            )
        return reward
    path = Path(f"{file}.py")
    if not path.is_file():
        raise ExperimentError(f"--reward {reward}: no file {path}")
    names = _names_in(path)
    if function not in names:
        raise ExperimentError(f"--reward {reward}: {path} has no function {function!r}{nearest(function, names)}")
    if why := _unfit(names[function]):
        raise ExperimentError(f"--reward {reward}: {function} {why}; it must be a function of (response, answer)")
    return f"{path.resolve()}:{function}"


def _names_in(path: Path) -> dict[str, ast.stmt]:
    """A file's module-level names, each with the last statement that binds it. The file is not imported: it may need
    packages that only workers have."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ExperimentError(f"--reward {path}, line {error.lineno}: cannot be read as Python: {error.msg}") from None
    except (ValueError, RecursionError, OSError) as error:
        raise ExperimentError(f"--reward {path}: not a Python file: {error}") from None
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {each.asname or each.name.partition(".")[0]: node for each in node.names}
        else:
            names = [each for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
            inner = [each for each in ast.walk(node) if isinstance(each, ast.FunctionDef)]
            found |= {each.id: node for each in names} | {each.name: node for each in inner}
    return found


def _of(function: ast.FunctionDef) -> list[ast.AST]:
    """All nodes of a function, without those of functions nested in it."""
    inner = [each for each in ast.walk(function) if isinstance(each, ast.FunctionDef | ast.Lambda) and each != function]
    others = {node for each in inner for node in ast.walk(each)}
    return [node for node in ast.walk(function) if node not in others]


def _is_function(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) or isinstance(getattr(node, "value", None), ast.Lambda)


def _unfit(node: ast.stmt) -> str:
    """Why a statement's value cannot be a reward, as far as its source shows; the first call shows the rest."""
    if isinstance(node, ast.AsyncFunctionDef):
        return "is async"
    if isinstance(node, ast.FunctionDef) and any(isinstance(each, ast.Yield | ast.YieldFrom) for each in _of(node)):
        return "is a generator"
    if isinstance(node, ast.ClassDef):
        return "is a class"
    if isinstance(node, ast.Import):
        return "is a module"
    if isinstance(node, ast.Assign | ast.AnnAssign) and (node.value is None or isinstance(node.value, _NO_FUNCTION)):
        return "is not a function"
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        a = node.args
        places = len(a.posonlyargs) + len(a.args)
        wanted = zip(a.kwonlyargs, a.kw_defaults, strict=True)
        named = any(default is None and word.arg != "question" for word, default in wanted)
        of_verl = {"solution_str", "ground_truth"} <= {word.arg for word in (*a.posonlyargs, *a.args, *a.kwonlyargs)}
        if of_verl:
            return ""  # the first call shows whether it needs arguments verl does not pass
        if named or places - len(a.defaults) > 3 or (places < 2 and not a.vararg):
            return f"takes ({ast.unparse(a)})"
    return ""
