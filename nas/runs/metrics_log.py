"""The course of search and training, written as it happens: to metrics.jsonl and to TensorBoard."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any

from nas.records import plain
from nas.runs.folder import RunFolder

Log = Callable[[Mapping[str, Any]], None]
"""Takes a record of how a search or a training goes."""


class MetricsLog:
    """Writes records to metrics.jsonl and to TensorBoard: `with MetricsLog(run) as log: log({"phase": "search", …})`.

    Every line is flushed, so that a stopped run loses one line at most. A log begins anew when it is opened: a run that
    is gone on with writes all of its records again, see `nas.runs.checkpoint.Slot`.

    Args:
        run: Where to write.
        labels: Node to a name for each of its choices, for TensorBoard; without, choices bear their index.
    """

    def __init__(self, run: RunFolder, labels: Mapping[str, Sequence[str]] | None = None) -> None:
        self.run = run
        self.labels = labels or {}
        self._file: IO[bytes] | None = None
        self._events: _Events | None = None
        self._open_files = ExitStack()
        self._steps: dict[str, int] = {}

    def __enter__(self) -> MetricsLog:
        self.run.remove("tensorboard")
        # Without buffers of their own: what could not be written, on a full disk, is not tried again on closing.
        self._file = self._open_files.enter_context(self.run.stream("metrics.jsonl"))
        name = f"tensorboard/events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._events = _Events(self._open_files.enter_context(self.run.stream(name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file = self._events = None
        self._open_files.close()

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Appends one record; a number in it that is not finite becomes null.

        Raises:
            RuntimeError: If the log is not open.
        """
        if self._file is None or self._events is None:
            raise RuntimeError("MetricsLog is not open; use it in a `with` statement")
        values = plain(record)
        line = json.dumps(values, allow_nan=False, ensure_ascii=False) + "\n"
        _write(self._file, line.encode(errors="backslashreplace"))
        # One of several searches has its curves under a heading of its own.
        heading = f"search {values['search']}/" if values.get("search") is not None else ""
        curve = heading + "/".join(
            str(values[key]) for key in ("phase", "row", "modality", "seed") if values.get(key) is not None
        )
        step = values.get("step", values.get("epoch"))
        step = self._steps.get(curve, 0) if step is None else int(step)
        self._steps[curve] = step + 1
        if scalars := list(self._scalars(heading, curve, values)):
            self._events.add(scalars, step)

    def _scalars(self, heading: str, curve: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        """Tag and value of everything in a record that TensorBoard can plot."""
        for key in ("train_loss", "architecture_loss", "architecture_score"):
            if values.get(key) is not None:
                yield f"{curve}/{key}", values[key]
        for node, weights in (values.get("mixing_weights") or {}).items():
            labels = self.labels.get(node, ())
            for index, weight in enumerate(weights):
                if weight is not None:
                    yield f"{heading}mixing_weights/{node}/{labels[index] if index < len(labels) else index}", weight
        for node, nats in (values.get("entropy") or {}).items():
            if nats is not None:
                yield f"{heading}entropy/{node}", nats
        for name, value in (values.get("guards") or {}).items():
            if value is not None:
                yield f"{heading}guards/{name}", value


class _Events:
    """TensorBoard's events, written where the caller stands.

    TensorBoard's own writer does it in a thread, where a full disk ends the thread with a traceback of its own.
    """

    def __init__(self, file: IO[bytes]) -> None:
        # Imported here, for TensorBoard takes a second to import and most commands do without.
        from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415
        from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415

        self._event, self._summary = Event, Summary
        self._file = file
        self._writer = RecordWriter(self)
        self._writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def write(self, content: bytes) -> None:
        """Takes the bytes of an event, as TensorBoard frames it."""
        _write(self._file, content)

    def add(self, scalars: Iterable[tuple[str, float]], step: int) -> None:
        """Writes one event with some scalars of one step."""
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in scalars]
        event = self._event(wall_time=time.time(), step=step, summary=self._summary(value=values))
        self._writer.write(event.SerializeToString())


def _write(file: IO[bytes], content: bytes) -> None:
    """Writes all of it: without a buffer, a write may take a part, and only the next one says that the disk is full."""
    while content:
        content = content[file.write(content) :]
