# The benchmark. Included by the top Makefile.

.PHONY: bench

DEVICE ?= cpu

bench: $(VENV)/.installed .cache/peers/.installed ## measure against Triton alone and others (QUICK=1, DEVICE=cuda)
	$(CURDIR)/.venv/bin/python benchmarks/run.py --device $(DEVICE) $(if $(QUICK),--quick)
	$(if $(filter cpu,$(DEVICE)),$(CURDIR)/.venv/bin/python benchmarks/scaling.py)

# What ours is compared with, in an environment of its own: its pins clash with ours. torch is the
# one of .venv, behind its own packages. Where it cannot be had, the results say what is missing.
.cache/peers/.installed: benchmarks/peers.txt | $(VENV)/.installed
	@mkdir -p .cache
	@$(CURDIR)/.venv/bin/uv venv -q --allow-existing -p $(CURDIR)/.venv/bin/python .cache/peers
	@if $(CURDIR)/.venv/bin/uv pip install -q --python .cache/peers/bin/python -r benchmarks/peers.txt; then \
		.cache/peers/bin/python -c 'import sysconfig, pathlib, sys; \
		pathlib.Path(sysconfig.get_path("purelib"), "zz_project.pth").write_text(sys.argv[1] + "\n")' \
		"$$($(CURDIR)/.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" && touch $@; \
	else echo "the peers could not be installed: they are left out" >&2; rm -rf .cache/peers; fi
