"""The study of every task."""

from __future__ import annotations

from typing import Any

from sympress.labels.task import task_of
from sympress.studies.mentions import MentionsTask
from sympress.studies.rows import NoteTask
from sympress.studies.task import StudyTask


def study_of(task: str) -> type[StudyTask[Any]]:
    """What studies the task called `task`.

    Raises:
        InputError: there is no such task.
    """
    return MentionsTask if task_of(task).finds_spans else NoteTask
