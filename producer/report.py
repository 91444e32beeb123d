"""The report at the end of a run of the producer."""

from collections.abc import Mapping
from dataclasses import dataclass

from producer.listener import Tally

INDENT = 15
"""Column in which the facts of a report begin, after their names."""
NOBODY = ": nothing was answered; does a bridge run for this topic? (tkb bridge)"
DROPPED = " (among them all that a bridge with --expired drop has dropped)"


@dataclass(frozen=True, slots=True)
class Report:
    """The account of one run: sent = acknowledged + not acknowledged.

    Attributes:
        sent: images handed to the Kafka client.
        acknowledged: images that Kafka has stored.
        unacknowledged: the number of other images, by reason.
        seconds: seconds from the start until the last image was handed over.
        max_lag_s: longest time in seconds between due and sent.
        tally: the outcomes, if someone listened for them.
        trouble: why the run ended early; None: it did not.
    """

    run_id: str
    sent: int
    acknowledged: int
    unacknowledged: Mapping[str, int]
    seconds: float
    max_lag_s: float
    tally: Tally | None = None
    trouble: str | None = None

    @property
    def missing(self) -> int:
        """Number of images that Kafka has stored and that have no outcome."""
        return 0 if self.tally is None else max(0, self.acknowledged - self.tally.resolved)

    @property
    def complete(self) -> bool:
        return not (self.trouble or self.missing or self.sent - self.acknowledged)

    @property
    def _about_missing(self) -> str:
        if not self.missing or self.tally is None:
            return ""
        return DROPPED if self.tally.resolved else NOBODY

    def lines(self) -> list[str]:
        """The report for people, with one fact on each line."""
        rate = self.sent / self.seconds if self.seconds else 0
        found = [
            f"run            {self.run_id}",
            f"sent           {self.sent:,} in {self.seconds:.2f} s ({rate:,.1f} images/s), at most "
            f"{self.max_lag_s * 1000:.1f} ms late",
            f"acknowledged   {self.acknowledged:,}",
        ]
        found += [
            f"not acknowledged  {count:,}: {reason}"
            for reason, count in sorted(self.unacknowledged.items())
        ]
        if self.tally is not None:
            found += [
                f"answered       {self.tally.answered:,}",
                f"dead-lettered  {self.tally.dead_lettered:,}",
                *([f"expired        {self.tally.expired:,}"] if self.tally.expired else []),
                f"missing        {self.missing:,}{self._about_missing}",
                f"duplicates     {self.tally.duplicates:,}",
            ]
            if self.tally.labelled:
                correct, labelled = self.tally.correct, self.tally.labelled
                found.append(
                    f"correct        {correct:,} of {labelled:,} ({correct / labelled:.1%})"
                )
            if self.tally.unreadable:
                found.append(f"unreadable     {self.tally.unreadable:,} results of this run")
        if self.trouble:
            found.append(f"ended early    {self.trouble}")
        return found
