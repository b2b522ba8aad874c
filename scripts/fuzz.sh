#!/usr/bin/env bash
# Fuzzes the parsers of untrusted bytes: scripts/fuzz.sh [seconds per target] [targets...]
# Needs a nightly compiler (rustup toolchain install nightly); installs cargo-fuzz into target/tools.
#
# The library has no unsafe code, so a sanitizer of memory would mostly watch tract and candle, at
# several times the build and run time: there is none unless NOMOPOLY_SANITIZER=address says so.
# NOMOPOLY_FUZZ_JOBS is how many targets run at once (2).
#
# Ends with a table, and with status 1 when something was found.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
[[ $seconds =~ ^[0-9]+$ ]] || { echo "usage: $0 [seconds per target] [targets...]" >&2; exit 2; }
shift || true
all=$(cd fuzz/fuzz_targets && printf '%s\n' *.rs | sed 's/\.rs$//')
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets <<<"$all"
for target in "${targets[@]}"; do
    grep -qx -- "$target" <<<"$all" || { echo "no target \`$target\`; there are" $all >&2; exit 2; }
done
sanitizer=${NOMOPOLY_SANITIZER:-none}
jobs=${NOMOPOLY_FUZZ_JOBS:-2}

fuzz=target/tools/bin/cargo-fuzz
[ -x "$fuzz" ] || cargo install --quiet --locked --root target/tools cargo-fuzz
host=$(rustc +nightly --version --verbose | sed -n 's/^host: //p')

# One build of everything: the targets share all but a few lines. (`cargo +nightly fuzz` would need
# cargo-fuzz in PATH; the variable is what rustup makes of `+nightly`.)
RUSTUP_TOOLCHAIN=nightly "$fuzz" fuzz build --sanitizer "$sanitizer"

out=fuzz/artifacts
mkdir -p "$out"
limit() { # the longest input that is tried
    case $1 in
        verify) echo 81 ;; # one choice and 16 edits
        receipt) echo 256 ;;
        challenge | expanded_key | bundle) echo 2048 ;;
        onnx) echo 4096 ;;
        *) echo 16384 ;;
    esac
}
dictionary() {
    case $1 in
        onnx) echo onnx ;;
        lock) echo toml ;;
        artefact | manifest) echo json ;;
        *) echo postcard ;;
    esac
}
run() {
    local target=$1 folder=$out/$1
    mkdir -p "fuzz/corpus/$target" "$folder"
    cp fuzz/seeds/"$target"/* "fuzz/corpus/$target/"
    [ ! -d "fuzz/regressions/$target" ] || cp fuzz/regressions/"$target"/* "fuzz/corpus/$target/"
    # Findings of this run are those that are newer than this file.
    touch "$folder/.start"
    "fuzz/target/$host/release/$target" "fuzz/corpus/$target" \
        -artifact_prefix="$folder/" -dict="fuzz/dictionaries/$(dictionary "$target").dict" \
        -max_total_time="$seconds" -max_len="$(limit "$target")" -rss_limit_mb=2048 -timeout=10 \
        -print_final_stats=1 >"$folder/log" 2>&1 || echo "ended with status $?" >>"$folder/log"
}
for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
    echo "fuzzing $target for $seconds s"
    run "$target" &
done
wait

found=0
printf '\n%-14s %12s %8s %9s %8s %9s\n' target executions seconds coverage corpus findings
for target in "${targets[@]}"; do
    log=$out/$target/log
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    ran=$(sed -n 's/^Done .* in \([0-9]*\) second.*/\1/p' "$log" | tail -n 1)
    coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2 || true)
    corpus=$(find "fuzz/corpus/$target" -type f | wc -l)
    findings=$(find "$out/$target" -newer "$out/$target/.start" -type f ! -name log ! -name .start)
    count=$(grep -c . <<<"$findings" || true)
    # A run that broke off without an input has found something, too.
    if [ "$count" -eq 0 ] && grep -q '^ended with status' "$log"; then count='?'; fi
    printf '%-14s %12s %8s %9s %8s %9s\n' \
        "$target" "${executions:--}" "${ran:--}" "${coverage:--}" "$corpus" "$count"
    if [ "$count" != 0 ]; then
        found=1
        problems+=("$target: see $log")
        while read -r file; do
            [ -z "$file" ] || problems+=("    mkdir -p fuzz/regressions/$target && cp $file fuzz/regressions/$target/WHAT_IT_IS")
        done <<<"$findings"
    fi
done
if [ "$found" -ne 0 ]; then
    printf '\nFound something. Keep each input as a regression under a name that says what it is:\n'
    printf '%s\n' "${problems[@]}"
    echo 'then `cargo test --test untrusted` fails until it is mended, on any compiler.'
    echo 'fuzz/target/'"$host"'/release/TARGET FILE runs one input alone;'
    echo 'with -minimize_crash=1 -runs=100000 it looks for a shorter one.'
    exit 1
fi
echo 'nothing was found'
