"""The course of search and training, written as it happens: to metrics.jsonl and to TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from nas.runs import RunFolder, plain

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class MetricsLog:
    """Appends records to metrics.jsonl and to TensorBoard: `with MetricsLog(run) as log: log({"phase": "search", …})`.

    Every line is flushed, so that a stopped run loses one line at most.

    Args:
        run: Where to write.
        labels: Node to a name for each of its choices, for TensorBoard; without, choices bear their index.
    """

    def __init__(self, run: RunFolder, labels: Mapping[str, Sequence[str]] | None = None) -> None:
        self.run = run
        self.labels = labels or {}
        self._file: IO[str] | None = None
        self._board: SummaryWriter | None = None
        self._steps: dict[str, int] = {}

    def __enter__(self) -> MetricsLog:
        # Imported here, for TensorBoard takes a second to import and most commands do without.
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

        self.run.path.mkdir(parents=True, exist_ok=True)
        _end_last_line(self.run.metrics)
        self._file = self.run.metrics.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self.run.tensorboard))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
        self._file = self._board = None

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Appends one record; a number in it that is not finite becomes null.

        Raises:
            RuntimeError: If the log is not open.
        """
        if self._file is None or self._board is None:
            raise RuntimeError("MetricsLog is not open; use it in a `with` statement")
        values = plain(record)
        self._file.write(json.dumps(values, allow_nan=False, ensure_ascii=False) + "\n")
        self._file.flush()
        # One of several searches has its curves under a heading of its own.
        heading = f"search {values['search']}/" if values.get("search") is not None else ""
        curve = heading + "/".join(
            str(values[key]) for key in ("phase", "row", "modality", "seed") if values.get(key) is not None
        )
        step = values.get("step", values.get("epoch"))
        step = self._steps.get(curve, 0) if step is None else int(step)
        self._steps[curve] = step + 1
        for tag, value in self._scalars(heading, curve, values):
            self._board.add_scalar(tag, value, step)
        self._board.flush()

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


def _end_last_line(path: Path) -> None:
    """Drops a last line that was cut off, so that a resumed log stays readable."""
    if path.is_file():
        with path.open("rb+") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
