"""A flag wins over the environment, which wins over the file; what is wrong is named."""

from pathlib import Path
from typing import Any, cast

import pytest
import typer
from typer.main import get_command

from bridge import startup
from bridge.command import app, given
from bridge.config import ConfigError, Settings
from bridge.freshness import Freshness
from bridge.loading import load
from bridge.triton.addresses import Addresses


def read(*arguments: str) -> Settings:
    """The settings of a command line, the environment and the file that they name."""
    context = get_command(app).make_context("bridge", list(arguments))
    return load(given(cast("typer.Context", context)))


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "bridge.toml"
    path.write_text('top_k = 4\nmodel = "from-file"\ngroup = "from-file"\n[kafka]\n"a.b" = 1\n')
    return path


def test_flags_then_environment_then_file(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_MODEL", "from-env")
    monkeypatch.setenv("BRIDGE_GROUP", "from-env")
    settings = read("--config", str(toml), "--group", "from-flag")
    assert (settings.top_k, settings.model, settings.group) == (4, "from-env", "from-flag")
    assert settings.kafka == {"a.b": 1}


def test_the_file_can_be_named_in_the_environment(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_CONFIG", str(toml))
    assert read().top_k == 4


def test_health_is_on_loopback_unless_it_is_told_otherwise() -> None:
    assert (read().http_host, read().http_port) == ("127.0.0.1", 8080)
    assert read("--http-host", "0.0.0.0", "--http-port", "9000").http_host == "0.0.0.0"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--top-k", "0"], "top_k: Input should be greater"),
        (["--triton", "nowhere"], "triton: 'nowhere' is not HOST:PORT"),
        (["--triton", "http://gpu:8000"], "for example gpu:8001"),
        (["--triton", "grpc://gpu:8001/"], "for example gpu:8001"),
        (["--triton", "host:8001/v2"], "is not HOST:PORT"),
        (["--triton", "host:8001,host2"], "'host2' is not HOST:PORT"),
        (["--triton", "host:8001,host:8001"], "named twice"),
        (["--predictions-topic", "images"], "must differ"),
        (["--dead-letters-topic", "predictions"], "must differ"),
        (["--retry-min-s", "9"], "retry_max_s is below retry_min_s"),
        (["--max-image-bytes", "2000", "--max-buffered-bytes", "1000"], "could never be held"),
        (["--config", "/nonexistent.toml"], "no such file"),
        (["--config", "/"], "config: is a folder: /"),
        (["--brokers", ""], "brokers: no address of a broker"),
        (["--brokers", "http://kafka:9092"], "'http://kafka:9092' is the address of something"),
        (["--brokers", "kafka:9092,kafka:none"], "'kafka:none' is not HOST:PORT"),
        (["--brokers", "kafka:99999"], "'kafka:99999' is not HOST:PORT"),
        (["--value-format", "json"], "needs image_field"),
        (["--value-format", "base64", "--image-field", "a"], "no effect with value_format base64"),
        (["--pass-headers", "camera,ce_id"], "ce_id cannot be passed on"),
        (["--route-by", "camera"], "neither label nor header:NAME"),
        (["--route-by", "header:"], "needs the header's name"),
        (["--routes", "cat=images"], "goes to 'images': it must be a topic of predictions"),
        (["--routes", "cat="], "goes to ''"),
        (["--max-age", "soon"], "no duration such as 2s"),
        (["--max-age", "-1s"], "no duration such as 2s"),
        (["--min-score", "nan"], "min_score"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(arguments: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read(*arguments)


def test_routes_and_ages_are_read_from_flags_and_file(tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(
        'max_age = "500ms"\nexpired = "drop"\n[routes]\ncat = "cats"\n"n.dog" = "dogs"\n'
    )
    settings = read("--config", str(path))
    assert settings.freshness == Freshness(500_000_000, drop=True)
    assert settings.topics == ("images", "predictions", "images.dlq", "cats", "dogs")
    flags = read("--routes", "cat=cats", "--routes", "dog=cats", "--max-age", "2s")
    assert flags.routes == {"cat": "cats", "dog": "cats"}
    assert flags.topics[3:] == ("cats",)
    assert flags.freshness == Freshness(2_000_000_000)


def test_an_unknown_variable_is_named_with_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_TOPK", "3")
    monkeypatch.setenv("BRIDGE_XYZ", "1")
    with pytest.raises(ConfigError) as refused:
        read()
    assert str(refused.value).splitlines() == [
        "BRIDGE_TOPK: no such setting (BRIDGE_TOP_K?); BRIDGE_XYZ: no such setting"
    ]


def test_variables_that_are_no_settings_of_ours_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What Kubernetes tells containers of a service that is called "bridge".
    for name in ("SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT", "PORT_8080_TCP_ADDR"):
        monkeypatch.setenv(f"BRIDGE_{name}", "tcp://10.0.0.1:8080")
    monkeypatch.setenv("BRIDGE_KAFKA__client.rack", "a")
    monkeypatch.setenv("bridge_top_k", "4")
    assert read().top_k == 4


@pytest.mark.parametrize("name", ["null", "None", "true", "1"])
def test_a_model_may_have_any_name(name: str) -> None:
    settings = read("--model", name)
    assert settings.model == name
    assert settings.group == f"bridge-{name}"


def test_models_share_no_group_unless_they_are_told_to() -> None:
    assert read("--model", "a").group != read("--model", "b").group
    assert read("--model", "a", "--group", "mine").group == "mine"


def test_an_unknown_key_in_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text("tok_k = 4\n")
    with pytest.raises(ConfigError, match=rf"^{path}: tok_k: no such setting \(top_k\?\)$"):
        read("--config", str(path))


def test_what_is_wrong_in_the_file_names_it_but_not_what_wins_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text('top_k = "many"\n')
    with pytest.raises(ConfigError, match=f"^{path}: top_k: "):
        read("--config", str(path))
    with pytest.raises(ConfigError, match=r"^top_k: "):
        read("--config", str(path), "--top-k", "few")
    monkeypatch.setenv("BRIDGE_TOP_K", "few")
    with pytest.raises(ConfigError, match=r"^top_k: "):
        read("--config", str(path))


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text("top_k: 4\n")
    with pytest.raises(ConfigError, match=r"bridge\.toml is not TOML: .*line 1"):
        read("--config", str(path))


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_KAFKA_PASSWORD", "hunter2")
    settings = read()
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()
    assert settings.kafka_password is not None
    assert settings.kafka_password.get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    "file",
    [
        '[model_parameters]\n"preprocess.mean" = [0.5, 0.25, 1]\n"postprocess.nms" = false\n',
        "[model_parameters]\npreprocess.mean = [0.5, 0.25, 1]\npostprocess.nms = false\n",
        "model_parameters.preprocess = {mean = [0.5, 0.25, 1]}\n"
        "[model_parameters.postprocess]\nnms = false\n",
    ],
)
def test_a_models_parameters_are_told_in_any_of_tomls_ways(tmp_path: Path, file: str) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(file)
    told = read("--config", str(path)).model_parameters
    assert told["preprocess.mean"].split() == ["0.5", "0.25", "1"]
    assert told["postprocess.nms"].lower() == "false"
    flags = ["--model-parameters", "preprocess.mean=0,0,0"]
    assert read("--config", str(path), *flags).model_parameters["preprocess.mean"] == "0,0,0"


def test_a_models_parameters_are_told_by_flags_and_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BRIDGE_MODEL_PARAMETERS", '{"preprocess.size": "64x64"}')
    assert read().model_parameters == {"preprocess.size": "64x64"}
    told = read(
        "--model-parameters", "preprocess.scale=1/255", "--model-parameters", "preprocess.std=2,3"
    ).model_parameters
    assert told["preprocess.scale"] == "1/255"
    assert told["preprocess.std"] == "2,3"


def test_librdkafka_options_are_pairs_or_json_and_join_those_of_the_file(toml: Path) -> None:
    flags = ["--kafka", "sasl.username=a=b,c", "--kafka", '{"socket.timeout.ms": 5}']
    assert read("--config", str(toml), *flags).kafka == {
        "a.b": 1,
        "sasl.username": "a=b,c",
        "socket.timeout.ms": 5,
    }


def test_a_setting_is_told_what_was_given_for_it_unless_that_is_secret() -> None:
    with pytest.raises(ConfigError, match=r"top_k: .*, not 'many'"):
        load({"top_k": "many"})
    with pytest.raises(ConfigError) as raised:
        load({"kafka_password": 5})
    assert "5" not in str(raised.value)


def test_each_flag_has_a_panel_and_a_metavar_that_reads() -> None:
    for parameter in get_command(app).params[:-1]:
        assert parameter.name
        assert "rich_help_panel" in vars(parameter)
        shown = parameter.metavar or parameter.display_type(None)  # type: ignore[attr-defined]
        assert "[" not in shown, parameter.name


def test_outputs_are_those_of_the_model_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(startup, "TritonServer", lambda *_, **options: asked.append(options))
    (address,) = Addresses("127.0.0.1:8001").now()
    parameter = "postprocess.outputs"
    for told in (["--outputs", "a,b"], ["--model-parameters", f"{parameter}=a,b"]):
        startup.connect(read(*told), address)
    assert [dict(one["wanted"].parameters) for one in asked] == [{parameter: "a,b"}] * 2


def test_a_variable_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_KAFKA_PRODUCER", "linger.ms=5")
    with pytest.raises(ConfigError, match=r"^BRIDGE_KAFKA_PRODUCER: 'linger"):
        load({})
