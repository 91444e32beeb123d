"""An image is the same image, whatever it is wrapped in; what cannot be taken out says why."""

import base64
import json
from typing import Any

import pytest

from wire.image import NDARRAY
from wire.record import ContractError, StoredRecord
from wire.wrappings.bounds import MAX_BESIDE, MAX_ITEMS, TooLargeError, WrappingError, text_bytes
from wire.wrappings.cloudevents import BATCH, STRUCTURED
from wire.wrappings.unwrap import Wrapping, hint, read_image

IMAGE = b"\x89PNG\r\n\x1a\n\xfb\xff and so on"
TEXT = base64.b64encode(IMAGE).decode()
URL_SAFE = base64.urlsafe_b64encode(IMAGE).decode()
JSON = "application/json"


def record(value: Any, content_type: str | None = None, *headers: tuple[str, bytes]) -> Any:
    told = [] if content_type is None else [("content-type", content_type.encode())]
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return StoredRecord("images", 2, 7, b"key", raw, [*told, *headers], 1_000)


def event(**more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": "door-42", "source": "/camera/7", "type": "com.example.photo",
        "time": "2026-01-31T12:00:00Z", "datacontenttype": "image/png", "data_base64": TEXT,
        **more,
    }  # fmt: skip


def request(datatype: str, data: Any, shape: Any = (1, 1)) -> dict[str, Any]:
    tensor = {"name": "image", "datatype": datatype, "shape": shape, "data": data}
    return {"id": "a", "inputs": [tensor]}


@pytest.mark.parametrize(
    ("sent", "wrapping"),
    [
        (record(IMAGE), Wrapping()),
        (record(IMAGE, "image/png"), Wrapping(field="image")),
        (record(TEXT.encode(), "image/png"), Wrapping("base64")),
        (record(TEXT.encode(), "text/plain; charset=utf-8"), Wrapping()),
        (record(URL_SAFE.rstrip("=").encode(), "text/plain"), Wrapping()),
        (record(base64.encodebytes(IMAGE), "text/plain"), Wrapping()),
        (record(f" data:image/png;base64,{TEXT}\n".encode(), "text/plain"), Wrapping()),
        (record(event(), f"{STRUCTURED}; charset=utf-8"), Wrapping()),
        (record(event()), Wrapping("cloudevents")),
        (record({"image": TEXT}, JSON), Wrapping(field="image")),
        (record({"image": TEXT}), Wrapping(field="image")),
        (
            record({"image": f"data:;base64,{TEXT}"}, "application/vnd.a+json"),
            Wrapping(field="image"),
        ),
        (record({"a": {"b.c": 1, "d": TEXT}}, JSON), Wrapping("json", "a.d")),
        (record({"a.d": TEXT, "a": 1}, JSON), Wrapping("json", "a.d")),
        (record(request("BYTES", [TEXT]), JSON), Wrapping("kserve")),
        (record(request("BYTES", [[TEXT]]), JSON), Wrapping("kserve")),
    ],
)
def test_the_image_inside_is_taken_out(sent: StoredRecord, wrapping: Wrapping) -> None:
    assert read_image(sent, wrapping)[1] == IMAGE


def test_a_structured_event_is_read_as_its_binary_form_would_be() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    sent = record(
        event(runid="r1", label="cat", traceparent=parent, senttime="2026-01-31T12:00:01Z", n=7),
        STRUCTURED, ("ce_id", b"a header does not win"), ("x", b"1"),
    )  # fmt: skip
    read, _ = read_image(sent)
    assert (read.id, read.source, read.run_id, read.label) == ("door-42", "/camera/7", "r1", "cat")
    assert (read.intended_ns, read.sent_ns) == (
        1_769_860_800_000_000_000,
        1_769_860_801_000_000_000,
    )
    assert (read.content_type, read.traceparent) == ("image/png", parent)


def test_raw_pixels_may_be_inside_a_structured_event() -> None:
    text = base64.b64encode(bytes(12)).decode()
    sent = event(datacontenttype=NDARRAY, dtype="uint8", shape="2,2,3", data_base64=text)
    read, value = read_image(record(sent, STRUCTURED))
    assert (read.content_type, read.dtype, read.shape, value) == (
        NDARRAY,
        "uint8",
        (2, 2, 3),
        bytes(12),
    )


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (list(range(12)), [1, 2, 2, 3]),
        (list(range(12)), [2, 2, 3]),
        ([[[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]], [1, 2, 2, 3]),
    ],
)
def test_the_pixels_of_an_inference_request_are_raw_pixels(data: Any, shape: Any) -> None:
    read, value = read_image(record(request("UINT8", data, shape), JSON), Wrapping("kserve"))
    assert (read.content_type, read.dtype, read.shape) == (NDARRAY, "uint8", (2, 2, 3))
    assert (read.id, value) == ("key", bytes(range(12)))


KSERVE, FIELD, TEXT_ONLY = Wrapping("kserve"), Wrapping("json", "image"), Wrapping("base64")


@pytest.mark.parametrize(
    ("sent", "wrapping", "complaint"),
    [
        (record([event()], BATCH), Wrapping(), "one event .*, not a batch"),
        (record(b"{", STRUCTURED), Wrapping(), "no JSON: .* at character 1"),
        (record(b"", STRUCTURED), Wrapping(), "no JSON"),
        (record([1], STRUCTURED), Wrapping(), "its JSON is no object"),
        (record({"id": "a"}, STRUCTURED), Wrapping(), "it has no specversion"),
        (record({"specversion": "1.0", "data": {}}, STRUCTURED), Wrapping(), "64, not in data"),
        (record(event(data_base64=None), STRUCTURED), Wrapping(), "is null, not a string"),
        (record(event(data_base64="*"), STRUCTURED), Wrapping(), "is no base64"),
        (record(event(specversion="0.3"), STRUCTURED), Wrapping(), "only 1.x"),
        (record(event(time="yesterday"), STRUCTURED), Wrapping(), "not an RFC 3339 timestamp"),
        (record(b"[" * 5000, STRUCTURED), Wrapping(), "no JSON"),
        (record({"picture": TEXT}), FIELD, "no field image .--image-field."),
        (record({"image": {"a": 1}}), FIELD, "is dict, not a string"),
        (record({"image": "a"}), FIELD, "is no base64"),
        (record(b"\xff\xfe", None), TEXT_ONLY, "is no base64"),
        (record(b"data:image/png,abc"), TEXT_ONLY, "that is not base64"),
        (record(b"data:image/png;base64"), TEXT_ONLY, "without data"),
        (record({"inputs": []}), KSERVE, "must have one input; this one has 0"),
        (record({}), KSERVE, "no list of inputs"),
        (record(request("FP32", [1.0])), KSERVE, "BYTES or UINT8, not 'FP32'"),
        (record(request("BYTES", [TEXT, TEXT])), KSERVE, "one image; this one has 2"),
        (record(request("BYTES", [7])), KSERVE, "is int, not a string"),
        (record(request("UINT8", [256] * 12, [2, 2, 3])), KSERVE, "whole numbers from 0 to 255"),
        (record(request("UINT8", [1], [2, 2, 3])), KSERVE, "1 values has not the shape"),
        (record(request("UINT8", [1], [2, -2])), KSERVE, "a list of sizes"),
        (record(request("UINT8", [1], None)), KSERVE, "a list of sizes"),
        (record({"inputs": [{"datatype": "BYTES"}]}), KSERVE, "no list of data"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_out_says_why(
    sent: StoredRecord, wrapping: Wrapping, complaint: str
) -> None:
    with pytest.raises(ContractError, match=complaint):
        read_image(sent, wrapping)


@pytest.mark.parametrize("size", [99, 100])
@pytest.mark.parametrize("form", ["base64", "cloudevents", "json", "kserve"])
def test_an_image_may_be_as_large_as_the_setting_says_and_no_larger(form: Any, size: int) -> None:
    text = base64.b64encode(bytes(size)).decode()
    sent = {
        "base64": text.encode(), "cloudevents": event(data_base64=text), "json": {"image": text},
        "kserve": request("BYTES", [text]),
    }[form]  # fmt: skip
    field = "image" if form == "json" else ""
    assert len(read_image(record(sent), Wrapping(form, field, size))[1]) == size
    with pytest.raises(TooLargeError, match=rf"{size} bytes, {size - 1} are allowed"):
        read_image(record(sent), Wrapping(form, field, size - 1))


def test_pixels_are_bounded_by_their_shape_before_they_are_made() -> None:
    sent = record(request("UINT8", [0] * 12, [2, 2, 3]))
    with pytest.raises(TooLargeError, match="12 bytes, 11 are allowed"):
        read_image(sent, Wrapping("kserve", "", 11))


@pytest.mark.parametrize("form", ["base64", "cloudevents", "json", "kserve"])
def test_a_value_is_bounded_before_it_is_parsed(form: Any) -> None:
    huge = b'{"a":"' + b" " * (5 * text_bytes(1000) + MAX_BESIDE)
    wrapping = Wrapping(form, "image" if form == "json" else "", 1000)
    with pytest.raises(TooLargeError, match=r"1,000 bytes|are allowed"):
        read_image(record(huge), wrapping)


@pytest.mark.parametrize("form", ["cloudevents", "json"])
def test_json_of_many_small_values_is_refused_before_it_is_parsed(form: Any) -> None:
    many = b"[" + b",".join([b"{}"] * MAX_ITEMS) + b"]"
    with pytest.raises(WrappingError, match="are allowed"):
        read_image(record(many), Wrapping(form, "image" if form == "json" else ""))


@pytest.mark.parametrize(
    ("many", "complaint"),
    [
        (b"[]", "too many arrays"),
        (b'"ab"', "too many strings"),
        (b"{}", "too many strings or objects"),
        (b"257", "are allowed"),
    ],
)
def test_an_inference_request_is_bounded_by_the_memory_that_its_values_take(
    many: bytes, complaint: str
) -> None:
    value = b'{"inputs":[' + b",".join([many] * ((1 << 22) + (1 << 19))) + b"]}"
    with pytest.raises(WrappingError, match=complaint):
        read_image(record(value), Wrapping("kserve"))


@pytest.mark.parametrize(
    ("value", "setting"),
    [
        (b'{"image": ""}', "--image-field"),
        (b" \n[1]", "--value-format kserve"),
        (b"data:image/png;base64,", "--value-format base64"),
        (TEXT.encode(), "--value-format base64"),
        (IMAGE, ""),
        (b"", ""),
    ],
)
def test_a_value_that_looks_wrapped_names_the_setting_that_would_read_it(
    value: bytes, setting: str
) -> None:
    assert setting in hint(value)
    assert bool(hint(value)) == bool(setting)


@pytest.mark.parametrize(
    "value", [IMAGE, b"\xff\xd8\xff", b"RIFF1234WEBP", b"BM", b"\0\0\0\x1cftypavif"]
)
def test_an_encoded_image_is_not_counted_twice(value: bytes) -> None:
    assert Wrapping().extra_bytes(value * 10) == 0


def test_what_is_taken_out_counts_before_it_is_taken_out() -> None:
    for sent in (TEXT.encode(), json.dumps(event()).encode(), b"data:;base64," + TEXT.encode()):
        assert Wrapping().extra_bytes(sent) >= len(IMAGE)
    assert Wrapping("kserve").extra_bytes(b"x" * 100) == 75
    assert Wrapping("image").extra_bytes(b"{" * 100) == 0
