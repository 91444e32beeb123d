# The benchmark. Included by the top Makefile.

.PHONY: bench bench-rivals bundle bundle-rehearsal

DEVICE ?= cpu
BENCH = .cache/dali/bin/python -m benchmarks.run --device $(DEVICE) $(if $(QUICK),--quick)

# .cache/dali is .venv with DALI before it.
# What others reach is not measured in a short run on a GPU.
bench: .cache/dali/.installed $(if $(and $(QUICK),$(filter cuda,$(DEVICE))),,.cache/rivals/.installed) ## measure against Triton alone and others (QUICK=1, DEVICE=cuda, BASELINE=commit)
	$(BENCH) $(if $(BASELINE),--baseline $(BASELINE))
	$(if $(BASELINE),,$(BIN)/python -m benchmarks.scaling)

bench-rivals: .cache/rivals/.installed ## only the bridge beside Flink, Quix Streams, a Java consumer and others: half an hour
	$(BIN)/python -m benchmarks.run --only rivals $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.rivals.page

# What ours is compared with, in an environment of its own: its pins clash with ours. torch is the
# one of .venv, behind its own packages. Where it cannot be had, the results say what is missing.
.cache/rivals/.installed: requirements/rivals.lock | $(VENV)/.installed
	@mkdir -p .cache
	@if $(call LAYER,.cache/rivals) && \
		$(BIN)/uv pip install -q --python .cache/rivals/bin/python --require-hashes -r $<; then touch $@; \
	else echo "the rivals could not be installed: they are left out" >&2; rm -rf .cache/rivals; fi

# For a GPU machine without a network. Needs jlink, Go and strip, beside what everything needs.
PART_MIB ?= 52
bundle: $(VENV)/.installed ## pack the benchmark for a GPU machine without a network into results/bundle (PART_MIB=52)
	$(BIN)/python -m benchmarks.bundle.pack --part-mib $(PART_MIB)

bundle-rehearsal: .cache/bundle-rehearsal/.installed ## unpack, check and run that bundle here, on the CPU and without a network
	$(BIN)/python -m benchmarks.bundle.rehearse --python .cache/bundle-rehearsal/bin/python

# In the place of the other machine's Python.
PYTHON312 ?= python3.12
.cache/bundle-rehearsal/.installed: requirements/all.lock | $(VENV)/.installed
	@mkdir -p .cache
	@$(BIN)/uv venv -q --allow-existing -p $(PYTHON312) .cache/bundle-rehearsal
	@$(BIN)/uv pip install -q --python .cache/bundle-rehearsal/bin/python \
		$$(grep -oE '^(torch|torchvision)==[0-9.]+' requirements/all.lock)
	@touch $@
