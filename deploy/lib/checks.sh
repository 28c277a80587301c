# shellcheck shell=bash
# The steps of deploy/test: each is run by check, which keeps its result and time for the summary.

tests_passed=0
tests_failed=0
results=()  # one line a step
minutes_max=''  # no step begins after so long; empty: however long it takes

# check NAME COMMAND...: announces the step, runs it, and goes on also when it fails. 0: passed or left out, 1: failed. The
# command's 3: nothing to do.
check() {
  local name=$1 began=$SECONDS status=0 word
  shift
  if [[ -n "$minutes_max" ]] && ((SECONDS >= minutes_max * 60)); then
    skip "$name" "$minutes_max minutes are over"
    return 0
  fi
  local failed_before=$tests_failed
  step "$name"
  "$@" || status=$?
  case $status in
    0) word=passed ;;
    3) word=skipped status=0 ;;
    *)
      word=failed
      # A step without tests counts as one, so that the last line never looks well when something failed.
      if ((tests_failed == failed_before)); then tests_failed=$((tests_failed + 1)); fi
      ;;
  esac
  results+=("$(printf '%-8s %-10s %s' "$word" "$(duration_text $((SECONDS - began)))" "$name")")
  return "$status"
}

# skip NAME WHY: a step that does not run.
skip() {
  step "$1"
  note "skipped: $2"
  results+=("$(printf '%-8s %-10s %s' skipped '-' "$1: $2")")
}

# summary: one line a step, then the counts. Fails if anything failed.
summary() {
  printf '\n'
  printf '%s\n' "${results[@]}"
  printf '%d passed, %d failed\n' "$tests_passed" "$tests_failed"
  ((tests_failed == 0))
}

# run_tests PRESET: what the test preset selects, and adds to the counts.
run_tests() {
  local log="$root/build/logs/test-$1.log" status=0
  # Old sanitizer runtimes cannot place their memory where newer kernels randomise much; without randomising they can.
  local fixed=()
  if setarch "$(uname -m)" --addr-no-randomize true 2>/dev/null; then
    fixed=(setarch "$(uname -m)" --addr-no-randomize)
  fi
  (cd -- "$root" && "${fixed[@]}" ctest --preset "$1" --parallel "$jobs" --no-tests=error --no-label-summary 2>&1) | tee "$log" | indent || status=1
  local line
  line=$(grep -E '^[0-9]+% tests passed, [0-9]+ tests failed out of [0-9]+' "$log") || true
  if [[ "$line" =~ passed,\ ([0-9]+)\ tests\ failed\ out\ of\ ([0-9]+) ]]; then
    tests_failed=$((tests_failed + BASH_REMATCH[1]))
    tests_passed=$((tests_passed + BASH_REMATCH[2] - BASH_REMATCH[1]))
  else
    complain "ctest --preset $1 ended without a result; see $log."
    status=1
  fi
  return "$status"
}

# run_demo: deploy/demo, in folders and on ports of its own.
run_demo() {
  local folder port status=0
  folder=$(mktemp -d)
  for port in $(shuf --input-range=20000-29998 --head-count=20); do
    if [[ -z "$(port_owner "$port")$(port_owner $((port + 1)))" ]]; then break; fi
  done
  "$root/deploy/demo" --out "$folder/reports" --port "$port" --jobs "$jobs" 2>&1 | indent || status=1
  if ((status == 0)) && [[ ! -s "$folder/reports/The-whole-run.html" ]]; then
    complain 'deploy/demo made no report of the whole run.'
    status=1
  fi
  rm -rf -- "$folder"
  return "$status"
}

# git_here ARGUMENT...: git in this project, also when it belongs to another user than the one who tests.
git_here() { git -c safe.directory='*' -C "$root" "$@"; }

# our_files PATTERN...: this project's files, those not committed yet included, each ended by a zero byte.
our_files() {
  git_here ls-files -z --cached --others --exclude-standard --deduplicate -- "$@" |
    while IFS= read -r -d '' file; do
      if [[ -f "$root/$file" ]]; then printf '%s\0' "$file"; fi
    done
}

check_format() {
  local wrong
  wrong=$(cd -- "$root" && our_files '*.cc' '*.h' | xargs -0 -r clang-format --dry-run -Werror 2>&1 |
    sed -n 's/^\([^:]*\):[0-9]*:[0-9]*: error: .*/\1/p' | sort -u) || true
  if [[ -n "$wrong" ]]; then
    indent <<<"$wrong"
    complain 'the files above are not formatted: clang-format -i FILE does it.'
    return 1
  fi
}

# Each script with all that it sources.
check_scripts() {
  (cd -- "$root" && our_files deploy .ci tests | xargs -0 -r grep -lZE -m 1 '^#!.*bash' |
    xargs -0 -r shellcheck --external-sources --check-sourced --source-path=SCRIPTDIR)
}

# changed_sources: the .cc files that differ from where this branch left the main line (or, on the main line, from the
# commit before the last), those that changed most first.
changed_sources() {
  local base
  base=$(git_here merge-base HEAD origin/HEAD 2>/dev/null) || base=$(git_here merge-base HEAD origin/main 2>/dev/null) || base=''
  if [[ -z "$base" || "$base" == "$(git_here rev-parse HEAD 2>/dev/null)" ]]; then
    base=$(git_here rev-parse --verify --quiet HEAD~1) || base=''
  fi
  if [[ -z "$base" ]]; then
    # The first commit: everything is new.
    (cd -- "$root" && our_files '*.cc' | xargs -0 -r wc -l | awk '$2 != "total" { print $1, $2 }')
  else
    git_here diff --numstat --no-renames --diff-filter=d "$base" -- '*.cc' | awk '{ print $1 + $2, $3 }'
    (cd -- "$root" && git_here ls-files -z --others --exclude-standard -- '*.cc' | xargs -0 -r wc -l | awk '$2 != "total" { print $1, $2 }')
  fi | sort -rn | cut -d ' ' -f 2-
}

# check_tidy PRESET MOST: clang-tidy on at most MOST files of what changed, compiled as in PRESET.
check_tidy() {
  local database="$root/build/$1/compile_commands.json" most=$2 file files=() left_out=()
  while IFS= read -r file; do
    if ! grep -qF "\"$root/$file\"" "$database"; then
      continue  # not compiled in this preset
    elif ((${#files[@]} < most)); then
      files+=("$file")
    else
      left_out+=("$file")
    fi
  done < <(changed_sources)
  if ((${#files[@]} == 0)); then
    note 'no source file changed'
    return 3
  fi
  note "${#files[@]} changed files"
  if ((${#left_out[@]} > 0)); then
    note "left out, as $most at once are enough: ${#left_out[@]} files that changed less (${left_out[0]}, ...)"
  fi
  (cd -- "$root" && printf '%s\0' "${files[@]}" |
    xargs -0 -n 1 -P "$jobs" clang-tidy --quiet --warnings-as-errors='*' -p "build/$1" 2>/dev/null | indent)
}
