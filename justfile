# Few words for what is done often. CI runs .ci/run, which does the same.

# Formatting, lints and docs.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

# All tests.
test:
    cargo test --workspace

# Load, kill -9, restart, check.
demo:
    cargo run --release -- demo

# Guided fuzzing of a target: resp_request, redis_command, statement, payload, page, segment, image, frame_head, log,
# transport_frames, transport_handshake.
fuzz TARGET *ARGUMENTS:
    RUSTC_BOOTSTRAP=1 cargo fuzz run {{TARGET}} {{ARGUMENTS}}

# One seed of both simulators: of the order alone, and of whole replicas.
sim SEED:
    SKINK_SIM_SEED={{SEED}} cargo test -p skink-replication --test ordering every_rule_on
    SKINK_SIM_SEED={{SEED}} cargo test -p skink-tests --test simulator whole_replicas -- --nocapture

# Fresh seeds of both, each for half of so long.
sim-for MINUTES:
    SKINK_SIM_SECONDS=$(({{MINUTES}} * 30)) cargo test -p skink-replication --test ordering every_rule_on -- --nocapture
    SKINK_SIM_SECONDS=$(({{MINUTES}} * 30)) cargo test -p skink-tests --test simulator whole_replicas -- --nocapture

# A measurement, for example: just bench server --quick
bench NAME *ARGUMENTS:
    cargo build --release -p skink-shell -p skink-benches
    target/release/bench-{{NAME}} {{ARGUMENTS}}

# Everything that CI runs.
ci:
    bash .ci/run
