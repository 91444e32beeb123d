"""A flag wins over the environment, which wins over the file; what is wrong is named."""

from pathlib import Path

import pytest

from bridge.config import ConfigError, load


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "bridge.toml"
    path.write_text('top_k = 4\nmodel = "from-file"\ngroup = "from-file"\n[kafka]\n"a.b" = 1\n')
    return path


def test_flags_then_environment_then_file(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_MODEL", "from-env")
    monkeypatch.setenv("BRIDGE_GROUP", "from-env")
    settings = load(["--config", str(toml), "--group", "from-flag"])
    assert (settings.top_k, settings.model, settings.group) == (4, "from-env", "from-flag")
    assert settings.kafka == {"a.b": 1}


def test_the_file_can_be_named_in_the_environment(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_CONFIG", str(toml))
    assert load([]).top_k == 4


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--top-k", "0"], "top_k: Input should be greater"),
        (["--triton", "nowhere"], "triton: 'nowhere' is not HOST:PORT"),
        (["--predictions-topic", "images"], "must differ"),
        (["--dead-letters-topic", "predictions"], "must differ"),
        (["--retry-min-s", "9"], "retry_max_s is below retry_min_s"),
        (["--max-image-bytes", "999999999"], "could never be held"),
        (["--config", "/nonexistent.toml"], "no such file"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(arguments: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(arguments)


def test_an_unknown_key_in_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text("tok_k = 4\n")
    with pytest.raises(ConfigError, match="tok_k"):
        load(["--config", str(path)])


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text("top_k: 4\n")
    with pytest.raises(ConfigError):
        load(["--config", str(path)])


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_KAFKA_PASSWORD", "hunter2")
    settings = load([])
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
    told = load(["--config", str(path)]).model_parameters
    assert told["preprocess.mean"].split() == ["0.5", "0.25", "1"]
    assert told["postprocess.nms"].lower() == "false"


def test_a_models_parameters_are_told_by_flags_and_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BRIDGE_MODEL_PARAMETERS", '{"preprocess.size": "64x64"}')
    assert load([]).model_parameters == {"preprocess.size": "64x64"}
    told = load(
        ["--model-parameters", "preprocess.scale=1/255", "--model-parameters", "preprocess.std=2 3"]
    ).model_parameters
    assert told["preprocess.scale"] == "1/255"
    assert told["preprocess.std"] == "2 3"
