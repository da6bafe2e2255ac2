"""Every task that a study can have."""

from __future__ import annotations

from typing import Any

from sympress.studies.mentions import MentionsTask
from sympress.studies.rows import NoteTask
from sympress.studies.task import StudyTask

TASKS: dict[str, type[StudyTask[Any]]] = {
    "topic": NoteTask,
    "present": NoteTask,
    "mentions": MentionsTask,
}
