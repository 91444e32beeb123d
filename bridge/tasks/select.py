"""Which task a model does: the one that was set, or the one that its outputs imply."""

from collections.abc import Mapping, Sequence

from bridge.tasks.classify import read_heads
from bridge.tasks.detect import known_layout, read_detect
from bridge.tasks.embed import read_embed
from bridge.tasks.raw import read_raw
from bridge.tasks.task import LABELS, Output, Refuse, Task, choice, names
from imaging.rules import Preprocess, Shape
from wire.answers import TASKS

_FLOATS = ("FP16", "BF16", "FP32", "FP64")
VECTORS = (
    "embedding", "embeddings", "image_embedding", "image_embeddings", "image_embeds",
    "image_features", "pooler_output", "sentence_embedding",
)  # fmt: skip
"""Names that exporters give to outputs which are vectors, not scores of classes."""


def read_task(
    outputs: Sequence[Output],
    *,
    asked: str,
    top_k: int,
    shape: Shape | None,
    preprocess: Preprocess,
    text: Mapping[str, str],
    refuse: Refuse,
) -> Task:
    """Understand what a model's outputs mean.

    Args:
        asked: the task, or auto: `postprocess.task`, else the task that the outputs imply.
        top_k: number of classes in the answer of a classification.
        shape: shape of the model's input; None: it takes encoded images.
        text: the model's `postprocess.*` parameters.

    Raises:
        Exception: what `refuse` makes of the reason why no task fits.
    """
    chosen = _chosen(outputs, text, refuse)
    task = asked
    if task == "auto":
        task = choice(text, "postprocess.task", ("auto", *TASKS), "auto", refuse)
    if task == "auto":
        task = _shown(chosen)
    named = bool(names(text, "postprocess.outputs"))
    _check_labels(chosen, task, text, refuse)
    if task == "detect":
        return read_detect(chosen, named, shape, preprocess, text, refuse)
    if task == "raw":
        return read_raw(chosen, shape, text, refuse)
    vector = next((one for one in chosen if _is_vector(one)), None)
    if vector is None:
        seen = ", ".join(map(str, chosen)) or "none"
        raise refuse(
            f"task {task} needs a floating-point output [n], it has: {seen}; for boxes set "
            "postprocess.task = detect (--task detect), with postprocess.layout; for a mask, raw, "
            "with postprocess.encoding = png; for the values as they are, raw (--task raw)"
        )
    if task == "embed":
        return read_embed(vector, text, refuse)
    heads = chosen if named else (vector,)
    for other in heads:
        if not _is_vector(other):
            raise refuse(
                f"output {other}, which postprocess.outputs names, has no classes: task classify "
                "needs floating-point outputs [n]"
            )
    return read_heads(heads, top_k, text, refuse)


def _shown(outputs: Sequence[Output]) -> str:
    """The task that the names of the outputs imply; without a hint, classify."""
    if known_layout(outputs):
        return "detect"
    vector = next((one for one in outputs if _is_vector(one)), None)
    return "embed" if vector is not None and vector.name.lower() in VECTORS else "classify"


def _check_labels(
    outputs: Sequence[Output], task: str, text: Mapping[str, str], refuse: Refuse
) -> None:
    """Refuse labels for an output that classifies nothing, such as a misspelt one."""
    for key in text:
        name = key.removeprefix(f"{LABELS}.")
        if name != key and (task != "classify" or all(one.name != name for one in outputs)):
            known = ", ".join(one.name for one in outputs)
            raise refuse(
                f"parameter {key[:80]} names the classes of no output of a classification: the "
                f"task is {task}, the outputs are {known or 'none'}"
            )


def _is_vector(output: Output) -> bool:
    """Whether an output is a vector: [n], or [n, 1, 1] as in many networks."""
    return (
        output.datatype in _FLOATS
        and len(output.dims) > 0
        and sum(size != 1 for size in output.dims) <= 1
    )


def _chosen(outputs: Sequence[Output], text: Mapping[str, str], refuse: Refuse) -> Sequence[Output]:
    """All outputs, or those that `postprocess.outputs` names, in its order."""
    wanted = names(text, "postprocess.outputs")
    if not wanted:
        return outputs
    known = {one.name: one for one in outputs}
    for name in wanted:
        if name not in known:
            raise refuse(
                f"parameter postprocess.outputs names {name[:80]!r}, the outputs are "
                f"{', '.join(known) or 'none'}"
            )
    return [known[name] for name in dict.fromkeys(wanted)]
