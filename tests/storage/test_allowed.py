"""Nothing is fetched but what lies under an allowed prefix."""

import pytest

from storage.allowed import AllowList, parse_allow_list
from wire.reference import BadReferenceError, parse_reference


def allows(prefixes: str, url: str) -> bool:
    try:
        parse_allow_list(prefixes).check(parse_reference(url))
    except BadReferenceError as error:
        assert error.kind in ("not_allowed", "reference")
        return False
    return True


@pytest.mark.parametrize(
    ("prefixes", "url", "allowed"),
    [
        ("s3://photos/", "s3://photos/a.png", True),
        ("s3://photos", "s3://photos/in/a.png", True),
        ("s3://photos", "s3://photos-private/a.png", False),
        ("s3://photos/", "s3://photos.private/a.png", False),
        ("s3://photos", "gs://photos/a.png", False),
        ("s3://photos/in/", "s3://photos/in/a.png", True),
        ("s3://photos/in", "s3://photos/in/a.png", True),
        ("s3://photos/in", "s3://photos/internal/a.png", False),
        ("s3://photos/in/", "s3://photos/a.png", False),
        ("s3://photos/in/", "s3://photos/in%2Fa.png", True),
        ("s3://photos/in/", "s3://photos/in/../secret.png", False),
        ("s3://photos/in/", "s3://photos/in%2F..%2Fsecret.png", False),
        ("s3://photos/in/", "s3://photos/IN/a.png", False),
        ("s3://photos/a%20b/", "s3://photos/a b/c.png", True),
        ("s3://photos/in/, gs://other", "gs://other/a.png", True),
        ("", "s3://photos/a.png", False),
    ],
)
def test_what_a_list_allows(prefixes: str, url: str, allowed: bool) -> None:
    assert allows(prefixes, url) is allowed


def test_a_refusal_names_the_setting_and_what_to_write() -> None:
    with pytest.raises(BadReferenceError, match=r"--reference-allow s3://photos/$"):
        AllowList().check(parse_reference("s3://photos/a.png"))
    with pytest.raises(BadReferenceError, match="reference_allow"):
        parse_allow_list("s3://other").check(parse_reference("s3://photos/a.png"))


@pytest.mark.parametrize(
    "prefix",
    ["photos", "file:///etc", "http://169.254.169.254/", "s3://", "s3:///in", "s3://photos/../x",
     "s3://photos/in?x=1", "s3://*"],
)  # fmt: skip
def test_a_prefix_that_means_nothing_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match=r"s3:|photos|file|http"):
        parse_allow_list(prefix)


def test_the_stores_of_a_list() -> None:
    allowed = parse_allow_list("s3://a/x,s3://a/y,gs://b")
    assert allowed.stores == ("s3://a", "gs://b")
