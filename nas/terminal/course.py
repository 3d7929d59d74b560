"""How far a run has come, and how long it will still take, told from its records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNITS: Mapping[str, str] = {
    "preprocessing": "unimodal",
    "encoders": "unimodal",
    "search": "search",
    "retrain": "fused",
}
"""Phase of a record to the unit of the run's workload that it is of."""

PLAN = "plan"
"""Phase of the record that tells how many epochs of every unit are to be expected."""


class Course:
    """Counts epochs against those that are expected, and the seconds that they take.

    Epochs of each unit take different time; one of a unit that has not begun is taken to last as long as the others.

    Attributes:
        words: Epoch and score of what is being trained; "" before the first epoch.
    """

    def __init__(self, now: float) -> None:
        self.words = ""
        self._expected: dict[str, float] = {}
        self._length = 0
        self._ends_at = float("inf")
        self._done: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self._training: tuple[Any, ...] = ()
        self._epoch = 0
        self._unit = ""
        self._at = now

    def note(self, record: Mapping[str, Any], now: float) -> None:
        """Takes in a record of the run.

        Args:
            record: As a run logs it.
            now: By a clock in seconds.
        """
        if record.get("phase") == PLAN:
            self._expected, self._length = dict(record["epochs"]), int(record["length"])
            self._ends_at = now + record["seconds"] if record["seconds"] else self._ends_at
            self._at = now
            return
        unit, epoch = UNITS.get(str(record.get("phase"))), record.get("epoch")
        if unit is None or epoch is None:
            return
        training = tuple(record.get(key) for key in ("phase", "row", "modality", "seed", "search"))
        epoch = int(epoch) + (unit != "search")  # a search counts its epochs from 1
        if training != self._training or epoch <= self._epoch:
            if self._unit and self._unit != "search":  # what ended early is done, too
                self._done[self._unit] += max(0, self._length - self._epoch)
            self._training, self._epoch, self._unit = training, 0, unit
        self._done[unit] = self._done.get(unit, 0.0) + epoch - self._epoch
        self._seconds[unit] = self._seconds.get(unit, 0.0) + now - self._at
        self._epoch, self._at = epoch, now
        of_all = f"/{self._length}" if self._length and unit != "search" else ""
        score = record.get("architecture_score")
        loss = record.get("architecture_loss")
        told = f", score {score:.3g}" if score is not None else f", loss {loss:.3g}" if loss is not None else ""
        self.words = f"epoch {epoch}{of_all}{told}"

    def seconds_left(self, now: float) -> float | None:
        """Seconds until the end of the run; None while nothing can be said."""
        total = sum(self._done.values())
        if not self._expected or not total:
            return None
        usual = sum(self._seconds.values()) / total
        left = 0.0
        for unit, expected in self._expected.items():
            done = self._done.get(unit, 0.0)
            pace = self._seconds[unit] / done if done else usual
            left += pace * max(0.0, expected - done)
        return max(0.0, min(left - (now - self._at), self._ends_at - now))

    def share(self, now: float, started: float) -> float | None:
        """Share of the run that is done, 0 to 1; None while nothing can be said."""
        left = self.seconds_left(now)
        return None if left is None else (now - started) / max(1e-9, now - started + left)
