import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from consumer.measuring.triton import STATS, ModelCounters, TritonError, difference, read_counters
from consumer.summary import TritonStages
from stack.ports import free_ports
from stack.triton import Triton
from tests.conftest import MODEL
from tests.waiting import eventually

KEY = ("m", "1")


def counters(requests: int, ns: int) -> ModelCounters:
    spent = dict.fromkeys(STATS, (requests, ns))
    return ModelCounters(requests * 4, requests * 2, requests, spent)


def test_a_stage_is_the_mean_over_the_requests_of_the_run() -> None:
    (found,) = difference({KEY: counters(10, 10_000_000)}, {KEY: counters(30, 70_000_000)}, ["m/1"])
    assert (found.requests, found.inferences, found.executions) == (20, 80, 40)
    assert found.mean_batch == 2
    assert found.queue_ms == found.compute_infer_ms == 3


def test_a_restarted_server_counts_from_zero() -> None:
    (found,) = difference({KEY: counters(100, 10**9)}, {KEY: counters(5, 5_000_000)}, ["m/1"])
    assert found.requests == 5
    assert found.queue_ms == 1


def test_models_that_did_nothing_or_belong_to_others_are_left_out() -> None:
    same = {KEY: counters(10, 10), ("other", "1"): counters(1, 1)}
    assert difference(same, {**same, ("other", "1"): counters(9, 9)}, ["m/1"]) == []


def test_a_server_that_is_not_there_is_named() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(TritonError, match=address):
        read_counters(address)


def test_the_real_server_says_how_often_it_ran_the_model(triton: Triton) -> None:
    before = read_counters(triton.grpc)
    with grpcclient.InferenceServerClient(triton.grpc) as client:
        (spec,) = client.get_model_metadata(MODEL, as_json=True)["inputs"]
        batch = np.zeros((3, 32, 32, 3), np.uint8)
        tensor = grpcclient.InferInput(spec["name"], list(batch.shape), spec["datatype"])
        tensor.set_data_from_numpy(batch)
        for _ in range(4):
            client.infer(MODEL, [tensor])

    # A request is counted a moment after it has been answered.
    def since() -> list[TritonStages]:
        return difference(before, read_counters(triton.grpc), [f"{MODEL}/1"])

    eventually(lambda: sum(one.requests for one in since()) >= 4, "count all four", 30)
    (found,) = since()
    assert (found.requests, found.inferences, found.executions) == (4, 12, 4)
    assert found.mean_batch == 3
    assert found.compute_infer_ms > 0
