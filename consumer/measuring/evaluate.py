"""Makes the summary of a run from its matched images. Pure."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import orjson

from consumer.measuring import statistics, validity
from consumer.measuring.matching import DEAD, NO_NAME, SEEN, STORED, Matcher, Rows
from consumer.measuring.statistics import Measured
from consumer.summary import Summary, TritonStages


def evaluate(
    matcher: Matcher,
    rows: Rows,
    chosen: Measured,
    *,
    run_id: str | None,
    ended_by: str,
    expected: int | None,
    with_images: bool,
    warmup: int,
    unreadable: int,
    allow_backlog: bool,
    triton: Sequence[TritonStages] = (),
    settings: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
) -> Summary:
    """Summarise a run.

    If no images are read, the run counts as having sent what was expected.
    """
    sent, missing = matcher.sent, matcher.missing
    if not with_images and expected is not None and expected > sent:
        sent, missing = expected, expected - matcher.resolved
    stages = statistics.stages(rows, chosen.rows)
    intended = statistics.latency(chosen.from_intended)
    sent_latency = statistics.latency(chosen.from_sent)
    change = validity.trend(chosen.intended, chosen.from_intended)
    latencies = [found.clock_errors for found in (intended, sent_latency) if found is not None]
    clock_errors = max([*latencies, *(stage.clock_errors for stage in stages)], default=0)
    stored = int((rows.state[chosen.rows] & STORED != 0).sum())
    reasons = validity.reasons(
        sent=sent,
        missing=missing,
        expected=expected,
        unmeasured=matcher.unmeasured,
        unreadable=unreadable,
        clock_errors=clock_errors,
        change=change,
        answered=matcher.answered,
        measured=len(chosen.rows),
        stored=stored,
        allow_backlog=allow_backlog,
    )
    labelled, correct = statistics.accuracy(rows)
    dead = rows.best[(rows.state & SEEN != 0) & (rows.state & DEAD != 0)]
    return Summary(
        run_id=run_id,
        ended_by=ended_by,
        expected=expected,
        sent=sent,
        answered=matcher.answered,
        dead_lettered=matcher.dead_lettered,
        missing=missing,
        duplicates=matcher.duplicates,
        resent=matcher.resent,
        unmatched=matcher.unmatched,
        unmeasured=matcher.unmeasured,
        unreadable=unreadable,
        labelled=labelled,
        correct=correct,
        warmup=warmup,
        throughput=statistics.throughput(rows, chosen),
        valid=not reasons,
        reasons=reasons,
        intended=intended,
        sent_latency=sent_latency,
        stages=stages,
        latency_rise_ms=None if change is None else change.rise_ms,
        mean_request=_mean_request(rows, chosen),
        models=dict(matcher.models),
        dead_letters_by_reason=dict(Counter(rows.names[number] for number in dead.tolist())),
        triton=list(triton),
        offered_rate=statistics.offered_rate(rows),
        stored=stored,
        expired=matcher.expired,
        began_ns=_began(rows),
        settings=dict(settings or {}),
        versions=dict(versions or {}),
        image_set=_image_set(rows),
    )


def _image_set(rows: Rows) -> str:
    known = (rows.state & SEEN != 0) & (rows.label != NO_NAME)
    labels = sorted(Counter(rows.names[number] for number in rows.label[known].tolist()).items())
    return hashlib.sha256(orjson.dumps(labels)).hexdigest()[:16] if labels else ""


def _began(rows: Rows) -> int:
    due = rows.times["intended"][rows.state & SEEN != 0]
    return int(due.min()) if len(due) else 0


def _mean_request(rows: Rows, chosen: Measured) -> float | None:
    sizes = rows.batch[chosen.rows]
    sizes = sizes[sizes > 0]
    # Each image of a request with b images counts as 1/b of a request.
    return len(sizes) / float(np.sum(1 / sizes)) if len(sizes) else None
