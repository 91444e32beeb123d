"""The text templates of `config.pbtxt`."""

TEMPLATE = """\
# Written by scripts/export_model.py: change its options, not this file.

name: "{name}"
backend: "{backend}"
{platform}max_batch_size: {max_batch_size}

# Pixels of one image: height, width, {color}.
input {{ name: "{input}" data_type: TYPE_UINT8 dims: [ {dims} ] }}

# {what}
{outputs}
{batching}
instance_group {{ count: {instances} kind: {kind} }}
{optimization}
{parameters}

{warmups}
"""

BATCHING = """
# Requests that wait together run together, from however many clients they come.
dynamic_batching {{
  max_queue_delay_microseconds: {delay}
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: {timeout}
    allow_timeout_override: true
    max_queue_size: {queue_size}
  }}
}}
"""

OUTPUT_TEXT = """\
output {{
  name: "{name}" data_type: {data_type} dims: [ {dims} ]{more}
}}"""

WHAT = {
    "classify": "Probabilities.",
    "embed": "The vector of an image.",
    "detect": "Boxes (left, top, right, bottom in pixels of the input), classes and scores, the "
    "best first;\n# behind the last box of an image there are empty ones with the score 0.",
    "yolov8": "Of each box the middle, width and height in pixels of the input, then a score for "
    "each class.",
}

TENSORRT = """
# TensorRT, compiled when Triton starts (minutes), for any number of images up to the batch's.
optimization {{
  execution_accelerators {{
    gpu_execution_accelerator {{
      name: "tensorrt"
      parameters {{ key: "precision_mode" value: "{precision}" }}
      parameters {{ key: "trt_profile_min_shapes" value: "{input}:1x{dims}" }}
      parameters {{ key: "trt_profile_opt_shapes" value: "{input}:{most}x{dims}" }}
      parameters {{ key: "trt_profile_max_shapes" value: "{input}:{most}x{dims}" }}
    }}
  }}
}}
"""

PARAMETER = 'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'

WARMUP = """\
model_warmup {{
  name: "batch_{size}" batch_size: {size} count: {runs}
  inputs {{
    key: "{input}" value {{ data_type: TYPE_UINT8 dims: [ {dims} ] random_data: true }}
  }}
}}"""
