"""The roles agree with each other, with the project they deploy, and with their page."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from tests.ansible.lab.playbook import ROOT, run_playbook
from tests.ansible.variables import PAGE, ROLES, defaults, options, read, roles, with_table

# What Compose reads itself.
PROJECT_FILES = {"docker-compose.yaml", "Dockerfile", ".dockerignore"}
# The role that ships the parts of each image.
SHIPS = {
    "bridge": ("serving", "serving_files"),
    "export": ("serving", "serving_files"),
    "client": ("load_generator", "load_generator_files"),
}


@pytest.mark.parametrize("role", roles())
def test_each_default_has_an_argument_spec_and_each_optional_argument_a_default(role: str) -> None:
    optional = {name for name, option in options(role).items() if not option.get("required")}
    # What one role hands another has no default: it is not for users.
    handed_over = {"docker_daemon_extra", "compose_service_instances"}
    assert optional - handed_over == set(defaults(role)) - handed_over


def test_the_page_lists_every_variable_of_every_role() -> None:
    page = PAGE.read_text()
    assert all(f"| `{name}` |" in with_table(page) for role in roles() for name in defaults(role))
    assert page == with_table(page), "write it anew: python -m tests.ansible.variables"


def test_the_page_lists_the_variables_of_the_playbooks() -> None:
    page = PAGE.read_text()
    (play,) = yaml.safe_load((ROOT / "ansible/cloud.yaml").read_text())
    own = {name for name in play["vars"] if name.startswith("cloud_")}
    # What a provider answers, and what is worked out.
    own -= {"cloud_machines", "cloud_bill", "cloud_exports", "cloud_disk_advice"}
    asked = set()
    for path in [*ROOT.glob("ansible/*.yaml"), *ROLES.rglob("defaults/main.yml")]:
        asked |= set(re.findall(r"\{\{ (\w+) \| default\(", path.read_text()))
    known = {name for role in roles() for name in defaults(role)}
    missing = [name for name in sorted(own | asked - known) if f"`{name}`" not in page]
    assert missing == []


def stages() -> dict[str, list[str]]:
    """Stages of the Dockerfile: the lines of each, and of those that it is made from."""
    found: dict[str, list[str]] = {}
    name = ""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    for line in text.splitlines():
        if start := re.match(r"FROM (\S+) AS (\S+)", line):
            name = start[2]
            found[name] = list(found.get(start[1], []))
        elif copied := re.match(r"COPY --from=(\S+)", line):
            found[name] += found[copied[1]]
        elif name:
            found[name].append(line)
    return found


def copied(target: str) -> set[str]:
    """What an image is made of: paths of the project."""
    lock = re.search(r"^ARG EXPORT_LOCK=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert lock is not None
    found = [re.match(r"COPY (\S+) \S+$", line) for line in stages()[target]]
    return {match[1].replace("${EXPORT_LOCK}", lock[1]) for match in found if match}


def within(path: str, shipped: list[str]) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in shipped)


@pytest.mark.parametrize("target", SHIPS)
def test_a_node_gets_all_that_its_images_are_built_from(target: str) -> None:
    role, variable = SHIPS[target]
    shipped = defaults(role)[variable]
    assert copied(target), "the Dockerfile was understood"
    assert [path for path in copied(target) if not within(path, shipped)] == []


@pytest.mark.parametrize("role", sorted({role for role, _ in SHIPS.values()}))
def test_a_node_gets_nothing_that_no_image_is_built_from(role: str) -> None:
    variable = next(v for r, v in SHIPS.values() if r == role)
    needed = set().union(*(copied(target) for target, (r, _) in SHIPS.items() if r == role))
    assert set(defaults(role)[variable]) == needed | PROJECT_FILES


def imports(path: Path) -> set[str]:
    """Top-level packages of the project that a file imports, inside of functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return {name for name in found if (ROOT / name).is_dir()}


@pytest.mark.parametrize("target", SHIPS)
def test_what_runs_in_an_image_imports_nothing_that_is_not_in_it(target: str) -> None:
    there = copied(target)
    sources = [
        source
        for path in there
        for source in ([ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("*.py"))
    ]
    assert sources
    missing = {
        f"{source.relative_to(ROOT)} imports {package}"
        for source in sources
        for package in imports(source)
        if package not in there
    }
    assert missing == set()


@pytest.mark.parametrize("template", sorted(ROLES.rglob("*.j2")), ids=lambda path: path.name)
def test_every_template_can_be_read(template: Path) -> None:
    jinja2.Environment(autoescape=True).parse(template.read_text())


def broker(**variables: str) -> str:
    """What is written for the only broker of an inventory."""
    environment = jinja2.Environment(autoescape=False, trim_blocks=True, undefined=jinja2.Undefined)  # noqa: S701 - YAML
    template = environment.from_string((ROLES / "kafka/templates/node-kafka.yaml.j2").read_text())
    inventory = {"groups": {"kafka": ["a"]}, "inventory_hostname": "a", "hostvars": {"a": {}}}
    return template.render(**inventory, **variables)


@pytest.mark.parametrize("readable", [True, False])
def test_users_of_a_broker_are_made_or_it_is_said_why_not(tmp_path: Path, readable: bool) -> None:
    text = broker(kafka_access_protocol="SASL_SSL", kafka_secrets_path="/secrets")
    described = yaml.safe_load(re.sub(r"!(reset|override)", "", text))
    (script,) = described["services"]["users"]["command"]
    tool = tmp_path / "kafka-configs.sh"
    tool.write_text('#!/bin/sh\necho "$@"\n')
    tool.chmod(0o755)
    if readable:
        (tmp_path / "pipeline.properties").touch()
    script = script.replace("$$", "$").replace("/users/", f"{tmp_path}/")
    script = script.replace("/opt/kafka/bin/kafka-configs.sh", str(tool))
    done = subprocess.run(
        ["sh", "-ec", script], env={"BROKER": "b:9"}, check=False, capture_output=True, text=True
    )
    assert done.returncode == (0 if readable else 1)
    assert ("--entity-name pipeline --add-config-file" in done.stdout) == readable
    # Not a user of the name "*".
    assert ("cannot be read: set kafka_user_id" in done.stderr) != readable


@pytest.mark.parametrize(
    ("bound_to", "opened"),
    [
        ("127.0.0.1", ["127.0.0.1:9092:9092"]),
        ("0.0.0.0", ["0.0.0.0:9092:9092"]),
        # The host itself asks on loopback whether it is there.
        ("10.0.0.1", ["127.0.0.1:9092:9092", "10.0.0.1:9092:9092"]),
    ],
)
def test_a_broker_is_opened_where_it_is_bound_to(bound_to: str, opened: list[str]) -> None:
    text = broker(kafka_bind_address=bound_to)
    ports = re.search(r"ports: !override\n((?: +- .*\n)+)", text)
    assert ports is not None, text
    assert re.findall(r'"(.*)"', ports[1]) == opened


def test_each_release_has_images_of_its_own(tmp_path: Path) -> None:
    """Under a name that is there, Compose builds no image: an upgrade would run the old code."""
    template = ROLES / "compose_service/templates/service.env.j2"
    tasks = [
        {"ansible.builtin.copy": {
            "content": f"{{{{ lookup('ansible.builtin.template', '{template}') }}}}",
            "dest": str(tmp_path / "{{ item }}.env"),
        }, "vars": {"compose_service_release": "{{ item }}"}, "loop": ["0a1b", "2c3d"]},
    ]  # fmt: skip
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (tmp_path / "play.yaml").write_text(json.dumps([play]))
    (tmp_path / "hosts").touch()
    given = {"compose_service_environment": {"A": "1"}, "compose_service_secrets": {"B": "p$"}}
    for variables, tags in (
        (given, ["0a1b", "2c3d"]),
        (given | {"compose_service_environment": {"TAG": "of-a-registry"}}, ["of-a-registry"] * 2),
    ):
        run_playbook(
            str(tmp_path / "play.yaml"), tmp_path / "hosts", variables=variables
        ).succeeded()
        for release, tag in zip(("0a1b", "2c3d"), tags, strict=True):
            assert f'TAG="{tag}"' in (tmp_path / f"{release}.env").read_text().splitlines()
    compose = (ROOT / "docker-compose.yaml").read_text()
    assert "image: ${BRIDGE_IMAGE:-triton-kafka-bridge}:${TAG:-latest}" in compose


def test_services_that_units_start_are_in_the_compose_file() -> None:
    compose = yaml.safe_load(
        re.sub(r"!(reset|override)", "", (ROOT / "docker-compose.yaml").read_text())
    )
    started = {"kafka", "topics", *defaults("serving")["serving_services"]}
    started |= set(defaults("load_generator")["load_generator_services"])
    assert started <= set(compose["services"])


def test_the_newest_triton_of_the_table_is_the_one_of_the_compose_file() -> None:
    table = read(ROLES / "serving/vars/main.yml")["serving_known_releases"]
    image = re.search(r"tritonserver:([\d.]+)-py3", (ROOT / "docker-compose.yaml").read_text())
    assert image is not None
    assert max(release["tag"] for release in table) == image[1]


@pytest.mark.parametrize(
    ("groups", "variables", "gib"),
    [
        (["gpu"], {"serving_export": False}, 30),
        (["gpu"], {"serving_export": True}, 42),
        (["gpu", "kafka"], {}, 38),
        (["kafka"], {}, 10),
        (["load"], {}, 6),
        # What is there already is not asked for again.
        (["gpu"], {"serving_export": True, "preflight_installed": ["gpu"]}, 2),
        (["gpu", "kafka"], {"preflight_installed": ["gpu"]}, 10),
    ],
)
def test_a_host_is_asked_for_the_space_that_its_groups_need(
    tmp_path: Path, groups: list[str], variables: dict[str, Any], gib: int
) -> None:
    play = {
        "hosts": "node",
        "gather_facts": False,
        "vars_files": [str(ROLES / "preflight/defaults/main.yml")],
        "vars": {name: in_a_cloud()[name] for name in ("cloud_disk_gib", "cloud_exports")},
        "tasks": [
            {"ansible.builtin.assert": {"that": f"preflight_minimum_free_gib | int == {gib}"}},
            # As the provider's role asks for the whole disk, with 8 for the system.
            {"ansible.builtin.assert": {"that": [
                "cloud_disk_gib[item] | int == preflight_gib[item] + preflight_gib.again + 8"
                " + (preflight_gib.export if item == 'gpu' and cloud_exports else 0)"
            ]}, "loop": ["gpu", "kafka", "load"]},
        ],
    }  # fmt: skip
    (tmp_path / "play.yaml").write_text(json.dumps([play]))
    hosts = {group: {"hosts": {"node": {"ansible_connection": "local"}}} for group in groups}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": hosts}}))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "--inventory=hosts.json",
            f"--extra-vars={json.dumps(variables)}",
            "play.yaml",
        ],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def in_a_cloud() -> dict[str, Any]:
    (play,) = yaml.safe_load((ROOT / "ansible/cloud.yaml").read_text())
    variables: dict[str, Any] = play["vars"]
    return variables


# Facts of a system, and of NVIDIA's repository its folder, key and branch, of Docker's its folder
# and suite.
SYSTEMS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("Ubuntu", "22.04", "22", "jammy"): ("ubuntu2204", "3bf863cc", "580", "ubuntu", "jammy"),
    ("Ubuntu", "24.04", "24", "noble"): ("ubuntu2404", "3bf863cc", "580", "ubuntu", "noble"),
    ("Ubuntu", "26.04", "26", "resolute"): ("ubuntu2604", "60DF8A40", "595", "ubuntu", "resolute"),
    ("Debian", "12.11", "12", "bookworm"): ("debian12", "3bf863cc", "580", "debian", "bookworm"),
    ("Debian", "13.2", "13", "trixie"): ("debian13", "8793F200", "595", "debian", "trixie"),
}
FACTS = ("version", "major_version", "release")


def worked_out(facts: tuple[str, ...], **given: str) -> dict[str, str]:
    """What the roles of driver and Docker work out from the facts of a system."""
    names = ("distribution", *(f"distribution_{name}" for name in FACTS))
    variables: dict[str, Any] = {"ansible_facts": dict(zip(names, facts, strict=True))}
    variables |= defaults("docker") | defaults("nvidia_driver") | given
    variables |= read(ROLES / "nvidia_driver/vars/main.yml")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True)
    environment.filters["regex_replace"] = lambda text, old, new: re.sub(old, new, text)
    for name in (
        *("nvidia_driver_system", "nvidia_driver_wanted", "nvidia_driver_minimum"),
        *("nvidia_driver_repository", "nvidia_driver_key_url"),
        *("docker_repository", "docker_key_url", "docker_suite"),
    ):
        variables[name] = environment.from_string(variables[name]).render(variables)
    return variables


def test_every_supported_system_has_its_repositories() -> None:
    listed = defaults("preflight")["preflight_supported"]
    supported = {f"{system['distribution']} {system['version']}" for system in listed}
    assert supported == {worked_out(facts)["nvidia_driver_system"] for facts in SYSTEMS}


@pytest.mark.parametrize("facts", SYSTEMS, ids=lambda facts: " ".join(facts[:2]))
def test_the_repositories_are_those_of_the_system_and_have_the_branch(
    facts: tuple[str, ...],
) -> None:
    folder, key, branch, distribution, suite = SYSTEMS[facts]
    found = worked_out(facts)
    url = f"https://developer.download.nvidia.com/compute/cuda/repos/{folder}/x86_64/"
    assert found["nvidia_driver_repository"] == url
    assert found["nvidia_driver_key_url"] == f"{url}{key}.pub"
    assert found["nvidia_driver_wanted"] == branch
    # The newest Triton runs with it, so it is left alone, whoever installed it.
    assert found["nvidia_driver_minimum"] == "580"
    assert found["docker_repository"] == f"https://download.docker.com/linux/{distribution}"
    assert found["docker_key_url"] == f"https://download.docker.com/linux/{distribution}/gpg"
    assert found["docker_suite"] == suite


def test_a_branch_that_is_named_replaces_an_older_one() -> None:
    found = worked_out(("Debian", "12.11", "12", "bookworm"), nvidia_driver_branch="610")
    assert found["nvidia_driver_wanted"] == found["nvidia_driver_minimum"] == "610"


@pytest.mark.parametrize(
    ("system", "capability", "given", "message"),
    [
        ("Debian 12", 6.0, {}, ""),
        ("Debian 13", 9.0, {}, ""),
        ("Debian 13", 6.0, {}, "NVIDIA has no such driver for Debian 13: install Debian 12"),
        ("Ubuntu 26.04", 7.0, {}, "NVIDIA has no such driver for Ubuntu 26.04"),
        ("Debian 12", 6.0, {"nvidia_driver_branch": "595"}, "Set nvidia_driver_branch to it"),
    ],
)
def test_gpus_without_a_driver_are_refused_in_the_look_at_all_machines(
    tmp_path: Path, system: str, capability: float, given: dict[str, str], message: str
) -> None:
    (look, *_) = yaml.safe_load((ROOT / "ansible/gpu.yaml").read_text())
    (task,) = look["tasks"]
    assert task["tags"] == task["ansible.builtin.include_role"]["apply"]["tags"] == ["always"]
    play = {"hosts": "node", "gather_facts": False, "tasks": [task]}
    (tmp_path / "play.yaml").write_text(json.dumps([play]))
    known = {"preflight_has_gpu": True, "preflight_gpus": [{"compute_capability": capability}]}
    variables = {**known, "nvidia_driver_system": system, **given}
    connection = {"ansible_connection": "local"}
    hosts = {"gpu": {"hosts": {"node": connection}}}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": hosts}}))
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")  # no driver runs
    (tmp_path / "nvidia-smi").chmod(0o755)
    outcome = run_playbook(
        str(tmp_path / "play.yaml"),
        tmp_path / "hosts.json",
        variables=variables,
        environment={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert (outcome.returncode != 0) == bool(message), outcome.output
    assert message in outcome.words
