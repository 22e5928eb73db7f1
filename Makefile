# ijepad: `make help` lists the targets.
#
# One non-recursive file. Objects go to $(BUILD) (one folder per flavour); each top folder becomes
# a static library, and a program links only the objects it needs: that keeps the engine's compute
# code out of the daemon.

FLAVOUR ?= release
BUILD   := $(if $(filter release,$(FLAVOUR)),build,build/$(FLAVOUR))
CC      ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
V ?= 0
Q := $(if $(filter 1,$(V)),,@)

COMMIT := $(shell git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)

SLOWED        := -DCONTROL_DEADLINE_MS=25000
FLAGS_release := -O3 -D_FORTIFY_SOURCE=2
FLAGS_asan    := -O1 $(SLOWED) -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan    := -O1 $(SLOWED) -fsanitize=thread -fno-omit-frame-pointer
FLAGS_cov     := -O0 $(SLOWED) -w --coverage
FLAGS_fuzz    := -O1 -w -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all -fno-omit-frame-pointer

# Some warnings depend on what the optimiser and the sanitizers do: the release build decides.
CPPFLAGS := -I. -D_GNU_SOURCE
CFLAGS   := -std=gnu17 -g $(FLAGS_$(FLAVOUR)) -fno-math-errno -fno-trapping-math -ffp-contract=fast \
            -fstack-protector-strong -fPIE -fopenmp -pthread \
            -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion \
            -Wno-sign-conversion $(if $(filter release,$(FLAVOUR)),-Werror)
LDFLAGS  := $(filter -fsanitize% --coverage,$(FLAGS_$(FLAVOUR))) -pie -Wl,-z,relro,-z,now,-z,noexecstack \
            -Wl,--as-needed -fopenmp -pthread

DAEMON_LIBS := -lz -lmicrohttpd -lsystemd -lsqlite3 -ljansson -lnettle -linih -lm
DELIVER_LIBS := -lcurl -lsystemd -ljansson
ENGINE_LIBS := -ldnnl -lturbojpeg -ljpeg -lspng -lseccomp -ljansson -lnettle -lsystemd -lsqlite3 -lm

sources    = $(sort $(wildcard $(addsuffix /*.c,$(1))))
objects    = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

SRC_base   := $(call sources,base)
SRC_store  := $(call sources,store)
SRC_engine := $(call sources,gpu gpu/ops gpu/ops/host gpu/model gpu/train gpu/eval gpu/data gpu/checkpoint gpu/interop gpu/comm)
ifeq ($(FLAVOUR),fuzz) # parsers only: clang does not take the operations' attributes
SRC_engine := $(filter-out gpu/ops/host/%,$(SRC_engine))
endif
SRC_daemon := $(filter-out daemon/main.c daemon/worker.c daemon/deliver.c,$(call sources,daemon))
SRC_api    := $(call sources,api)
LIBS       := $(foreach l,api daemon store engine base,$(BUILD)/lib$(l).a)

DYGRAPHS   := $(addprefix /usr/share/javascript/dygraphs/dygraph.min.,css js)
WEBUI      := $(sort $(wildcard webui/*.html webui/*.css webui/*.js webui/*.svg)) $(DYGRAPHS)
FUZZERS    := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
UNIT_TESTS := $(patsubst %.c,$(BUILD)/%,$(call sources,tests/unit tests/ops)) $(FUZZERS)
BENCHES    := $(patsubst %.c,$(BUILD)/%,$(call sources,tests/bench))

.DEFAULT_GOAL := all
.PHONY: deb deb-test web-test all help demo test unit-programs bench bench_api bench_loader bench_peer bench_slots asan fault soak fuzz fuzz-programs format clean install
.SECONDARY:

## all: build ijepad, ijepad-worker and ijepad-webhook into build/
all: $(BUILD)/ijepad $(BUILD)/ijepad-worker $(BUILD)/ijepad-webhook

define library
$$(BUILD)/lib$(1).a: $$(call objects,$$(SRC_$(1)))
	@echo "  AR    $$@"
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach l,base store engine daemon api,$(eval $(call library,$(l))))

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(dir $@)
	@echo "  CC    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# GCC halves AVX-512's vectors unless it is told not to.
ifeq ($(shell uname -m),x86_64)
$(BUILD)/obj/gpu/ops/host/%.o: CFLAGS += -mprefer-vector-width=512
endif

# The build id changes with every commit; only this object is rebuilt.
$(BUILD)/obj/base/build.o: CPPFLAGS += -DIJ_BUILD_ID='"$(COMMIT)"'
$(BUILD)/obj/base/build.o: $(BUILD)/commit
$(BUILD)/commit: FORCE
	@mkdir -p $(BUILD)
	@echo '$(COMMIT)' | cmp -s - $@ || echo '$(COMMIT)' > $@
FORCE:
.PHONY: FORCE

$(BUILD)/ijepad: $(BUILD)/obj/daemon/main.o $(BUILD)/obj/webui.o $(LIBS)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(BUILD)/obj/daemon/main.o $(BUILD)/obj/webui.o $(LIBS) $(DAEMON_LIBS)

$(BUILD)/ijepad-worker: $(BUILD)/obj/daemon/worker.o $(LIBS)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -rdynamic -o $@ $(BUILD)/obj/daemon/worker.o $(WORKER_CUDA) $(LIBS) $(ENGINE_LIBS) \
	  $(if $(WITH_CUDA),$(CUDA_LIBS))

$(BUILD)/ijepad-webhook: $(BUILD)/obj/daemon/deliver.o $(LIBS)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(BUILD)/obj/daemon/deliver.o $(LIBS) $(DELIVER_LIBS)

# The dashboard's files as a C table.
$(BUILD)/webui.c: webui/embed.py $(WEBUI)
	@mkdir -p $(BUILD)
	$(Q)/usr/bin/python3 webui/embed.py $@ $(WEBUI)
$(BUILD)/obj/webui.o: $(BUILD)/webui.c
	@mkdir -p $(dir $@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

# ---- CUDA: CUDA=auto|0|1. The backend is linked into the worker only; cuBLASLt is loaded when the
# program runs. tests/simt compiles the same kernels for the host, with or without a toolkit. --------
CUDA       ?= auto
ifndef NVCC # NVCC="ccache nvcc" is fine too
NVCC       := $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
endif
ifeq ($(CUDA),1)
ifeq ($(NVCC),)
$(error CUDA=1, but there is no nvcc in PATH or /usr/local/cuda/bin)
endif
endif
WITH_CUDA  := $(if $(filter 0,$(CUDA)),,$(if $(NVCC),1))
CUDA_HOME  := $(patsubst %/bin/nvcc,%,$(realpath $(shell command -v $(lastword $(NVCC)))))
CUDA_LIB   := $(firstword $(wildcard $(CUDA_HOME)/lib64 $(CUDA_HOME)/targets/x86_64-linux/lib) $(CUDA_HOME)/lib64)
CUDA_ARCH  ?= -gencode arch=compute_80,code=[sm_80,compute_80] -gencode arch=compute_90a,code=sm_90a
CUDA_LIBS  := $(CUDA_LIB)/libcudart_static.a -ldl -lrt
SRC_cuda   := $(sort $(wildcard gpu/ops/cuda/*.cu))
OBJ_cuda   := $(patsubst %.cu,build/cuda/%.o,$(SRC_cuda))
NVCCFLAGS  := -std=c++17 -O3 -lineinfo --compress-mode=size --threads 1 -Werror all-warnings -Xcudafe --display_error_number \
              -Xcompiler -Wall,-Wextra,-Wno-unused-parameter,-Wno-missing-field-initializers \
              -Xcompiler -fPIE,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics,-O2 -MMD -MP
build/cuda/%.o: %.cu
	@mkdir -p $(dir $@)
	@echo "  NVCC  $<"
	$(Q)$(NVCC) $(CPPFLAGS) $(CUDA_ARCH) $(NVCCFLAGS) -c $< -o $@
WORKER_CUDA := $(if $(WITH_CUDA),$(OBJ_cuda))
$(BUILD)/ijepad-worker: $(WORKER_CUDA)
-include $(OBJ_cuda:.o=.d)

SRC_simt   := $(filter-out %/cuda_blas_load.cu,$(SRC_cuda)) $(sort $(wildcard tests/simt/*.cc))
OBJ_simt   := $(addsuffix .o,$(addprefix build/simt/,$(SRC_simt)))
SIMTFLAGS  := -std=gnu++17 -g -O2 -DSIMT_HOST -Itests/simt $(CPPFLAGS) -fPIE -fno-exceptions -fno-rtti \
              -fno-threadsafe-statics -ffp-contract=off -Wall -Wextra -Wno-missing-field-initializers \
              -Wno-unused-parameter -Wno-unknown-pragmas -Werror
# The kernels' own: every access tells tests/simt/simt_race.cc of itself and traps where it is not aligned.
build/simt/gpu/%.o: SIMTFLAGS += -fsanitize=thread,alignment -fsanitize-undefined-trap-on-error \
                                  --param tsan-instrument-func-entry-exit=0
build/simt/%.o: %
	@mkdir -p $(dir $@)
	@echo "  SIMT  $<"
	$(Q)$(CXX) $(SIMTFLAGS) -MMD -MP -x c++ -c $< -o $@
-include $(OBJ_simt:.o=.d)
# The operation suite on a GPU: one program with a runner of its own (tests/gpu), no Criterion.
OBJ_suite  := $(patsubst %.c,$(BUILD)/gpu/obj/%.o,$(call sources,tests/ops tests/gpu))
$(BUILD)/gpu/obj/%.o: %.c
	@mkdir -p $(dir $@)
	@echo "  CC    $< (GPU suite)"
	$(Q)$(CC) -Itests/gpu $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
-include $(OBJ_suite:.o=.d)
$(BUILD)/gpu/ops-suite: $(OBJ_suite) $(WORKER_CUDA) $(LIBS)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(ENGINE_LIBS) $(if $(WITH_CUDA),$(CUDA_LIBS))
# Under a sanitizer the fibres' stacks would only confuse it: there the host backend alone is tested.
SIMT_TESTS := $(if $(filter release,$(FLAVOUR)),$(OBJ_simt))

# ---- Tests: one program per file, Criterion runs each test in its own process ---------------------
$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(BUILD)/obj/webui.o $(LIBS)
	@mkdir -p $(dir $@)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcriterion $(DAEMON_LIBS) $(ENGINE_LIBS)
$(BUILD)/tests/ops/%: $(BUILD)/obj/tests/ops/%.o $(SIMT_TESTS) $(LIBS)
	@mkdir -p $(dir $@)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcriterion $(ENGINE_LIBS)
$(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o $(LIBS)
	@mkdir -p $(dir $@)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(DAEMON_LIBS) $(ENGINE_LIBS)

# A fuzz target replays its corpus under Criterion; in the flavour "fuzz" libFuzzer makes up the input.
FUZZ_MAIN  := $(if $(filter fuzz,$(FLAVOUR)),-fsanitize=fuzzer,$(BUILD)/obj/tests/fuzz/replay.o -lcriterion)
$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/obj/tests/fuzz/replay.o $(BUILD)/obj/webui.o $(LIBS)
	@mkdir -p $(dir $@)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(FUZZ_MAIN) $(BUILD)/obj/webui.o $(LIBS) $(DAEMON_LIBS) $(ENGINE_LIBS)

# Stand-ins for libraries that are opened by name.
FAKES := $(patsubst %.c,$(BUILD)/%.so,$(sort $(wildcard tests/fake/*.c)))
$(BUILD)/tests/fake/%.so: tests/fake/%.c
	@mkdir -p $(dir $@)
	@echo "  FAKE  $@"
	$(Q)$(CC) $(filter -W%,$(CFLAGS)) -Wno-missing-prototypes -D_GNU_SOURCE -std=gnu17 -g -O1 -fPIC -fvisibility=hidden \
	  -shared -o $@ $<

# With nvcc the GPU's suite is at least compiled and linked wherever the tests are.
unit-programs: $(UNIT_TESTS) $(FAKES) $(if $(filter release,$(FLAVOUR)),$(if $(WITH_CUDA),$(BUILD)/gpu/ops-suite))

## test: everything that needs no GPU; installs missing packages first
test:
	@tools/install-packages.sh test
	@$(MAKE) --no-print-directory -j$$(nproc) all unit-programs
	@tests/run.sh $(BUILD) $(UNIT_TESTS)

## web-test: of the tests only those of the dashboard in a real browser (Chromium)
web-test: all
	@tools/install-packages.sh test
	IJEPAD_BUILD=$(abspath $(BUILD)) PYTHONPATH=tests/e2e /usr/bin/python3 -m pytest -q -ra tests/web

## gpu-test: the operation suite and the reference files on this machine's GPU; needs CUDA
gpu-test: $(BUILD)/gpu/ops-suite $(BUILD)/ijepad-worker
	IJEPAD_TEST_CUDA=1 $(BUILD)/gpu/ops-suite
	IJEPAD_DEVICE=cuda $(BUILD)/ijepad-worker check-golden tests/golden/*.safetensors

## gpu-bundle: build/gpu-bundle, which run.sh in it proves and times on a machine with a GPU; needs nvcc
gpu-bundle: $(if $(WITH_CUDA),$(BUILD)/gpu/ops-suite $(BUILD)/ijepad-worker,no-nvcc)
	@tests/gpu/bundle.sh $(BUILD) $(BUILD)/gpu-bundle
no-nvcc:
	@echo "there is no nvcc in PATH or /usr/local/cuda/bin" >&2; exit 1
.PHONY: gpu-test gpu-bundle no-nvcc

## demo: install what is missing, build, render scenes, pretrain, evaluate and show
demo:
	@tools/install-packages.sh build
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@tools/demo.sh $(BUILD)

## bench: engine, loader, store and API against their peers, as JSON lines in build/bench/
bench: all $(BENCHES)
	@mkdir -p $(BUILD)/bench
	@for b in $(filter-out %/loader_epochs,$(BENCHES)); do echo "  BENCH $$b"; $$b | tee $(BUILD)/bench/$$(basename $$b).jsonl; done
	@$(MAKE) --no-print-directory bench_loader bench_peer bench_api bench_slots
	@IJEPAD_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/bench/dashboard.py | tee $(BUILD)/bench/dashboard.jsonl

## bench_loader: the loader against Pillow and torchvision on the same files and crops; PYTHONS='a b' names several
bench_loader: all $(BUILD)/tests/bench/loader_epochs
	@mkdir -p $(BUILD)/bench
	@IJEPAD_BUILD=$(abspath $(BUILD)) BENCH_FLAGS='$(FLAGS_$(FLAVOUR))' /usr/bin/python3 tests/bench/loader_peer.py \
	  $(addprefix --python ,$(PYTHONS)) | tee $(BUILD)/bench/loader.jsonl
	@IJEPAD_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/bench/scan_rate.py | tee $(BUILD)/bench/scan.jsonl

## bench_peer: a training step against PyTorch's in turns; CASES='vit_small_16' does some of it
bench_peer: all
	@mkdir -p $(BUILD)/bench
	@IJEPAD_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/bench/bench_peer.py $(CASES) | tee $(BUILD)/bench/bench_peer.jsonl

## bench_api: the whole service over its sockets: lists, metrics, streams, starts, bad workers
bench_api: all
	@mkdir -p $(BUILD)/bench
	@IJEPAD_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/bench/bench_api.py $(PARTS) | tee $(BUILD)/bench/bench_api.jsonl

## bench_slots: how fast a slot is free after kill, cancel, pause and preemption
bench_slots: all
	@mkdir -p $(BUILD)/bench
	@IJEPAD_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/bench/bench_slots.py | tee $(BUILD)/bench/bench_slots.jsonl

## asan: the whole suite under AddressSanitizer and UBSan; leaks are looked for in the unit tests, as jailed workers allow no search
asan:
	@$(MAKE) --no-print-directory FLAVOUR=asan CUDA=0 all unit-programs
	@ASAN_OPTIONS=use_sigaltstack=0 LSAN_OPTIONS=suppressions=$(abspath tests/lsan.supp) \
	    PYTEST_ASAN_OPTIONS=use_sigaltstack=0:detect_leaks=0:verify_asan_link_order=0 tests/run.sh build/asan $(patsubst build/%,build/asan/%,$(UNIT_TESTS))

## tsan: the daemon under ThreadSanitizer through the end-to-end tests, with ordinary workers
tsan: all $(FAKES)
	@$(MAKE) --no-print-directory -j$$(nproc) FLAVOUR=tsan build/tsan/ijepad build/tsan/ijepad-webhook
	@mkdir -p build/tsan/tests && ln -sfn $(abspath $(BUILD))/tests/fake build/tsan/tests/fake
	@ln -sf $(abspath $(BUILD))/ijepad-worker build/tsan/ijepad-worker
	@IJEPAD_BUILD=$(abspath build/tsan) PYTHONPATH=tests/e2e TSAN_OPTIONS=halt_on_error=1 /usr/bin/python3 -m pytest -q -ra \
	    -p no:cacheprovider tests/e2e
.PHONY: tsan

## coverage: branches taken in what recovers, parses, authenticates and deletes (tests/coverage_files.txt)
coverage:
	@tools/install-packages.sh test
	@$(MAKE) --no-print-directory -j$$(nproc) FLAVOUR=cov CUDA=0 all unit-programs
	@/usr/bin/python3 tests/coverage.py run build/cov
	@/usr/bin/python3 tests/coverage.py show build/cov
.PHONY: coverage

## analyze: GCC's static analyser and cppcheck over what serves, stores and parses; any finding fails
# Off: what GCC 12 says of uninitialised values, wrong where callees fill an array; what cppcheck says of open files, as it knows
# no scoped cleanup, and of readdir, whose folders no threads share. The rest is one mistaken finding each, named with its file.
NOT_A_FINDING := resourceLeak readdirCalled missingReturn:daemon/params.c uninitvar:daemon/device_watch.c \
                 ctuuninitvar:daemon/run_erase.c nullPointerRedundantCheck:gpu/checkpoint/checkpoint.c
ANALYZED := $(addprefix build/analyze/,$(filter-out base/build.c,$(call sources,base store api daemon gpu/data gpu/checkpoint gpu/interop)))
build/analyze/%.c: %.c
	@mkdir -p $(dir $@)
	$(Q)gcc $(CPPFLAGS) -std=gnu17 -O1 -Werror -fanalyzer -Wno-analyzer-use-of-uninitialized-value -MMD -MP -MT $@ -MF $@.d -c -o /dev/null $<
	$(Q)cppcheck -q --error-exitcode=1 --std=c11 --library=posix --enable=warning,performance,portability -I. \
	    $(addprefix --suppress=,$(NOT_A_FINDING)) $<
	@touch $@
analyze:
	@tools/install-packages.sh test
	@$(MAKE) --no-print-directory -j$$(nproc) analyzed
analyzed: $(ANALYZED)
-include $(ANALYZED:=.d)
.PHONY: analyze analyzed

## install: programs, units and configuration under $(DESTDIR); a configuration that exists is kept
PREFIX ?= /usr
SYSTEMD = $(DESTDIR)$(PREFIX)/lib
UNITS   = $(addprefix systemd/,ijepad.service ijepad.socket ijepad-http.socket ijepad-webhook.service ijepad-webhook.socket)
install: all
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(BUILD)/ijepad $(BUILD)/ijepad-worker $(BUILD)/ijepad-webhook
	install -D -m 644 -t $(SYSTEMD)/systemd/system $(UNITS)
	sed -i 's|/usr/bin/ijepad|$(PREFIX)/bin/ijepad|' $(SYSTEMD)/systemd/system/ijepad.service $(SYSTEMD)/systemd/system/ijepad-webhook.service
	install -D -m 644 systemd/sysusers.conf $(SYSTEMD)/sysusers.d/ijepad.conf
	install -D -m 644 systemd/tmpfiles.conf $(SYSTEMD)/tmpfiles.d/ijepad.conf
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/ijepad systemd/README.md systemd/nccl.conf docs/api.md docs/configuration.md docs/logging.md docs/store.md LICENSE
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man8 docs/man/ijepad.8 docs/man/ijepad-webhook.8
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 docs/man/ijepad-worker.1 docs/man/ijepactl.1
	install -D -m 755 tools/ijepactl $(DESTDIR)$(PREFIX)/bin/ijepactl
	test -e $(DESTDIR)/etc/ijepad/ijepad.conf || install -D -m 640 systemd/ijepad.conf $(DESTDIR)/etc/ijepad/ijepad.conf

## deb: a Debian package into build/deb/, by dpkg-buildpackage
deb:
	@mkdir -p build/deb
	dpkg-buildpackage -b -us -uc --changes-option=-ubuild/deb --changes-file=build/deb/ijepad.changes \
	    --buildinfo-option=-ubuild/deb --buildinfo-file=build/deb/ijepad.buildinfo
	@ls build/deb/*.deb

## deb-test: install, upgrade, remove and purge the package in a Debian root of its own; needs root
deb-test:
	tests/deb/test_package.sh

## fault: every kill, power cut, failing call and seeded bug, for more than an hour; IJEPAD_SEED repeats one
fault: all
	@tools/install-packages.sh test
	@IJEPAD_FAULT=all IJEPAD_KILLS=200 IJEPAD_BUILD=$(abspath $(BUILD)) /usr/bin/python3 -m pytest -q -s \
	    -p no:cacheprovider tests/fault tests/e2e/test_kill.py tests/e2e/test_api_matrix.py

## soak: ten minutes (SOAK_S) of mixed load with faults; memory, descriptors and threads must stay flat
soak: all
	@tools/install-packages.sh test
	@mkdir -p $(BUILD)/bench
	@IJEPAD_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/fault/soak.py --seconds $(or $(SOAK_S),600) \
	    --samples $(BUILD)/bench/soak_samples.jsonl > $(BUILD)/bench/soak.jsonl; code=$$?; cat $(BUILD)/bench/soak.jsonl; exit $$code

## fuzz: libFuzzer on each target for FUZZ_S seconds (60); what it finds goes to build/fuzz/
fuzz:
	@$(MAKE) --no-print-directory FLAVOUR=fuzz CC=clang fuzz-programs
	@tests/fuzz/fuzz.sh build/fuzz $(or $(FUZZ_S),60)
fuzz-programs: $(FUZZERS)

## format: clang-format every C file in place
format:
	clang-format -i $(shell git ls-files '*.c' '*.h')

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

## help: this list
help:
	@sed -n 's/^## \([^:]*\): /  make \1\t/p' Makefile | expand -t 20

## clean: remove build/
clean:
	rm -rf build
