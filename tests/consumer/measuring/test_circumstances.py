import confluent_kafka

from consumer.measuring.circumstances import settings, versions
from stack.ports import free_ports


def test_no_value_of_a_kafka_option_is_kept() -> None:
    for pairs in (("sasl.password=s3cret", "a=s3cret"), ["sasl.password=s3cret", "a=s3cret"]):
        kept = settings({"idle": 10.0, "count": None, "kafka": pairs})
        assert kept == {"idle": "10.0", "kafka": "sasl.password, a (values not kept)"}
    assert settings({"kafka": ()}) == {}


def test_versions_are_those_in_use_and_a_silent_triton_is_said() -> None:
    found = versions(f"127.0.0.1:{free_ports(1)[0]}")
    assert found["librdkafka"] == confluent_kafka.libversion()[0]
    assert "did not answer" in found["Triton"]
    assert "Triton" not in versions(None)
