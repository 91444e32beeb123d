"""What the chart makes fits the schemas of three versions of Kubernetes, and of the operators."""

import subprocess
from functools import cache

import pytest
import yaml

from tests.kubernetes import tools
from tests.kubernetes.chart import ALL, CHART, SECURED, STRIMZI, VALUES, Values, template
from tests.kubernetes.schemas import write_schemas

pytestmark = pytest.mark.slow

HPA: Values = {"bridge": {"scaling": {"mode": "hpa"}}}
CHOICES = {
    "default": {},
    "all": ALL,
    "secured": {**ALL, **SECURED},
    "strimzi": {**ALL, **STRIMZI},
    "hpa": HPA,
    "volume": {
        "triton": {
            "modelRepository": {
                "source": "persistentVolumeClaim",
                "persistentVolumeClaim": {"claimName": "models", "subPath": "cats"},
            }
        }
    },
    "bucket": {
        "triton": {
            "modelRepository": {
                "source": "objectStorage",
                "objectStorage": {"url": "gs://bucket/models", "credentialsSecret": "gcs"},
            }
        }
    },
    "image": {
        "triton": {
            "modelRepository": {
                "source": "image",
                "image": {"repository": "registry.example/models"},
            }
        },
        "imagePullSecrets": ["registry"],
    },
}


OLDER = [pytest.param(one, marks=pytest.mark.soak) for one in tools.KUBERNETES[:-1]]


@pytest.fixture(scope="module", params=[*OLDER, tools.NEWEST])
def location(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_schemas(tmp_path_factory.mktemp(request.param), request.param)


rendered = cache(lambda choice, file: template(CHOICES[choice], file))


def conform(location: str, manifests: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            tools.need(tools.installed(*tools.KUBECONFORM)),
            *("-summary", "-schema-location", location),
        ],
        input=manifests,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("file", VALUES)
@pytest.mark.parametrize("choice", CHOICES)
def test_what_the_chart_makes_fits(location: str, choice: str, file: str) -> None:
    manifests = rendered(choice, file)
    done = conform(location, manifests)
    assert done.returncode == 0, done.stdout + done.stderr
    count = sum(1 for document in yaml.safe_load_all(manifests) if document)
    assert f"{count} resources found" in done.stdout
    assert f"Valid: {count}" in done.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("readinessProbe:", "readynessProbe:"),
        ("maxUnavailable: 1", "maxUnavailable: [1]"),
        ("cooldownPeriod: 300", "cooldownPeriod: soon"),
        ("pollingInterval:", "pollInterval:"),
        ("podMetricsEndpoints:", "endpoints:"),
        ("topicName:", "topic_name:"),
        ("kafka.strimzi.io/v1\n", "kafka.strimzi.io/v1beta2\n"),
    ],
)
def test_a_mistake_does_not_fit(location: str, right: str, wrong: str) -> None:
    manifests = template({**ALL, **STRIMZI})
    assert right in manifests
    assert conform(location, manifests.replace(right, wrong)).returncode == 1


def test_the_first_version_is_the_oldest_that_the_chart_takes() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == ">=1.34.0-0"
    assert tools.KUBERNETES[0].startswith("v1.34.")
