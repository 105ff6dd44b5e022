"""Quantiles of buckets and of single values."""

from collections.abc import Sequence


def quantile(bounds: Sequence[float], buckets: Sequence[float], *, share: float) -> float:
    """Return a quantile of a histogram, interpolated as Prometheus does; 0 without values.

    Args:
        bounds: Upper bounds of the buckets, without infinity.
        buckets: Number of values in each; one more than bounds.
        share: 0 to 1.
    """
    rank = share * sum(buckets)
    if rank <= 0 or not bounds:
        return 0.0
    below = 0.0
    for place, count in enumerate(buckets[: len(bounds)]):
        if below + count >= rank and count:
            lower = bounds[place - 1] if place else min(0.0, bounds[0])
            return lower + (bounds[place] - lower) * (rank - below) / count
        below += count
    return bounds[-1]


def nearest(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of ascending values by the nearest rank; 0 without values."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
