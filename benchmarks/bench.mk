# The benchmark. Included by the top Makefile.

.PHONY: bench

DEVICE ?= cpu

# .cache/dali is .venv with DALI before it.
# What others reach is not measured in a short run on a GPU.
bench: .cache/dali/.installed $(if $(and $(QUICK),$(filter cuda,$(DEVICE))),,.cache/peers/.installed) ## measure against Triton alone and others (QUICK=1, DEVICE=cuda, BASELINE=commit)
	.cache/dali/bin/python -m benchmarks.run --device $(DEVICE) $(if $(QUICK),--quick) $(if $(BASELINE),--baseline $(BASELINE))
	$(if $(BASELINE),,$(BIN)/python -m benchmarks.scaling)

# What ours is compared with, in an environment of its own: its pins clash with ours. torch is the
# one of .venv, behind its own packages. Where it cannot be had, the results say what is missing.
.cache/peers/.installed: benchmarks/peers.txt | $(VENV)/.installed
	@mkdir -p .cache
	@if $(call LAYER,.cache/peers) && \
		$(BIN)/uv pip install -q --python .cache/peers/bin/python -r $<; then touch $@; \
	else echo "the peers could not be installed: they are left out" >&2; rm -rf .cache/peers; fi
