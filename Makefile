# `make` lists the targets. CI runs lint, docs and test: see .ci/run.

# dev compiles quickest and shares its work with `make test`; `make run PROFILE=release` is the fast Sluice.
PROFILE ?= dev
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60
# Seconds for `make simulate`, and the seed that it begins with: by default one that nobody has tried, by the clock.
SIMULATE_SECONDS ?= 300
SIMULATE_SEED ?= $(shell date +%s)000
# Kills for `make crash`, a quarter as many restarts by SIGTERM; and the seed, which chooses the moments.
CRASHES ?= 500
CRASH_SEED ?= $(shell date +%s)
# Seconds for `make soak`.
SOAK_SECONDS ?= 600
# Arguments for `make run` and `make test`, such as ARGS='--config config/s2.yaml' or ARGS='receive::'.
ARGS ?=

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help cargo run release test chromium page-tools pictures web-vendor test-rust bench bench-others bench-walks bench-pages fuzz simulate crash soak fmt lint docs book reference dist image

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

cargo:
	@command -v $(CARGO) >/dev/null || { echo "Sluice needs Rust 1.90 or newer and a C compiler: https://rustup.rs" >&2; exit 1; }

run: cargo ## Start Sluice on config/sluice.yaml; it prints what to try (PROFILE=release for speed)
	$(CARGO) run --locked --profile $(PROFILE) -- run $(ARGS)

release: cargo ## Build target/release/sluice
	$(CARGO) build --locked --release

test: cargo chromium page-tools ## Run the tests, but for the long ones; those of real clients and of deploy/ need more: see docs/testing.md
	$(CARGO) test --locked $(ARGS)

chromium: ## Install the browser for the tests of the dashboard: by apt-get where it may
	@command -v $${CHROMIUM:-chromium} >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
		else \
			echo "the dashboard's tests need Chromium (on Debian: sudo apt-get install chromium)" >&2; exit 1; \
		fi; }

page-tools: ## Install what the commands in the documents use: by apt-get where it may
	@missing=""; \
	PATH="$$PATH:/usr/sbin:/sbin"; \
	for tool in curl jq openssl; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	command -v ip >/dev/null || missing="$$missing iproute2"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
		else \
			echo "the tests of the documents need:$$missing (on Debian: sudo apt-get install$$missing)" >&2; exit 1; \
		fi; \
	fi

pictures: cargo chromium ## Take the dashboard's pictures in docs/pictures anew; takes five minutes
	$(CARGO) test --locked --test dashboard pictures_for -- --ignored

web-vendor: ## Copy the dashboard's modules of others from the npm registry to web/vendor, by web/package.json
	web/vendor.sh web/vendor

test-rust: cargo ## Run the tests that need nothing but the Rust toolchain
	$(CARGO) test --locked --lib --bins --test crash --test documents --test hostile --test load --test simulation --test suite $(ARGS)

# Where cargo puts what it builds; beside it is what the tests and benches build of others.
TARGET = $(abspath $(or $(CARGO_TARGET_DIR),target))

bench: cargo bench-others ## Compare with HAProxy, nginx, the Collector and Rotel, end to end, every way in and out
	$(CARGO) bench --locked --bench end_to_end -- $(or $(ARGS),all --markdown target/bench.md)

bench-others: ## Install what `make bench` compares with: by apt-get where it may, with Go, and with pip
	@missing=""; \
	PATH="$$PATH:/usr/sbin"; command -v haproxy >/dev/null || missing="haproxy"; \
	command -v nginx >/dev/null || missing="$$missing nginx-light"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
		else \
			echo "the comparison needs: $$missing (on Debian: sudo apt-get install $$missing)" >&2; exit 1; \
		fi; \
	fi
	@mkdir -p $(TARGET)/tmp/clients/collector $(TARGET)/tmp/clients/rotel
	cd tests/clients/collector && CGO_ENABLED=0 go build -trimpath -buildvcs=false -o $(TARGET)/tmp/clients/collector/collector .
	@test -x $(TARGET)/tmp/clients/rotel/rotel/rotel-agent || { \
		python3 -m pip install --quiet --no-deps --target $(TARGET)/tmp/clients/rotel rotel==0.0.1a15 && \
		chmod +x $(TARGET)/tmp/clients/rotel/rotel/rotel-agent; }

bench-walks: cargo ## Measure validation, splitting, JSON and queueing one by one
	$(CARGO) bench --locked --bench walks --bench queue

bench-pages: cargo ## Measure pages of the API with a million live streams
	$(CARGO) bench --locked --bench stream_pages

fuzz: cargo ## Fuzz every target for FUZZ_SECONDS (60) each; needs nightly Rust and cargo-fuzz
	@$(CARGO) +nightly fuzz --version >/dev/null 2>&1 || { \
		echo "fuzzing needs: rustup toolchain install nightly && cargo install cargo-fuzz --locked" >&2; exit 1; }
	@set -e; for target in $$($(CARGO) +nightly fuzz list); do \
		mkdir -p fuzz/corpus/$$target; \
		kept=$$(ls -d fuzz/seeds/$$target fuzz/regressions/$$target 2>/dev/null || true); \
		$(CARGO) +nightly fuzz run $$target fuzz/corpus/$$target $$kept -- -max_total_time=$(FUZZ_SECONDS); \
	done

simulate: cargo ## Run new seeds of the simulation for SIMULATE_SECONDS (300)
	SLUICE_SEED=$(SIMULATE_SEED) SLUICE_SIMULATE_SECONDS=$(SIMULATE_SECONDS) \
		$(CARGO) test --locked --test simulation as_many_seeds -- --ignored --nocapture

crash: cargo ## Kill Sluice CRASHES (500) times under load, and restart it a quarter as often
	CRASH_SEED=$(CRASH_SEED) CRASHES=$(CRASHES) $(CARGO) test --locked --test crash -- --nocapture

soak: cargo ## Run at load with faults for SOAK_SECONDS (600): memory, files, tasks and disk have to stay flat
	SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test --locked --test crash what_it_needs -- --ignored --nocapture

fmt: cargo ## Format the code
	$(CARGO) fmt

lint: cargo ## Check the formatting, and clippy with warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

docs: cargo ## Build the code's documentation, warnings as errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

book: cargo ## Make a static site of docs/ in target/book, by mdBook, which is installed below target/ if it is not there
	deploy/book target/book

reference: cargo ## Write the reference and the tables in docs/configuration.md anew from the code
	UPDATE_DOCS=1 $(CARGO) test --locked --lib documentation

dist: cargo ## Make dist/: programs, Debian packages and SBOM for amd64 and arm64, the Helm chart, and the rest of deploy/
	deploy/dist

image: ## Build the container image sluice:dev
	docker build -t sluice:dev .
