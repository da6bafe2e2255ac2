"""Units of work on a Ray cluster, by Ray Data: an actor a core that loads once, answers in order.

The driver (the process of the command) reads the units and keeps the order. It hands them, a bounded number
ahead of the answers, to a `Pipeline`, an actor in which Ray Data runs a stream over them::

    driver ──give──► Pipeline ··► read_units (one task) ──► Worker (actors, one a core) ──take──► driver

Ray Data starts a worker that died again and gives it the unit again, and so it does with the task that
reads. If the pipeline itself dies, the driver starts another one, with the units that have no answer yet. It
does not run in the driver because Ray Data cannot run behind a `ray://` address.
"""

from __future__ import annotations

import importlib
import pickle  # what is unpickled was pickled by the driver or a worker of the same job
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from sympress.cluster_connect import connected, node_died, node_socket, refuses
from sympress.errors import SympressError

#: Units an actor that may be without an answer. With fewer than 2 in all Ray Data would wait for more.
AHEAD = 3
#: How often in a row the pipeline is started again without an answer in between.
ATTEMPTS = 3
#: What the pipeline does at the same time: give, take, and the tasks that read, a killed one among them.
_THREADS = 16
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

    The answers raise `SympressError` if the cluster fails again and again.

    Raises:
        InputError: no cluster answers there.
        MissingExtraError: a part of the extra `ray` is not installed.
    """
    with connected(address) as ray:
        yield lambda units: _in_order(Line(ray, load), units)


def _in_order(line: Line[Unit, Answer], units: Iterator[Unit]) -> Iterator[tuple[Unit, Answer]]:
    """Hand the units in and take their answers out, a bounded number behind."""
    for unit in units:
        line.give(unit)
        if len(line.waiting) >= line.limit:
            yield line.take()
    line.end()
    while line.waiting:
        yield line.take()


class Line(Generic[Unit, Answer]):
    """The driver's end of a pipeline, and of the next one should that die.

    Attributes:
        waiting: units that were given and have no answer yet.
        limit: how many those may be.
    """

    def __init__(self, ray: Any, load: Load[Unit, Answer]) -> None:
        self._ray, self._load, self._socket = ray, load, node_socket(ray)
        self._actors = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.limit = AHEAD * self._actors + 2
        self.waiting: deque[Unit] = deque()
        self._ended = False
        self._start()

    def _start(self) -> None:
        """Start a pipeline and give it what waits."""
        kind = self._ray.remote(num_cpus=0, max_concurrency=_THREADS)(Pipeline)
        self._loaded = self._ray.put(self._load)
        self._pipeline = kind.remote([self._loaded], self._actors)  # in a list Ray leaves a reference one
        self._given = self._taken = 0
        for unit in self.waiting:
            self._send(pickle.dumps(unit))
        if self._ended:
            self._send(None)

    def _send(self, unit: bytes | None) -> None:
        self._pipeline.give.remote(self._given, unit)
        self._given += 1

    def give(self, unit: Unit) -> None:
        """Hand in the next unit."""
        self.waiting.append(unit)
        self._send(pickle.dumps(unit))

    def end(self) -> None:
        """Say that no unit follows."""
        self._ended = True
        self._send(None)

    def take(self) -> tuple[Unit, Answer]:
        """Wait for the answer to the first unit that waits.

        Raises:
            SympressError: there is none, although the pipeline was started again, or the node of this process
                died.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._wait(self._pipeline.take.remote(self._taken))
                break
            except (self._ray.exceptions.RayError, ConnectionError) as error:
                if node_died(self._ray):  # what is asked of Ray now ends this process without a word
                    raise SympressError(_DIED) from error
                if attempt == ATTEMPTS:
                    raise SympressError(
                        f"the Ray cluster failed {ATTEMPTS} times in a row ({type(error).__name__}); "
                        "see its logs, then run the same command again"
                    ) from error
                self._ray.kill(self._pipeline)
                self._start()
        self._taken += 1
        return self.waiting.popleft(), pickle.loads(answer)  # noqa: S301

    def _wait(self, reference: Any) -> bytes:
        """Wait for the pipeline's answer, and look meanwhile whether our own node is alive."""
        while True:
            try:
                answer: bytes = self._ray.get(reference, timeout=_LOOK_SECONDS)
            except self._ray.exceptions.GetTimeoutError:
                if refuses(self._socket):
                    raise SympressError(_DIED) from None
            else:
                return answer


class Pipeline:
    """Runs Ray Data in a process of the cluster, over units that come while it runs.

    Args:
        load: a reference to what each worker loads, in a list.
        actors: workers.
    """

    def __init__(self, load: list[Any], actors: int) -> None:
        self._load, self._actors = load, actors
        self._units: dict[int, bytes | None] = {}
        self._first = 0
        self._changed = threading.Condition()
        self._answers: Iterator[Any] | None = None

    def give(self, at: int, unit: bytes | None) -> None:
        """Take in unit `at`, pickled; None is the end."""
        with self._changed:
            self._units[at] = unit
            self._changed.notify_all()

    def unit(self, at: int) -> bytes | None:
        """Wait for unit `at`.

        A unit that was answered is empty bytes: a task that reads anew counts its units, and nobody looks at
        those again.
        """
        with self._changed:
            self._changed.wait_for(lambda: at in self._units or at < self._first)
            return self._units.get(at, b"")

    def take(self, at: int) -> bytes:
        """Wait for the answer to unit `at`, pickled; those before it have arrived at the driver."""
        with self._changed:
            self._units = {place: unit for place, unit in self._units.items() if place >= at}
            self._first = at
        if self._answers is None:
            self._answers = _stream(self._load, self._actors)
        answer: bytes = next(self._answers)["answer"][0].as_py()
        return answer


def _stream(load: list[Any], actors: int) -> Iterator[Any]:
    """The answers of Ray Data, a table of one row each; runs in the pipeline."""
    ray: Any = importlib.import_module("ray")
    data: Any = importlib.import_module("ray.data")
    context = data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.target_max_block_size = context.target_min_block_size = (
        1  # a block a unit: none waits for the next
    )
    context.enable_progress_bars = False
    one = {"batch_size": 1, "batch_format": "pyarrow"}
    pipeline = ray.get_runtime_context().current_actor
    pool = data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2)
    # That the reading asks for other cores than the workers also keeps Ray Data from making one step of both.
    units = data.from_items([0]).map_batches(read_units, fn_args=(pipeline,), num_cpus=0, **one)
    answers = units.map_batches(Worker, fn_constructor_args=(load,), compute=pool, num_cpus=1, **one)
    return iter(answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))


def read_units(_: Any, pipeline: Any) -> Iterator[Any]:
    """Read the units of `pipeline` as tables of one row; a task of Ray Data."""
    ray: Any = importlib.import_module("ray")
    at = 0
    while (unit := ray.get(pipeline.unit.remote(at))) is not None:
        yield _table("unit", unit)
        at += 1


class Worker:
    """Answers units in a process of the cluster, which need not share a disk with the driver."""

    def __init__(self, load: list[Any]) -> None:
        ray: Any = importlib.import_module("ray")
        self._answer = ray.get(load[0])()

    def __call__(self, batch: Any) -> Any:
        """Answer the one unit of `batch`.

        Raises:
            RuntimeError: named after what went wrong; Ray logs it, and its own words could hold a note's.
        """
        unit = pickle.loads(batch["unit"][0].as_py())  # noqa: S301
        try:
            answer = self._answer(unit)
        except Exception as error:
            raise RuntimeError(type(error).__name__) from None
        return _table("answer", pickle.dumps(answer))


def _table(name: str, cell: bytes) -> Any:
    arrow: Any = importlib.import_module("pyarrow")
    return arrow.table({name: arrow.array([cell], arrow.large_binary())})
