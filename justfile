# The only commands anyone types, CI included. Without just: ./ci/just RECIPE.

set quiet

xtask := "cargo run --quiet --package xtask --"
target := env("CARGO_TARGET_DIR", "target")

# List the recipes
[private]
default:
    '{{ just_executable() }}' --justfile '{{ justfile() }}' --list --unsorted

# Every request's way through every plugin, in a real Envoy; --keep stays up
[group('try')]
demo *flags: build-all
    {{ xtask }} demo {{ flags }}

# A plugin's example on :10000, with an echo upstream, until Ctrl-C
[group('try')]
run plugin *flags: (build plugin)
    {{ xtask }} run {{ plugin }} {{ flags }}

# The Envoy filter that istiod would make of a WasmPlugin
[group('try')]
render wasmplugin *flags: _xtask
    {{ xtask }} render {{ wasmplugin }} {{ flags }}

# Istio's extraStatTags and Envoy's stats_tags for a custom-metrics configuration
[group('try')]
stats-tags config: _xtask
    {{ xtask }} stats-tags {{ config }}

# The plugins there are; --registry [HOST/PATH] with what is published of them
[group('build')]
list *flags: _xtask
    {{ xtask }} list {{ flags }}

# dist/<plugin>/plugin.wasm and its WasmPlugin
[group('build')]
build +plugins: _xtask
    {{ xtask }} build {{ plugins }}

# Every plugin into dist/
[group('build')]
build-all: _xtask
    {{ xtask }} build-all

# Whether what is in dist/ loads into Envoy, leaks nothing and is small
[group('build')]
check-wasm *plugins: _xtask
    {{ xtask }} check-wasm {{ plugins }}

# dist/<plugin>/image, an OCI image with a digest that repeats; --artifact for two layers
[group('publish')]
image plugin *flags: (build plugin)
    {{ xtask }} image {{ plugin }} {{ flags }}

# A plugin's image to a registry, tagged with its version; --registry HOST/PATH
[group('publish')]
push plugin *flags: (build plugin)
    {{ xtask }} push {{ plugin }} {{ flags }}

# Every plugin's image to a registry, or none where a version is taken
[group('publish')]
push-all *flags: build-all
    {{ xtask }} push {{ flags }}

# The module out of an image, by tag or digest; -o FILE
[group('publish')]
pull reference *flags: _xtask
    {{ xtask }} pull {{ reference }} {{ flags }}

# Whether Istio takes a plugin from these images (references or layouts), and why not
[group('publish')]
verify-image +images: _xtask
    {{ xtask }} verify-image {{ images }}

# Start a plugin, a copy of ci/template
[group('write')]
[positional-arguments]
new name *flags: _xtask
    {{ xtask }} new "$@"

# Write manifests/base/ and the README's table from each plugin's Cargo.toml and example.yaml
[group('write')]
manifests *flags: _xtask
    {{ xtask }} manifests {{ flags }}

# Format
[group('write')]
fmt: _toolchain
    cargo fmt --all

# Everything: native tests, the modules, then the modules in Envoy
[group('check')]
test: test-native build-all (build "template") check-wasm (check-wasm "template") test-copies e2e path-confusion (validate "manifests")

# Native tests, of one crate or of all
[group('check')]
test-native crate="": _toolchain
    cargo test --all-features {{ if crate == "" { "--workspace --exclude e2e" } else { "--package " + crate } }}

# In copies of this checkout: the same module from two directories, and docs/adding-a-plugin.md followed literally
[group('check')]
test-copies: _toolchain
    JUST='{{ just_executable() }}' cargo test --package xtask --test copies -- --ignored --skip mutants::

# Mistakes made on purpose in a copy of this checkout: each must make a test that names it fail
[group('check')]
mutants: _toolchain
    cargo test --package xtask --test copies -- --include-ignored --nocapture mutants::

# The modules in a real Envoy
[group('check')]
e2e *flags: build-all (build "template") _probe
    cargo test --package e2e {{ flags }}

# Spellings of protected paths, through the plugins to real web servers: no server may take one for what it hides
[group('check')]
path-confusion: build-all
    cargo test --package e2e --test path_confusion -- --include-ignored --nocapture --test-threads=1

# Memory under so many requests, of which no two are alike
[group('check')]
soak requests="5000000": build-all
    SOAK_REQUESTS='{{ requests }}' cargo test --package e2e --test soak -- --nocapture

# Every plugin swapped over and over for so many seconds, under all the load that there can be
[group('check')]
swap seconds="20": build-all
    ROLLOUT_SECONDS='{{ seconds }}' cargo test --package e2e --test rollout -- --nocapture no_plugin

# The modules in the releases of Envoy that Istio versions in support have (1.38.3 of PyPI was built without V8)
[group('check')]
e2e-matrix *flags: build-all (build "template") _probe
    failed=''; for version in 1.36.4 1.37.0 1.38.2 1.39.3 1.40.0; do \
        echo "==> Envoy $version"; \
        ENVOY_VERSION=$version cargo test --package e2e --no-fail-fast {{ flags }} || failed="$failed $version"; \
    done; \
    [ -z "$failed" ] || { echo "failed with Envoy$failed" >&2; exit 1; }

# Format, lints, callbacks against code, manifests against Cargo.toml
[group('check')]
lint: _toolchain
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
    {{ xtask }} target
    cargo clippy --locked --package plugin-kit --package template --target wasm32-wasip1 -- -D warnings
    cargo test --quiet --package xtask --bin xtask architecture
    {{ xtask }} manifests --check

# What plugins cost beside Envoy's own filters and Lua; of all plugins or of some, --quick in two minutes
[group('check')]
bench *flags: build-all (build "template") _probe
    cargo run --quiet --package bench -- {{ flags }}

# The Grafana dashboard and the alert rules, with promtool
[group('check')]
check-observability *flags: _toolchain
    cargo test --package e2e --test custom_metrics_observability {{ flags }}

# Licences, bans and sources of the dependencies, and advisories, for which the network is needed; or one of them
[group('check')]
deny *checks: (_tool "cargo-deny" "0.20.2")
    PATH="$PWD/.tools/cargo/bin:$PATH" cargo deny check {{ if checks == "" { "licenses bans sources advisories" } else { checks } }}

# A fuzz target for two minutes: just fuzz shared/plugin-kit pattern; then flags of libFuzzer, such as -max_total_time=600
[group('check')]
fuzz crate target *flags: (_tool "cargo-fuzz" "0.13.2")
    cd '{{ crate }}' && mkdir -p fuzz/found/'{{ target }}' && \
        PATH='{{ justfile_directory() }}/.tools/cargo/bin':"$PATH" RUSTC_BOOTSTRAP=1 cargo fuzz run '{{ target }}' \
        fuzz/found/'{{ target }}' fuzz/corpus/'{{ target }}' -- -max_total_time=120 {{ flags }}

# WasmPlugins, also your own: against Istio's rules, the plugin's schema and the plugin; files, directories, - for stdin
[group('check')]
[no-cd]
[positional-arguments]
validate +paths: build-all
    cargo run --quiet --manifest-path '{{ justfile_directory() }}/Cargo.toml' --package xtask -- validate "$@"

# The plugins whose modules changed since main, or since another commit
[group('release')]
changed *base: _xtask
    {{ xtask }} changed {{ base }}

# Every plugin whose version has no tag; --dry-run prints the commands
[group('release')]
release *flags: _xtask
    {{ xtask }} release {{ flags }}

# A release from one stage into the next: just promote path-rewrite dev staging
[group('release')]
promote plugin from to: _xtask
    {{ xtask }} promote {{ plugin }} {{ from }} {{ to }}

# The bill of materials and the provenance of a built plugin, into dist/
[group('release')]
attest plugin: _xtask
    {{ xtask }} attest {{ plugin }}

# Remove what builds leave; what was installed into .tools/ stays
[group('write')]
clean:
    rm -rf dist
    cargo clean

# The Rust of rust-toolchain.toml
[private]
_toolchain:
    export RUSTUP_AUTO_INSTALL=0; \
    { cargo --version && cargo clippy --version && cargo fmt --version; } >/dev/null 2>&1 || { \
        channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml); \
        echo "installing Rust $channel with rustup: rust-toolchain.toml asks for it" >&2; \
        rustup toolchain install --no-self-update --profile minimal --component clippy --component rustfmt "$channel"; }

# The SDK without the kit, for the benchmark to compare with
[private]
_probe: _xtask
    {{ xtask }} target
    cargo build --quiet --locked --release --package probe --lib --examples --target wasm32-wasip1

# A program of the Rust package registry, into .tools/
[private]
_tool name version: _toolchain
    [ -x '.tools/cargo/bin/{{ name }}' ] || { \
        echo "building {{ name }} {{ version }}, once" >&2; \
        cargo install --quiet --locked --root .tools/cargo --version '{{ version }}' '{{ name }}'; }

# What the other recipes call
[private]
_xtask: _toolchain
    [ -e '{{ target }}/debug/xtask' ] || echo "building the tools, once" >&2
    cargo build --quiet --package xtask
