"""Median and 95th percentile of as many durations as there are, in the memory of a few hundred. Pure.

A histogram whose buckets grow by 2%, so whatever is read from it is within 1% of a duration that was there (the idea of
DDSketch: https://arxiv.org/abs/1908.10693). An array of all durations would be exact, at four bytes for each receipt
in each of the groups that it is counted in: 40 MB for a million receipts by day, alias and model, and no bound. Two
histograms add up to that of both.
"""

import math

GROWTH = 1.02
_LOG = math.log(GROWTH)


class Latency:
    """Durations in whole milliseconds."""

    __slots__ = ("_buckets", "count")

    def __init__(self) -> None:
        self.count = 0
        self._buckets: dict[int, int] = {}

    def add(self, milliseconds: int) -> None:
        """A bucket is numbered by its upper end, as a power of GROWTH; what took no time is below them all."""
        bucket = math.ceil(math.log(milliseconds) / _LOG) if milliseconds > 0 else -1
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1

    def merge(self, other: "Latency") -> None:
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count

    def seconds(self, share: float) -> float | None:
        """What `share` of them did not take longer than, to 1%; None of none."""
        rank = max(1, math.ceil(share * self.count))
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                return _middle(bucket) / 1000
        return None


def _middle(bucket: int) -> float:
    """Of milliseconds: as far from the lower end of the bucket as from the upper one, in proportion."""
    return 2 * GROWTH**bucket / (1 + GROWTH) if bucket >= 0 else 0.0
