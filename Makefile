# Every task a developer needs. `make demo` and `make test` do all the set-up themselves.

PYTHON ?= python3
BIN := .venv/bin
# Where the open data of the benchmarks lies.
DATA ?= $(or $(SYMPRESS_DATA),../shared/data)
STUDY := $(BIN)/sympress study

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Where PyTorch's CPU build is: the one that pip finds by itself on Linux brings 4 GB of CUDA's libraries along.
# Empty for whatever pip finds by itself; so it is where pip knows of a folder with wheels.
TORCH_INDEX ?= $(if $(PIP_FIND_LINKS)$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null),,https://download.pytorch.org/whl/cpu)
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
TORCH := --no-deps -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch

.PHONY: install
install: $(BIN)/.installed ## create .venv and install everything at the versions of constraints.txt

# The stamp lies in the environment, so that a deleted environment is installed again.
$(BIN)/.installed: pyproject.toml constraints.txt requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) --no-deps --require-hashes -r requirements.lock
	$(BIN)/python $(PIP_INSTALL) $(TORCH)
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[dev]'
	touch $@

.PHONY: lock
# UV_FIND_LINKS is where PyTorch's CPU build lies: the other build would bring CUDA's libraries along.
lock: ## write requirements.lock and requirements-demo.lock anew from constraints.txt; needs uv, and UV_FIND_LINKS set
	$(COMPILE) --extra dev -o requirements.lock
	$(COMPILE) --extra demo $(UNUSED:%=--no-emit-package %) -o requirements-demo.lock
# What the demo does without: figures for papers, vocabularies of other encoders, pictures, downloads, TF-IDF, and
# searches for settings. A command that needs one of them says so.
UNUSED := sentence-transformers matplotlib cycler fonttools kiwisolver pyparsing python-dateutil sentencepiece \
	pillow hf-xet scikit-learn joblib threadpoolctl optuna alembic mako colorlog sqlalchemy setuptools
COMPILE := uv pip compile --quiet --generate-hashes --no-header --no-annotate --no-emit-package torch \
	--python-version 3.11.7 -c constraints.txt pyproject.toml

# The demo has an environment of its own, with the least that it needs, unless everything is installed already:
# no tests of libraries, nothing for programs in C++ or TypeScript, no pip, no compiled copies of modules, and, where
# `strip` is there, no symbols that only a debugger reads. The packaged encoder is read by transformers.
DEMO := $(if $(wildcard $(BIN)/.installed),$(BIN),.venv-demo/bin)
LIBRARIES := .venv-demo/lib/python3.*/site-packages
.venv-demo/bin/.installed: pyproject.toml constraints.txt requirements-demo.lock
	$(PYTHON) -m venv --clear .venv-demo
	.venv-demo/bin/python $(PIP_INSTALL) --no-compile --no-deps --require-hashes -r requirements-demo.lock
	.venv-demo/bin/python $(PIP_INSTALL) --no-compile $(TORCH)
	.venv-demo/bin/python $(PIP_INSTALL) --no-compile --no-deps -e .
	rm -rf $(LIBRARIES)/torch/test $(LIBRARIES)/torch/include $(LIBRARIES)/onnx/backend/test
	rm -f $(LIBRARIES)/torch/bin/*[tT]est* $(LIBRARIES)/torch/bin/protoc* $(LIBRARIES)/onnxruntime/capi/libonnxruntime.so*
	find $(LIBRARIES)/bokeh/server/static -type f ! -name bokeh.min.js -delete
	find $(LIBRARIES) -type d -name tests -prune -exec rm -rf {} +
	.venv-demo/bin/python -m pip uninstall --quiet --yes --disable-pip-version-check setuptools pip
	find .venv-demo -type d -name __pycache__ -prune -exec rm -rf {} +
	-strip --strip-unneeded $(LIBRARIES)/torch/lib/libtorch_cpu.so $(LIBRARIES)/torch/lib/libtorch_python.so \
		$(LIBRARIES)/_polars_runtime*/*.so
	touch $@

.PHONY: demo demo-small
demo: $(DEMO)/.installed ## the whole study on synthetic notes, in minutes, without data or network
	PYTHONDONTWRITEBYTECODE=1 $(DEMO)/sympress demo

demo-small: $(DEMO)/.installed ## the demo in its smallest form: shows that it runs
	PYTHONDONTWRITEBYTECODE=1 $(DEMO)/sympress demo --smallest

.PHONY: test lint types docs check
# Modules are compiled once, where the environment says otherwise too: the tests start hundreds of processes.
test: install ## run the tests, two files at a time
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile

lint: install ## check style, formatting, and that imports run one way
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install ## check types
	$(BIN)/mypy

docs: install ## rewrite tables and reference pages in the documents, then build the site, offline, into site/
	$(BIN)/python -m benchmarks.documents
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

.PHONY: fuzz
COUNT ?= 10000
SEED ?= 0
fuzz: install ## read altered inputs of seven kinds (COUNT, SEED): no traceback, no abort, no memory above 1 GB
	$(BIN)/python -m benchmarks.fuzz --count $(COUNT) --seed $(SEED) --keep runs/fuzz -o runs/fuzz.json

check: lint types test ## all of the above that can fail

.PHONY: wheel spark
wheel: ## build the wheel, install it into an empty environment and ask it
	PYTHON=$(PYTHON) packaging/check-wheel.sh

spark: install ## run the Spark example of docs/extract.md; needs Java, installs PySpark (450 MB)
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt 'pyspark>=4.0' pyarrow
	$(BIN)/python -m pytest -rs tests/extract/test_spark.py

# The studies behind the tables of the README. Each is resumed if it was interrupted; its results file is
# copied to results/, from where `make docs` writes the tables.
PAPER := --protocol paper --encoder bundled --top-k 5 --epochs 5
PRESENT := --protocol clinical --windows first --task present --top-k 20 --split time --encoder bundled --strategies baseline

.PHONY: check-tables
check-tables: install ## compute the tables in results/ again from the predictions that runs/ holds
	@for found in $(wildcard runs/*/predictions.npz); do \
		table=results/$$(basename $$(dirname $$found)).json; \
		test ! -f $$table || $(BIN)/sympress report $$table --check $$found || exit 1; done

.PHONY: bench-concepts bench-convolution bench-maccrobat bench-maccrobat-pressed bench-generalize bench-negex bench-peers bench-deployed bench-throughput bench-capacity bench-extract bench-serve bench-attack bench-growth bench-evidence bench-deep-compression
.PHONY: bench-vaers-coded bench-vaers-lexicon bench-mtsamples bench-synthetic bench-present bench-budget bench-safe-all bench-pooling bench-removal bench-shape bench-strategies bench-students bench-tune
bench-vaers-coded: install ## the paper's protocol on VAERS, symptoms coded by people
	$(STUDY) --notes $(DATA)/vaers $(PAPER) --fraction 0.05 -o runs/vaers-coded
	$(call keep,vaers-coded)

bench-vaers-lexicon: install ## the same, labelled by the paper's lexicon rule
	$(STUDY) --notes $(DATA)/vaers $(PAPER) --fraction 0.05 --labels lexicon -o runs/vaers-lexicon
	$(call keep,vaers-lexicon)

bench-mtsamples: install ## the paper's protocol on MTSamples
	$(STUDY) --notes $(DATA)/mtsamples $(PAPER) -o runs/mtsamples
	$(call keep,mtsamples)

bench-synthetic: runs/NOTEEVENTS.csv.gz ## the paper's protocol on a tenth of 200,000 synthetic notes
	$(STUDY) --notes $< $(PAPER) --fraction 0.1 -o runs/synthetic
	$(call keep,synthetic)

runs/NOTEEVENTS.csv.gz: | install
	$(BIN)/sympress synth -n 200000 --format noteevents -o $@

RECIPES := safe balanced pocket micro
UNTRAINED := --recipe "untrained = vocab(keep=0.4) > quantize(int8)"
bench-present: install ## every coded symptom of a report, split by time: five recipes, TF-IDF, three seeds; six hours of a core
	$(STUDY) --notes $(DATA)/vaers $(PRESENT) --fraction 0.131 --epochs 2 --seeds 3 --transfer-fraction 1 \
		$(UNTRAINED) $(RECIPES:%=--recipe %) -o runs/vaers-present
	$(call keep,vaers-present)
	$(BIN)/sympress compare runs/vaers-present --test-fraction 0.4 -o results/present-more.json

bench-safe-all: bench-present ## safe against its teacher on every report of 2005, seed 0
	$(BIN)/sympress compare runs/vaers-present/artifacts/baseline-seed0 runs/vaers-present/artifacts/safe-seed0 \
		--notes $(DATA)/vaers --test-fraction 1 -o results/pair-safe-all.json

STRENGTHS := --recipe 'vocabulary-40 = vocab(keep=0.4)' --recipe 'vocabulary-20 = vocab(keep=0.2)' \
	--recipe 'vocabulary-7 = vocab(keep=2000)' --recipe 'activation-80 = lowrank(keep=0.8)' \
	--recipe 'activation-60 = lowrank(keep=0.6)' --recipe 'activation-40 = lowrank(keep=0.4)' \
	--recipe 'svd-60 = lowrank(keep=0.6, method=svd)' \
	--recipe 'removal-75 = prune(macs=0.75, reconstruct=true)' \
	--recipe 'removal-50 = prune(macs=0.5, reconstruct=true)' \
	--recipe 'removal-25 = prune(macs=0.25, reconstruct=true)' \
	--recipe 'bits-8 = quantize(int8)' --recipe 'bits-8-static = quantize(static)' \
	--recipe 'bits-4 = quantize(weights4)' \
	--recipe 'no-training = vocab(keep=0.4) > prune(macs=0.8, reconstruct=true) > quantize(int8)' \
	--recipe 'student-4 = distill(layers=4, choose=first, epochs=1, rate=0.0003, batch=32, dropout=0, answers=int8)' \
	--recipe 'student-2 = distill(layers=2, choose=first, epochs=1, rate=0.0003, batch=32, dropout=0, answers=int8)' \
	--recipe 'student-1 = distill(layers=1, choose=first, epochs=1, rate=0.0003, batch=32, dropout=0, answers=int8)'
bench-strategies: install ## each strategy alone at three strengths, pressed from one fine-tuned encoder
	$(STUDY) --notes $(DATA)/vaers $(PRESENT) --fraction 0.131 --epochs 2 $(STRENGTHS) -o runs/strategies
	$(call keep,strategies)

REMOVALS := --recipe "removal-75 = prune(macs=0.75, reconstruct=true)" \
	--recipe "surgeon-75 = prune(macs=0.75, score=surgeon, reconstruct=true)" \
	--recipe "removal-50 = prune(macs=0.5, reconstruct=true)" \
	--recipe "surgeon-50 = prune(macs=0.5, score=surgeon, reconstruct=true)" \
	--recipe "removal-25 = prune(macs=0.25, reconstruct=true)" \
	--recipe "surgeon-25 = prune(macs=0.25, score=surgeon, reconstruct=true)" \
	--recipe "no-training = vocab(keep=0.4) > prune(macs=0.8, reconstruct=true) > quantize(int8)" \
	--recipe "no-training-surgeon = vocab(keep=0.4) > prune(macs=0.8, score=surgeon, reconstruct=true) > quantize(int8)"
bench-removal: install ## heads and neurons removed by both scores at three strengths, without training; two hours of a core
	$(STUDY) --notes $(DATA)/vaers $(PRESENT) --fraction 0.131 --epochs 2 $(REMOVALS) -o runs/removal
	$(call keep,removal)
	$(call both_scores,removal-25,surgeon-25,25)
	$(call both_scores,removal-50,surgeon-50,50)
	$(call both_scores,no-training,no-training-surgeon,no-training)

bench-budget: bench-strategies ## a search for the recipe that meets a budget, from the same encoder; more --trials continue it; an hour of a core
	$(BIN)/sympress compress runs/strategies/artifacts/baseline-seed0 --notes $(DATA)/vaers --transfer-fraction 0.131 \
		--budget "size_mb<=6, latency_ratio<=0.1, f1_drop<=0.01" --trials 4 --epochs 1 -o runs/budget
	$(BIN)/python -m json.tool --compact --no-ensure-ascii runs/budget/search/search.json results/budget.json

TUNED := baseline distillation lowrank pruning-masked
bench-tune: $(TUNED:%=bench-tune-%) ## twelve trials of the settings of four strategies, on 5 % of the reports; minutes on a GPU

.PHONY: $(TUNED:%=bench-tune-%)
$(TUNED:%=bench-tune-%): bench-tune-%: install
	$(BIN)/sympress tune --strategy $* --trials 12 --notes $(DATA)/vaers --protocol clinical --windows first --task present --top-k 20 \
		--split time --encoder bundled --fraction 0.05 --epochs 2 -o runs/tune-$*
	$(BIN)/python -m json.tool --compact --no-ensure-ascii runs/tune-$*/$*/tune.json results/tune-$*.json

STUDENTS := --recipe "answers = distill(layers=2, choose=first, epochs=3, rate=0.0003)" \
	--recipe "states = distill(layers=2, choose=first, epochs=3, rate=0.0003, hidden=1)" \
	--recipe "relations = distill(layers=2, choose=first, epochs=3, rate=0.0003, relations=1)" \
	--recipe "removed = prune(layers=2, ffn=0.25, reconstruct=true) > distill(epochs=3, rate=0.0003)" \
	--recipe "scratch = distill(layers=2, width=384, heads=12, ffn=384, epochs=3, rate=0.001)" \
	--recipe "layers-3 = distill(layers=3, choose=first, epochs=3, rate=0.0003)" \
	--recipe "layers-1 = distill(layers=1, choose=first, epochs=3, rate=0.0003)"
bench-students: install ## students by loss, by origin and by depth, on 2 % of the reports
	$(STUDY) --notes $(DATA)/vaers $(PRESENT) --fraction 0.02 --epochs 2 $(STUDENTS) -o runs/students
	$(call keep,students)
	$(call pair,answers,states)
	$(call pair,answers,relations)
	$(call pair,scratch,removed)

bench-shape: install ## what pocket and micro cost on an encoder of Bio_ClinicalBERT's shape, at random
	$(BIN)/python -m benchmarks.shape --recipe pocket -o results/shape-pocket.json
	$(BIN)/python -m benchmarks.shape --recipe micro -o results/shape-micro.json
	$(BIN)/python -m benchmarks.shape --recipe pocket --pooling cls -o results/shape-pocket-cls.json

bench-deep-compression: install ## weights that share values, and a coded file, on the model of whole notes in the box (make model); minutes
	$(BIN)/python -m benchmarks.deep_compression runs/model/artifacts/baseline-seed0 \
		--train $(DATA)/vaers/2003VAERSData.zip \
		--validation $(DATA)/vaers/2004VAERSData.zip --test $(DATA)/vaers/2005VAERSData.zip -o results/deep-compression.json

.PHONY: model tagger
CONVOLUTION := vocab(keep=9000) > distill(student=conv, width=128, channels=192, layers=4, dilation=3, T=1, alpha=0.5, epochs=6, batch=32) > quantize(int8)
tagger: install ## the tagger in the box: a student of MACCROBAT, taught by the taggers of its five folds; hours of a core
	$(BIN)/python -m benchmarks.maccrobat --data $(DATA)/maccrobat --epochs 12 \
		--transfer $(DATA)/case_reports_unlabelled.jsonl.gz=8000 --transfer $(DATA)/mtsamples=1000 \
		--transfer $(DATA)/vaers/2003VAERSData.zip=600 --recipe "conv = $(CONVOLUTION)" --ship runs/tagger -o runs/box-tagger
	cp runs/box-tagger/maccrobat.json results/maccrobat-box.json

model: tagger ## the models in the box: the tagger, and one of whole notes from labels alone that ranks what is found
	$(BIN)/python -m benchmarks.convolution --pieces-of runs/tagger/conv -o runs/conv-encoder
	$(STUDY) --notes $(DATA)/vaers --protocol clinical --task present --labels concepts --train-from 2000 --top-k 97 \
		--split time --encoder runs/conv-encoder --strategies baseline --no-baseline-longer --seeds 3 --epochs 4 \
		--batch-size 64 --learning-rate 0.002 --max-tokens 320 --pooling maximum --recipe "small = quantize(int8)" \
		--recipe "small-fused = quantize(int8) > fuse" -o runs/model
	$(BIN)/sympress pack runs/model/artifacts/small-seed0 --rules --tagger runs/tagger/conv \
		--validation $(DATA)/vaers/2004VAERSData.zip --most-mb 4 --force -o src/sympress/runtime/box
	$(BIN)/python -m benchmarks.packed runs/model src/sympress/runtime/box -o results/box.json
	$(BIN)/python -m benchmarks.fresh runs/model --used 0.4 -o results/model-fresh.json
	$(call keep,model)

bench-concepts: install ## the 20 most frequent symptoms alone, with the word vectors that make model made; a quarter of an hour of a core
	$(STUDY) --notes $(DATA)/vaers --protocol clinical --task present --labels concepts --train-from 2000 --top-k 20 \
		--split time --encoder runs/conv-encoder --strategies baseline --no-baseline-longer --seeds 3 --epochs 4 \
		--batch-size 64 --learning-rate 0.002 --max-tokens 320 --pooling maximum --recipe "small = quantize(int8)" \
		--recipe "small-fused = quantize(int8) > fuse" -o runs/concepts-20
	$(call keep,concepts-20)

# The codes of docs/results/recipes.md, which later codes have replaced in part, and a word-vector encoder without
# attention that learns them from the reports of 2000 to 2003.
CODES := Pyrexia,Injection site hypersensitivity,Injection site oedema,Rash,Injection site pain,Pain,Pruritus,Injection site erythema,Infection,Vasodilatation,Urticaria,Drug ineffective,Agitation,Myalgia,Vomiting,Headache,Injection site mass,Convulsion,Nausea,Arthralgia
LEARN_CODES := $(STUDY) --notes $(DATA)/vaers --protocol clinical --task present --labels coded --symptoms "$(CODES)" \
	--train-from 2000 --split time --strategies baseline --no-baseline-longer --pooling maximum
WITHOUT_ATTENTION := --encoder runs/plain-conv-encoder --epochs 4 --batch-size 64 --learning-rate 0.002 --max-tokens 320 \
	--recipe "small = vocab(keep=9000) > quantize(int8)" --recipe "small-fused = vocab(keep=9000) > quantize(int8) > fuse"
bench-convolution: install ## models without attention from labels alone, and the rules fused with them; three seeds; half an hour of a core
	$(BIN)/python -m benchmarks.convolution -o runs/plain-conv-encoder
	$(LEARN_CODES) --seeds 3 $(WITHOUT_ATTENTION) -o runs/without-attention
	$(call keep,without-attention)
	$(BIN)/python -m benchmarks.fresh runs/without-attention --used 0.4 -o results/without-attention-fresh.json

.PHONY: hpo
hpo: install ## the names of the Human Phenotype Ontology that ship, from its release and benchmarks/hpo.toml
	$(BIN)/python -m benchmarks.hpo $(DATA)/ontology/hp.obo.gz -o src/sympress/labels/data/hpo/terms.tsv

POOLINGS := cls mean maximum label
bench-pooling: $(POOLINGS:%=bench-pooling-%) ## the same with each way to pool, on 2 % of the reports

.PHONY: $(POOLINGS:%=bench-pooling-%)
$(POOLINGS:%=bench-pooling-%): bench-pooling-%: install
	$(STUDY) --notes $(DATA)/vaers $(PRESENT) --fraction 0.02 --epochs 2 --pooling $* -o runs/pooling-$*
	$(call keep,pooling-$*)

MACCROBAT = $(BIN)/python -m benchmarks.maccrobat --data $(DATA)/maccrobat -o runs/maccrobat
bench-maccrobat: install ## spans of MACCROBAT, five folds by document: the tagger and the rules
	$(MACCROBAT)
	cp runs/maccrobat/maccrobat.json results/maccrobat.json
	$(BIN)/python -m benchmarks.consistency $(DATA)/maccrobat --labels Sign_symptom -o results/consistency.json

bench-maccrobat-pressed: install ## its first fold once more, pressed by balanced with unlabelled case reports
	$(MACCROBAT) --limit-folds 1 --recipe balanced --transfer $(DATA)/case_reports_unlabelled.jsonl.gz=600
	cp runs/maccrobat/maccrobat.json results/maccrobat-pressed.json

bench-generalize: install ## a later year, another source, surface forms held out of training
	$(BIN)/python -m benchmarks.generalize --notes $(DATA)/vaers --elsewhere $(DATA)/mtsamples --fraction 0.1 \
		-o runs/generalize
	cp runs/generalize/generalize.json results/generalize.json

# PEER is the Python of an environment with medspacy, that of the peers where it is made; without it the peer is left out.
PEERS := .venv-peers/bin
PEER ?= $(wildcard $(PEERS)/python)
PEER_FLAG = $(if $(PEER),--peer-python $(PEER))
bench-growth: install ## how time grows with the length of a hundred shapes of text, rules and model; half an hour of a core
	$(BIN)/python -m benchmarks.growth -o results/growth.json

bench-negex: install ## assertion on the NegEx sentences, by rules alone, beside medspaCy
	$(BIN)/python -m benchmarks.negex $(DATA)/negex/dev.tsv $(PEER_FLAG) -o results/negex.json

# The peers have an environment of their own. PyTorch comes first, since the build that they ask for brings CUDA along.
$(PEERS)/.installed: benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	$(PEERS)/python $(PIP_INSTALL) $(TORCH)
	$(PEERS)/python $(PIP_INSTALL) -r benchmarks/peers.txt
	touch $@

bench-peers: install $(PEERS)/.installed ## classifiers and extraction beside those of other libraries, which it installs; half an hour of a core
	$(BIN)/python -m benchmarks.convolution -o runs/plain-conv-encoder
	$(LEARN_CODES) --seeds 1 $(WITHOUT_ATTENTION) -o runs/peers-convolution
	$(LEARN_CODES) --seeds 1 --encoder bundled --fraction 0.05 --epochs 2 --windows first --max-tokens 512 \
		--recipe "int8 = quantize(int8)" -o runs/peers-minilm
	$(BIN)/python -m benchmarks.peer_classifiers runs/peers-convolution runs/peers-minilm --peer-python $(PEERS)/python \
		--work runs/peers -o results/peers-classifiers.json
	$(BIN)/python -m benchmarks.peers $(DATA)/mtsamples/mtsamples_sectioned.jsonl.gz --peer-python $(PEERS)/python -o results/peers.json

# The shapes of balanced and pocket after one epoch on 2 % of the reports, for what does not depend on quality.
ARTIFACTS ?= runs/deployed/artifacts
bench-deployed: install ## the artifacts that bench-throughput and bench-extract measure
	$(STUDY) --notes $(DATA)/vaers $(PRESENT) --fraction 0.02 --epochs 1 --max-tokens 256 \
		--recipe "balanced = vocab(keep=9400) > prune(heads=0.5, ffn=0.34, reconstruct=true) > distill(layers=2, choose=first, epochs=1, rate=0.0003, batch=32) > quantize(int8)" \
		--recipe "pocket = vocab(keep=8500) > distill(layers=1, width=192, heads=4, ffn=512, epochs=1, rate=0.001, batch=32) > quantize(int8)" \
		-o runs/deployed

bench-throughput: install ## windows a second of extract beside a Hugging Face pipeline, on all of MTSamples; 16 minutes
	$(BIN)/python -m benchmarks.throughput --notes $(DATA)/mtsamples --encoder bundled \
		--artifact fp32=$(ARTIFACTS)/baseline-seed0 --artifact balanced=$(ARTIFACTS)/balanced-seed0 \
		--artifact pocket=$(ARTIFACTS)/pocket-seed0 -o results/throughput.json

bench-capacity: install ## notes a second on MTSamples on one core and on all, and what a corpus takes at that
	$(BIN)/python -m benchmarks.rates $(DATA)/mtsamples --artifact rules --artifact box -o results/capacity.json

bench-extract: install ## start, memory, rate and ten kills of an extraction job, and the start of the model in the box
	$(BIN)/python -m benchmarks.extraction --model src/sympress/runtime/box --phase first \
		-o results/first-line.json
	$(BIN)/python -m benchmarks.extraction --model $(ARTIFACTS)/pocket-seed0 -o results/extract.json

bench-evidence: install ## what each rule of the default answer costs and gains; minutes, and fewer where logits are kept
	$(BIN)/python -m benchmarks.evidence --data $(DATA) -o results/evidence.json

bench-serve: install ## load on the service of the bundled model: rates, 429, slow connections, bodies of a gigabyte, SIGTERM
	$(BIN)/python -m benchmarks.serve_load --model src/sympress/runtime/box -o results/serve.json

bench-attack: install ## an attack on the service, bounded in count and time: overload, handshakes, clients that do not read, long notes
	$(BIN)/python -m benchmarks.serve_attack -o results/attack.json

define pair
$(BIN)/sympress compare runs/students/artifacts/$(1)-seed0 runs/students/artifacts/$(2)-seed0 --notes $(DATA)/vaers \
	-o results/pair-$(1)-$(2).json
endef

define both_scores
$(BIN)/sympress compare runs/removal/artifacts/$(1)-seed0 runs/removal/artifacts/$(2)-seed0 --notes $(DATA)/vaers \
	--test-fraction 0.4 -o results/pair-surgeon-$(3).json
endef

define keep
@mkdir -p results
$(BIN)/python -m json.tool --compact --no-ensure-ascii runs/$(1)/results.json results/$(1).json
endef

.PHONY: clean
clean: ## remove caches and build products; runs and .venv stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
