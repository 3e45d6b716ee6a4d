"""Whether a data set holds problems with a verifier or answers with feedback."""

from collections.abc import Mapping
from pathlib import Path

from data_prep.preference.local import looks_like_answers
from data_prep.preference.schema import is_preference_file
from recipes.common.errors import ExperimentError
from recipes.data.composed import peeked
from recipes.settings.alignment import DataKind
from recipes.settings.data_sets import sets_of
from recipes.settings.tasks import TASKS


def kind_of_rows(data: str, columns: Mapping[str, str]) -> DataKind:
    """The kind of rows in tasks, files, folders or hub data sets, by their columns.

    Raises:
        ExperimentError: if a data set is unavailable, or both kinds are mixed.
    """
    try:
        kinds = {where: _kind(where, columns) for where in sets_of(data)}
    except ValueError as error:
        raise ExperimentError(str(error)) from None
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{where} holds {kind}" for where, kind in kinds.items())
        raise ExperimentError(f"--data {data}: {told}; a mixture must be of one kind")
    return next(iter(kinds.values()))


def _kind(where: str, columns: Mapping[str, str]) -> DataKind:
    if where in TASKS:
        return TASKS[where].kind
    place = peeked(where)
    if isinstance(place, Path) and not place.is_file():
        return "problems"
    found = is_preference_file(place) if Path(where).is_dir() and isinstance(place, Path) else None
    return "answers" if (looks_like_answers(place, columns) if found is None else found) else "problems"
