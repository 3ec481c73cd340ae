# Marquee's commands. `make demo` and `make test` are all a fresh clone needs: they set up what they use.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := build

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOBUILD := go build -trimpath -ldflags "-X main.version=$(VERSION)"
PKGS ?= ./...
FUZZTIME ?= 10s
# Parallel test packages: each may start engines of its own.
P ?= 2

BUF_VERSION := v1.75.0
PROTOC_GEN_GO_VERSION := v1.36.12
PROTOC_GEN_CONNECT_VERSION := v1.21.1
GOLANGCI_VERSION := v2.15.0
HNSWLIB_VERSION := 0.8.0
FAISS_VERSION := 1.15.1
NUMPY_VERSION := 2.3.4

.PHONY: setup build demo test test-portable test-arm64 race lint fuzz e2e hard-filters generate generate-check kafka kafka-jars crash bench bench-ann bench-als bench-vec bench-scale bench-twotower bench-eval bench-ingest bench-serving lake-readers onnx-readers notebooks typescript-client results clean help

help: ## Show these commands.
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: ## Fetch modules and the two native libraries (pinned and checksummed).
	@go mod download
	@go run ./internal/native/fetch

build: setup ## Build bin/marquee.
	@$(GOBUILD) -o bin/marquee ./cmd/marquee

demo: build ## Simulated catalogue and viewers: ingest, train, serve, on the embedded engines.
	@bin/marquee demo

test: setup test-portable ## Run every test; prints what had to be left out on this machine.
	@go test -json -p $(P) -timeout 20m $(PKGS) | go run ./internal/tools/testreport

# What has assembly in it or stands on what has. Left out is what trains on real data and the recall of large indexes: no matter of the
# processor.
PORTABLE := ./internal/vec ./training/gbdt/forest ./training/foldin ./training/als ./training/knn ./training/ease ./eval/metric
PORTABLE_SKIP := NCFMovieLens|TestRecall$$|FilteredRecall
# An emulated processor takes twenty times as long: there, of ann, what searches and stores, and of the solvers what trains once.
ARM64_ANN := Small|Heaps|Keys|Bitmap|Pool|Quantize|Lift
ARM64_SKIP := $(PORTABLE_SKIP)|LossFalls|InexactSolversNever|EverySolver|Deterministic|SolversAgree

test-portable: ## Run the kernels' tests, and those of what stands on them, with the assembly switched off.
	@go test -tags purego -skip '$(PORTABLE_SKIP)' $(PORTABLE) ./ann

test-arm64: ## The same for arm64, with small sets, under qemu (Debian: qemu-user-static).
	@command -v qemu-aarch64-static >/dev/null || { echo "missing qemu-aarch64-static; install: qemu-user-static" >&2; exit 1; }
	@CGO_ENABLED=0 GOARCH=arm64 go test -short -timeout 15m -skip '$(ARM64_SKIP)' -exec qemu-aarch64-static $(PORTABLE)
	@CGO_ENABLED=0 GOARCH=arm64 go test -short -exec qemu-aarch64-static -run '$(ARM64_ANN)' ./ann

race: setup ## Run every test under the race detector.
	@go test -race -json -p $(P) -timeout 40m $(PKGS) | go run ./internal/tools/testreport

e2e: build ## Run only the end-to-end tests of the real binary.
	@go test -json -count=1 -timeout 20m ./cmd/marquee | go run ./internal/tools/testreport

fuzz: setup ## Run every fuzzer for FUZZTIME.
	@set -e; grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do \
		for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | sed 's/^func //'); do \
			echo "== $$dir $$f"; go test -run='^$$' -fuzz="^$$f\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=5x "$$dir"; \
		done; done

RUNS ?= 100
SEED ?= 0
crash: setup kafka-jars ## Kill everything RUNS times at random moments; an acknowledged event must be stored once. SEED repeats.
	@go run ./internal/testkit/crashrun -runs $(RUNS) -seed $(SEED)

ANSWERS ?= 1000000
hard-filters: setup ## Check ANSWERS random answers of the service: not one title that its viewer must not be shown, on every rung.
	@SERVING_ANSWERS=$(ANSWERS) go test -count=1 -timeout 4h -v -run TestHardFiltersHoldOnEveryRung ./serving

bench: setup ## Run every Go benchmark once.
	@go test -run='^$$' -bench=. -benchmem $(PKGS)

# The peers of bench-ann live outside the project, one environment a set of versions. Compiled here, for this processor.
ANN_PEERS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/marquee-peers/ann-hnswlib$(HNSWLIB_VERSION)-faiss$(FAISS_VERSION)-numpy$(NUMPY_VERSION)

$(ANN_PEERS)/ready:
	@rm -rf $(@D) && python3 -m venv $(@D)
	@$(@D)/bin/pip -q install --disable-pip-version-check numpy==$(NUMPY_VERSION) faiss-cpu==$(FAISS_VERSION) pybind11==3.1.0 setuptools==80.9.0 wheel==0.45.1
	@CFLAGS="-O3 -march=native" $(@D)/bin/pip -q install --disable-pip-version-check --no-build-isolation --no-cache-dir --no-binary hnswlib hnswlib==$(HNSWLIB_VERSION)
	@touch $@

bench-ann: setup $(ANN_PEERS)/ready ## Measure nearest-neighbour search against hnswlib and faiss; QUICK=1: under three minutes. SETS=100k,1m,gowalla,128: only these; MEMORY=1: memory and opening.
	@go run ./cmd/benchann -python $(ANN_PEERS)/bin/python $(if $(QUICK),-quick) $(if $(MEMORY),-memory) $(if $(SETS),-sets $(SETS))

IMPLICIT_VERSION := 0.7.3
ALS_PEERS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/marquee-peers/als-implicit$(IMPLICIT_VERSION)-numpy$(NUMPY_VERSION)

$(ALS_PEERS)/ready:
	@rm -rf $(@D) && python3 -m venv $(@D)
	@$(@D)/bin/pip -q install --disable-pip-version-check --only-binary=:all: implicit==$(IMPLICIT_VERSION) numpy==$(NUMPY_VERSION)
	@touch $@

bench-als: setup $(ALS_PEERS)/ready ## Measure ALS training against implicit; QUICK=1: under three minutes. SETS=gowalla,ml-1m,zipf-1m,zipf-10m: only these.
	@go build -o bin/benchals ./cmd/benchals && bin/benchals -python $(ALS_PEERS)/bin/python -data $(DATA) $(if $(QUICK),-quick) $(if $(SETS),-sets $(SETS))

bench-vec: $(ALS_PEERS)/ready ## Write internal/vec/BENCHMARK.md: the kernels beside gonum and OpenBLAS, as shares of this processor's peak.
	@go build -o bin/benchvec ./cmd/benchvec && bin/benchvec -openblas "$$(echo $(ALS_PEERS)/lib/python3*/site-packages/numpy.libs/libscipy_openblas64_*.so)" >bin/vec.md && mv bin/vec.md internal/vec/BENCHMARK.md

SIZES ?= 1000000,10000000,100000000
bench-scale: ## Write training/als/SCALE.md: ALS on 1, 10 and 100 million synthetic interactions (SIZES); takes 6 GB and some minutes.
	@go build -o bin/benchals ./cmd/benchals && bin/benchals -scale $(SIZES) -iterations 2 >bin/scale.md && mv bin/scale.md training/als/SCALE.md

# The peer of bench-twotower: PyPI's build of PyTorch, on the processor alone.
TORCH_VERSION := 2.15.0
TWOTOWER_PEERS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/marquee-peers/twotower-torch$(TORCH_VERSION)-numpy$(NUMPY_VERSION)

$(TWOTOWER_PEERS)/ready:
	@rm -rf $(@D) && python3 -m venv $(@D)
	@$(@D)/bin/pip -q install --disable-pip-version-check --only-binary=:all: torch==$(TORCH_VERSION) numpy==$(NUMPY_VERSION)
	@touch $@

bench-twotower: setup $(TWOTOWER_PEERS)/ready ## Measure training of two towers against PyTorch, under six minutes; QUICK=1: under three.
	@go build -o bin/benchtwotower ./cmd/benchtwotower && bin/benchtwotower -python $(TWOTOWER_PEERS)/bin/python $(if $(QUICK),-quick)

# The peers of bench-eval; ranx does not read pandas 3's frames.
RANX_VERSION := 0.3.21
PANDAS_VERSION := 2.3.3
EVAL_PEERS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/marquee-peers/eval-ranx$(RANX_VERSION)-pandas$(PANDAS_VERSION)-numpy$(NUMPY_VERSION)

$(EVAL_PEERS)/ready:
	@rm -rf $(@D) && python3 -m venv $(@D)
	@$(@D)/bin/pip -q install --disable-pip-version-check --only-binary=:all: ranx==$(RANX_VERSION) pandas==$(PANDAS_VERSION) numpy==$(NUMPY_VERSION)
	@touch $@

DATA ?= ../shared/data
bench-eval: setup $(EVAL_PEERS)/ready ## Measure ranking and judging of gowalla (in DATA) against numpy and ranx.
	@go build -o bin/bencheval ./eval/bench && bin/bencheval -python $(EVAL_PEERS)/bin/python -data $(DATA)/gowalla

results: build ## Write eval/RESULTS.md: offline results on the published data sets in DATA.
	@DATA=$(DATA) eval/results.sh

bench-ingest: build ## Measure RecordEvents into both sinks; QUICK=1: under three minutes. BROKER=kafka://HOST: that broker.
	@go run ./cmd/benchingest -marquee bin/marquee

bench-serving: build ## Measure Recommend and HomePage over HTTP beside arriving events; QUICK=1: under three minutes. LARGE=1: 200,000 titles too. OVERLOAD=60s: twice the peak.
	@go build -o bin/benchserving ./cmd/benchserving && bin/benchserving -marquee bin/marquee $(if $(LARGE),-large) $(if $(OVERLOAD),-overload $(OVERLOAD)) $(if $(WORLDS),-dir $(WORLDS))

# The tools that a test reads the lake with live outside the project, as the peers of bench-ann do.
LAKE_READERS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/marquee-peers/lake-readers

lake-readers: $(LAKE_READERS)/ready ## Fetch pyarrow, polars, pandas and DuckDB, which a test reads the lake with.

$(LAKE_READERS)/ready: ingest/compact/testdata/requirements.txt
	@rm -rf $(@D) && python3 -m venv $(@D)
	@$(@D)/bin/pip -q install --disable-pip-version-check --only-binary=:all: -r $<
	@cp $< $@

ONNX_READERS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/marquee-peers/onnx-readers

onnx-readers: $(ONNX_READERS)/ready ## Fetch ONNX's checker and Python's ONNX Runtime, which a test reads our models with.

$(ONNX_READERS)/ready: training/onnx/testdata/requirements.txt
	@rm -rf $(@D) && python3 -m venv $(@D)
	@$(@D)/bin/pip -q install --disable-pip-version-check --only-binary=:all: -r $<
	@cp $< $@

# What notebooks run with; PyTorch, some gigabytes of it, is that of bench-twotower.
NOTEBOOKS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/marquee-peers/notebooks

$(NOTEBOOKS)/ready: notebooks/requirements.txt $(TWOTOWER_PEERS)/ready
	@rm -rf $(@D) && python3 -m venv $(@D)
	@grep -v '^torch==' $< | $(@D)/bin/pip -q install --disable-pip-version-check --only-binary=:all: -r /dev/stdin
	@ls -d $(TWOTOWER_PEERS)/lib/python3*/site-packages > $$(ls -d $(@D)/lib/python3*/site-packages)/torch.pth
	@cp $< $@

notebooks: setup $(NOTEBOOKS)/ready ## Run the examples of notebooks/ against a release that is trained for it.
	@MARQUEE_TEST_NOTEBOOKS_PYTHON=$(NOTEBOOKS)/bin/python go test -count=1 -v -run TestNotebooks ./cmd/marquee
# What the TypeScript client is built from, in the order of the test that asks whether it is built from that.
TYPESCRIPT_SOURCES = $(sort $(wildcard ingest/v1/*.proto)) $(sort $(wildcard catalog/v1/*.proto)) $(sort $(wildcard serving/v1/*.proto)) \
	$(sort $(wildcard client/typescript/*.json)) $(sort $(wildcard client/typescript/src/*.ts))

typescript-client: .bin/buf .cache/proto ## Generate, check and build the TypeScript client (needs Node.js and npm).
	@cd client/typescript && npm ci --silent --ignore-scripts
	@rm -rf client/typescript/src/gen client/typescript/dist
	@.bin/buf generate --template client/typescript/buf.gen.yaml
	@cd client/typescript && npm run --silent build
	@cat $(TYPESCRIPT_SOURCES) | sha256sum | cut -d' ' -f1 >client/typescript/dist/ready

kafka-jars: ## Fetch Apache Kafka's jars.
	@go run ./internal/testkit/kafkaserver -fetch

kafka: ## Start Apache Kafka in KRaft mode on 127.0.0.1:9092 until interrupted; SYNC=1: it syncs before it acknowledges.
	@go run ./internal/testkit/kafkaserver $(if $(SYNC),-sync)

lint: .bin/golangci-lint .bin/buf generate-check ## Check style, contracts and that generated code and go.mod are fresh.
	@go mod tidy -diff
	@.bin/golangci-lint run
	@.bin/buf lint
	@# The first commit holds the first contracts: since then fields are only ever added.
	@rm -rf .cache/baseline && mkdir -p .cache/baseline/.cache && cp -r .cache/proto .cache/baseline/.cache/
	@git archive "$$(git rev-list --max-parents=0 HEAD | tail -n 1)" -- buf.yaml ingest catalog serving | tar -x -C .cache/baseline
	@.bin/buf breaking --against .cache/baseline

generate: .bin/buf .bin/protoc-gen-go .bin/protoc-gen-connect-go .cache/proto ## Generate code from the contracts.
	@.bin/buf generate

generate-check: generate
	@git diff --exit-code -- '*.pb.go' '*.connect.go' || { echo "generated code is stale: run make generate and commit"; exit 1; }

.cache/proto: go.mod
	@go run ./internal/tools/protodeps -out .cache/proto && touch .cache/proto

.bin/buf:
	GOBIN=$(CURDIR)/.bin go install github.com/bufbuild/buf/cmd/buf@$(BUF_VERSION)

.bin/protoc-gen-go:
	GOBIN=$(CURDIR)/.bin go install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO_VERSION)

.bin/protoc-gen-connect-go:
	GOBIN=$(CURDIR)/.bin go install connectrpc.com/connect/cmd/protoc-gen-connect-go@$(PROTOC_GEN_CONNECT_VERSION)

.bin/golangci-lint:
	GOBIN=$(CURDIR)/.bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

clean: ## Remove what was built; keeps what was fetched.
	rm -rf bin
