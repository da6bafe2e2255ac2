"""Units of work on a Ray cluster: an actor a core that loads once, answers in order.

The driver (the process of the command) reads the units, hands them to the actors in turn, a bounded number
ahead of the answers, and keeps the order. Ray starts an actor that died again, on another machine if its own
is gone, and gives it its units again.
"""

from __future__ import annotations

import importlib
import itertools
import pickle  # what is unpickled was pickled by the driver or a worker of the same job
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sympress.cluster_connect import connected, node_died, node_socket, refuses
from sympress.errors import SympressError

#: Units an actor that may be without an answer.
AHEAD = 3
#: How often a unit is given to an actor again after the actor died of it, or beside it.
RETRIES = 3
#: How often is looked whether our own node is alive, while an answer is waited for.
_LOOK_SECONDS = 1.0
_DIED = (
    "the Ray node of this command died (its raylet ended, or its connection did); see Ray's logs, then run "
    "the same command again"
)

Unit = TypeVar("Unit")
Answer = TypeVar("Answer")
#: Called once in each worker; returns what answers units there. It is pickled.
Load = Callable[[], Callable[[Unit], Answer]]
#: Answers units, in their order, each with the unit that it belongs to.
AnswerAll = Callable[[Iterator[Unit]], Iterator[tuple[Unit, Answer]]]


@contextmanager
def open_here(load: Load[Unit, Answer]) -> Iterator[AnswerAll[Unit, Answer]]:
    """Yield what answers units in this process."""
    answer = load()
    yield lambda units: ((unit, answer(unit)) for unit in units)


@contextmanager
def open_cluster(load: Load[Unit, Answer], address: str) -> Iterator[AnswerAll[Unit, Answer]]:
    """Yield what answers units on every core of the Ray cluster at `address`; `local` starts one here.

    The answers raise `SympressError` if the cluster fails again and again, or our node of it dies.

    Raises:
        InputError: no cluster answers there.
        MissingExtraError: a part of the extra `ray` is not installed.
    """
    with connected(address) as ray:
        yield lambda units: _in_order(ray, load, units)


def _in_order(ray: Any, load: Load[Unit, Answer], units: Iterator[Unit]) -> Iterator[tuple[Unit, Answer]]:
    """Hand the units to the actors in turn and take their answers, a bounded number behind."""
    # In a list Ray leaves a reference one. It is kept here, for workers that start again.
    loaded = [ray.put(load)]
    workers, socket = _start(ray, loaded), node_socket(ray)
    waiting: deque[tuple[Unit, Any]] = deque()
    for unit, worker in zip(units, itertools.cycle(workers)):
        waiting.append((unit, worker.answer.remote(pickle.dumps(unit))))
        if len(waiting) >= AHEAD * len(workers):
            first, reference = waiting.popleft()
            yield first, _take(ray, reference, socket)
    for first, reference in waiting:
        yield first, _take(ray, reference, socket)


def _start(ray: Any, loaded: list[Any]) -> list[Any]:
    """Start a worker for each core, on the node that has it; if that is gone, it starts again elsewhere."""
    on_node = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    kind = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=RETRIES)(Worker)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return [
        kind.options(scheduling_strategy=on_node(node["NodeID"], soft=True)).remote(loaded)
        for node in nodes
        for _ in range(int(node["Resources"].get("CPU", 0)))
    ] or [kind.remote(loaded)]


def _take(ray: Any, reference: Any, socket: str) -> Any:
    """Wait for an answer, and look meanwhile whether our own node is alive.

    Raises:
        SympressError: there is none, although Ray tried again, or the node of this process died.
    """
    while True:
        try:
            return pickle.loads(ray.get(reference, timeout=_LOOK_SECONDS))  # noqa: S301
        except ray.exceptions.GetTimeoutError:
            if refuses(socket):
                raise SympressError(_DIED) from None
        except (ray.exceptions.RayError, ConnectionError) as error:
            if node_died(ray):  # what is asked of Ray now ends this process without a word
                raise SympressError(_DIED) from error
            raise SympressError(
                f"the Ray cluster failed ({type(error).__name__}); see its logs, "
                "then run the same command again"
            ) from error


class Worker:
    """Answers units in a process of the cluster, which need not share a disk with the driver."""

    def __init__(self, load: list[Any]) -> None:
        ray: Any = importlib.import_module("ray")
        self._answer = ray.get(load[0])()

    def answer(self, unit: bytes) -> bytes:
        """Answer one unit, both pickled.

        Raises:
            RuntimeError: named after what went wrong; Ray logs it, and its own words could hold a note's.
        """
        try:
            return pickle.dumps(self._answer(pickle.loads(unit)))  # noqa: S301
        except Exception as error:
            raise RuntimeError(type(error).__name__) from None
