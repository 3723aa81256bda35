# nix.sh VERSION TARGET: builds the tests of the crate `nix`, from the machine's own registry, as static programs.
set -e
work=$2.build
rm -rf "$work"
mkdir -p "$work/fetch/src" "$2"
printf '[package]\nname = "fetch"\nedition = "2021"\n[dependencies]\nnix = "=%s"\n' "$1" >"$work/fetch/Cargo.toml"
: >"$work/fetch/src/lib.rs"
cd "$work/fetch"
cargo vendor --quiet "$work/vendor" >/dev/null
mv "$work/vendor/nix" "$work/nix"
cd "$work/nix"
rm -f .cargo-checksum.json
CARGO_TARGET_DIR=$work/target CARGO_PROFILE_TEST_DEBUG=0 RUSTFLAGS='-Ctarget-feature=+crt-static' \
    cargo test --quiet --no-run --all-features --target x86_64-unknown-linux-gnu --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | sort -u |
    while read -r program; do
        name=$(basename "$program")
        cp "$program" "$2/${name%-*}"
    done
rm -rf "$work"
