# shellcheck shell=bash
# What the scripts tell people: numbered steps, notes, and plain sentences when something fails.
# The script that sources this sets script_name (for instance deploy/demo) and steps_total.

if [[ -t 1 && -z "${NO_COLOR:-}" && "${TERM:-dumb}" != dumb ]]; then
  say_bold=$'\e[1m' say_red=$'\e[31m' say_yellow=$'\e[33m' say_plain=$'\e[0m'
else
  say_bold='' say_red='' say_yellow='' say_plain=''
fi
step_number=0

# step TEXT: announces the next step.
step() {
  step_number=$((step_number + 1))
  printf '%s==> [%d/%d] %s%s\n' "$say_bold" "$step_number" "$steps_total" "$1" "$say_plain"
}

# note TEXT: a line that belongs to the current step.
note() { printf '    %s\n' "$1"; }

# indent: what comes in belongs to the current step.
indent() { sed -u 's/^/    /'; }

# warn TEXT: something to know that stops nothing.
warn() { printf '%s%s: %s%s\n' "$say_yellow" "$script_name" "$1" "$say_plain" >&2; }

# complain TEXT: what went wrong, as a sentence.
complain() { printf '%s%s: %s%s\n' "$say_red" "$script_name" "$1" "$say_plain" >&2; }

# fail TEXT [CODE]: says what went wrong and what to do, and ends the script. Default code: 1.
fail() {
  complain "$1"
  exit "${2:-1}"
}

# usage_error TEXT: a wrong call.
usage_error() { fail "$1. See $script_name --help." 64; }

# duration_text SECONDS: "42 s" or "3 min 07 s".
duration_text() {
  if (($1 < 60)); then
    printf '%d s' "$1"
  else
    printf '%d min %02d s' $(($1 / 60)) $(($1 % 60))
  fi
}
