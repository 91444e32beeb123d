"""Each sentence that promises something about delivery has its tests; here it says which.

A sentence that is changed fails here until somebody has looked whether its tests still hold it to
its word.
"""
# ruff: noqa: E501 - sentences are quoted as they stand

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]

LIVE = "tests/bridge/test_live.py"
FAULTS = "tests/faults"
PROMISES: dict[str, dict[str, list[str]]] = {
    "README.md": {
        "No image is lost on the way: each one becomes a prediction or a dead letter with a reason, "
        "or it is read again.": [
            "tests/fuzz/test_records.py::test_any_record_is_answered_or_dead_lettered_once_and_good_"
            "neighbours_are_answered",
            f"{FAULTS}/test_bridge_faults.py::test_bridge_killed_ten_times",
        ],
        "**At least once** (the default): the bridge commits an offset only after Kafka has "
        "acknowledged the prediction or the dead letter.": [
            "tests/bridge/test_acknowledgement.py::test_no_offset_is_committed_before_kafka_has_"
            "acknowledged_answer_and_letter",
        ],
        "**Exactly once** (`--delivery exactly-once`): predictions, dead letters and offsets are "
        "written in one Kafka transaction.": [
            "tests/bridge/test_acknowledgement.py::test_answers_letters_and_offsets_are_committed_"
            "together_or_not_at_all",
        ],
        "Readers with `isolation.level=read_committed` see each image answered once.": [
            f"{FAULTS}/test_bridge_faults.py::test_bridge_killed_ten_times",
            "tests/fuzz/test_records.py::test_any_record_is_answered_or_dead_lettered_once_and_good_"
            "neighbours_are_answered",
        ],
        "**Permanent failures** (not an image, too large, wrong shape and so on): the image goes to "
        "the dead-letter topic with its key, value, headers and the reason.": [
            f"{LIVE}::test_bad_input_is_dead_lettered_with_its_reason_and_its_neighbours_are_answered",
            "tests/wire/test_contract.py::test_a_dead_letter_keeps_the_record_and_its_id_and_says_"
            "why_on_one_line",
        ],
        "When nearly everything fails, the bridge commits what is complete, fetches nothing more "
        "and stays up, not ready, until it is restarted.": [
            f"{LIVE}::test_a_bridge_whose_fuse_has_blown_stays_up_and_each_start_goes_on_where_"
            "it_was",
            f"{FAULTS}/test_hostile_images.py::test_wrong_deployment_restarted_five_times_then_put_"
            "right",
        ],
        "**Temporary failures** (Triton or Kafka cannot be reached, a model is being reloaded): the "
        "bridge waits and tries again, for as long as it takes.": [
            f"{LIVE}::test_triton_killed_and_restarted_in_the_middle_loses_nothing",
            f"{FAULTS}/test_kafka_faults.py::test_broker_restarted",
            f"{FAULTS}/test_model_faults.py::test_model_unloaded_and_reloaded",
        ],
        "An image that takes Triton down with it is found and dead-lettered.": [
            "tests/bridge/triton/test_culprit.py::test_an_image_that_kills_triton_each_time_is_dead_"
            "lettered_and_the_others_are_answered",
            "tests/bridge/triton/test_trials.py::test_one_server_at_most_goes_down_more_than_once_"
            "for_an_image",
        ],
        "**Old images** are answered like all others, unless you set `--max-age 2s`.": [
            "tests/bridge/test_freshness.py::test_an_old_image_never_reaches_the_model",
        ],
        "Then an image that is older when its turn comes is not worked on: it becomes a dead letter, "
        "or is dropped with `--expired drop`.": [
            "tests/bridge/test_freshness.py::test_an_old_image_never_reaches_the_model",
            "tests/bridge/test_messages_as_people_have_them.py::test_what_is_too_old_is_not_answered_and_its_offset_is_committed",
        ],
        "[docs/reliability.md](docs/reliability.md#freshness) says exactly what that changes.": [
            "tests/bridge/test_freshness.py::test_expiry_does_not_blow_the_fuse",
            "tests/bridge/test_freshness.py::test_what_was_decoded_in_time_is_sent_a_little_later_too",
        ],
        "**SIGTERM** makes the bridge finish and commit what is in flight, and end with 0.": [
            f"{LIVE}::test_sigterm_in_the_middle_drains_and_the_next_bridge_goes_on_where_it_was",
            "tests/bridge/kafka/test_stopping.py::test_the_last_commit_is_made_under_the_"
            "generation_that_comes",
        ],
        "A second SIGTERM ends it at once.": [
            f"{LIVE}::test_a_second_signal_stops_at_once_and_leaves_the_rest_uncommitted",
        ],
        "The exit code is 0 after a normal stop, 1 after an error (what is complete is committed, "
        "and nothing past it), and 2 if the settings or the model cannot work.": [
            f"{LIVE}::test_sigterm_in_the_middle_drains_and_the_next_bridge_goes_on_where_it_was",
            "tests/bridge/kafka/test_intake.py::test_what_is_complete_is_committed_after_a_failure_"
            "that_is_not_kafkas",
            f"{LIVE}::test_what_cannot_work_is_refused_at_start_with_the_reason",
        ],
        "**Traces** are off by default.": [
            "tests/tracing/test_start.py::test_nothing_of_opentelemetry_is_imported_while_it_is_off",
        ],
        "With `--tracing`, each image is one OpenTelemetry trace from the producer to the consumer, "
        "and each request to Triton is a span that is linked to its images.": [
            "tests/tracing/test_collector.py::test_a_trace_has_spans_of_all_three_programs",
            "tests/bridge/test_tracing.py::test_an_image_is_one_trace_through_every_stage",
        ],
        "**Health**: `/health/live`, `/health/ready` and `/metrics` are on port 8080, on loopback "
        "unless you change it.": [
            "tests/bridge/test_config.py::test_health_is_on_loopback_unless_it_is_told_otherwise",
            "tests/bridge/test_live.py::test_what_a_stranger_writes_forges_no_log_line_and_no_metric",
        ],
        "A bridge is ready when it has joined its group and reads, and when Triton answers, also "
        "while no image arrives.": [
            "tests/bridge/kafka/test_membership.py::test_a_bridge_is_ready_once_it_has_joined_and_"
            "read",
            "tests/bridge/test_readiness.py::test_a_triton_that_dies_while_no_image_comes_is_said",
        ],
        "If it is not ready, the body of the response says why.": [
            "tests/bridge/test_readiness.py::test_a_triton_that_dies_while_no_image_comes_is_said",
        ],
        "After a fix, `tkb dead-letters list` counts the dead letters by reason, and `replay` sends "
        "them again, each once, with their key, id and headers.": [
            "tests/deadletters/test_dead_letters.py::test_letters_are_counted_by_reason",
            "tests/deadletters/test_dead_letters.py::test_a_replay_sends_each_letter_once_as_it_"
            "first_arrived",
        ],
        "The tests break things while images flow, and then compare every id that was sent with "
        "every id that came back: in 56 trials of 20,000 images or more (processes killed and "
        "frozen, networks cut, disks full, rebalances), none was lost.": [
            "tests/test_promises.py::test_the_table_of_trials_holds_what_is_said_of_it",
        ],
        "[docs/reliability.md](docs/reliability.md) has the table.": [
            "tests/test_promises.py::test_the_table_of_trials_holds_what_is_said_of_it",
        ],
    },
    "docs/reliability.md": {
        "With at-least-once delivery, an image has two predictions if the bridge or the broker ends "
        "after Kafka has the prediction and before Kafka has the offset.": [
            f"{FAULTS}/test_bridge_faults.py::test_bridge_killed_ten_times",
        ],
        "Readers recognise the second prediction by its `id`.": [
            "tests/consumer/measuring/test_matching.py::test_counts_add_up_under_any_interleaving",
        ],
        "With exactly-once delivery, read with `isolation.level=read_committed`.": [
            "tests/bridge/kafka/test_clients.py::test_reading_what_was_not_committed_is_refused_"
            "with_exactly_once_alone",
        ],
    },
}
SECTIONS = {
    "README.md": ("## What it promises\n", "\n## "),
    "docs/reliability.md": ("<!-- /faults -->\n", "\n## "),
}
"""Where the promises stand: from the first to the second, or to the end of the page."""
ELSEWHERE = {next(iter(PROMISES["README.md"]))}
"""Promises that stand among other things."""


def sentences(text: str) -> list[str]:
    plain = " ".join(text.replace("\n- ", "\n").split())
    return re.split(r"(?<=\.) (?=[A-Z*`\[])", plain)


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_sentence_of_the_promises_names_its_tests() -> None:
    for page, promises in PROMISES.items():
        text = (ROOT / page).read_text()
        first, last = SECTIONS[page]
        said = sentences(text.partition(first)[2].partition(last)[0])
        new = [one for one in said if one not in promises]
        assert not new, f"{page} says what has no test in tests/test_promises.py: {new}"
        gone = [one for one in promises if one not in said and one not in ELSEWHERE]
        gone += [one for one in ELSEWHERE & promises.keys() if one not in " ".join(text.split())]
        assert not gone, f"{page} does not say (any more): {gone}"


def test_the_tests_of_the_promises_are_there() -> None:
    for promises in PROMISES.values():
        for promise, named in promises.items():
            assert named, promise
            for one in named:
                file, _, name = one.partition("::")
                assert name in functions_of(file), f"{one}, which holds us to: {promise}"


def test_the_table_of_trials_holds_what_is_said_of_it() -> None:
    text = (ROOT / "docs/reliability.md").read_text()
    table = text.partition("<!-- faults -->\n")[2].partition("<!-- /faults -->")[0]
    rows = [
        [re.sub(r"(?<=\d),", "", cell.strip()) for cell in re.split(r" \| ", line.strip("| "))]
        for line in table.splitlines()[2:]
    ]
    trials = {
        name.removeprefix("test_").replace("_", " ")
        for file in ROOT.glob(f"{FAULTS}/test_*.py")
        for name in functions_of(str(file.relative_to(ROOT)))
    }
    gone = [fault for fault, *_ in rows if fault.partition(", ")[0] not in trials]
    assert not gone, f"docs/reliability.md has rows of trials that are no more: {gone}"
    for *_, delivery, sent, answered, dead, lost, doubled in rows:
        assert int(lost) == 0
        assert int(answered) + int(dead) == int(sent)
        assert delivery == "at-least-once" or int(doubled) == 0
    said = re.search(
        r"in (\d+) trials of ([\d,]+) images or more", (ROOT / "README.md").read_text()
    )
    assert said is not None
    least = int(said[2].replace(",", ""))
    assert sum(int(row[-5]) >= least for row in rows) == int(said[1])
