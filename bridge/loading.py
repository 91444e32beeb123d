"""Reads the settings from a TOML file, BRIDGE_* variables and flags; a later source wins."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from bridge.config import ConfigError, Settings, toml_path

_SERVICE_LINK = re.compile(r"SERVICE_(HOST|PORT.*)|PORT(_[0-9]+_.*)?")
"""Names of the variables that Kubernetes sets in every container for a service named "bridge"."""


def _refuse_unknown_variables(environment: Iterable[str]) -> None:
    known = [name.upper() for name in Settings.model_fields]
    problems = []
    for name in sorted(environment):
        prefix, _, rest = name.upper().partition("_")
        setting = rest.partition("__")[0]
        if prefix != "BRIDGE" or setting in known or _SERVICE_LINK.fullmatch(setting):
            continue
        near = difflib.get_close_matches(setting, known, 1)
        hint = f" (BRIDGE_{near[0]}?)" if near else ""
        problems.append(f"{name}: no such setting{hint}")
    if problems:
        raise ConfigError("; ".join(problems))


def _find_toml(flags: Mapping[str, object]) -> Path | None:
    """The TOML file, which must be known before the other settings are read; None: there is
    none."""
    name = flags.get("config") or os.environ.get("BRIDGE_CONFIG")
    if not name:
        return None
    path = Path(str(name))
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise ConfigError(f"config: {what}: {path}")
    return path


def load(flags: Mapping[str, object]) -> Settings:
    """Read file, environment and flags.

    Args:
        flags: the settings that were given on the command line, by name.

    Raises:
        ConfigError: a setting that is unknown, of the wrong kind, or inconsistent.
    """
    _refuse_unknown_variables(os.environ)
    path = _find_toml(flags)
    token = toml_path.set(path)
    try:
        return Settings(**flags)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = [
            _in_file(one, flags, path) + _problem(one) for one in error.errors(include_url=False)
        ]
        raise ConfigError("; ".join(problems)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except SettingsError as error:
        raise ConfigError(_unreadable(error)) from None
    except ValueError as error:
        raise ConfigError(str(error)) from None
    finally:
        toml_path.reset(token)


def _unreadable(error: SettingsError) -> str:
    """What is wrong with the variable of a setting with several values: it must be JSON."""
    named = re.search('field "([a-z_]+)"', str(error))
    variable = "" if named is None else f"BRIDGE_{named[1].upper()}"
    given = {name.upper(): text for name, text in os.environ.items()}
    if named is None or variable not in given:
        return str(error)
    return (
        f'{variable}: {given[variable][:100]!r} is not JSON, such as {{"KEY": "VALUE"}}; '
        "docs/configuration.md has the form of each setting"
    )


def _in_file(error: ErrorDetails, flags: Mapping[str, object], path: Path | None) -> str:
    """The file's name for the error message, if the wrong value comes from the file."""
    name = str(error["loc"][0]) if error["loc"] else ""
    given = {variable.upper().partition("__")[0] for variable in os.environ}
    if path is None or not name or name in flags or f"BRIDGE_{name.upper()}" in given:
        return ""
    return f"{path}: "


def _problem(error: ErrorDetails) -> str:
    where = ".".join(str(part) for part in error["loc"])
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, Settings.model_fields, 1)
        return f"{where}: no such setting{f' ({near[0]}?)' if near else ''}"
    if not where:
        return text
    given = error["input"]
    shown = isinstance(given, str | int | float) and "password" not in where
    # The text of our own validators contains the value already.
    return f"{where}: {text}" + (
        f", not {given!r:.80}" if shown and error["type"] != "value_error" else ""
    )
