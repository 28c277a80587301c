# shellcheck shell=bash
# The Debian 12 packages that Penstock is built with, and how they get here.

# To configure and build everything, tests included, and to run the demo. Each is named by what asks for it.
build_packages=(
  build-essential cmake ninja-build ccache pkg-config lld         # tools
  libgrpc++-dev protobuf-compiler-grpc                            # gRPC
  protobuf-compiler libprotobuf-dev                               # Protobuf
  librocksdb-dev libxxhash-dev                                    # storage
  libabsl-dev libspdlog-dev libfmt-dev                            # status, time, logs, text
  libcli11-dev libyaml-cpp-dev nlohmann-json3-dev                 # flags, YAML, JSON
  libcpp-httplib-dev libssl-dev zlib1g-dev libbrotli-dev          # HTTP and what it is compiled with
  prometheus-cpp-dev                                              # metrics
  libjemalloc-dev                                                 # the broker's memory
  libexpat1-dev                                                   # JUnit XML
  libsqlite3-dev                                                  # an example: a store that refuses stale workers
  tzdata                                                          # time zones of schedules, when it runs
  libgtest-dev libgmock-dev python3 valgrind                      # tests
)

# To run all tests.
# shellcheck disable=SC2034  # deploy/demo does not need them.
test_packages=(
  openssl                                                         # certificates for the tests of TLS
  python3-grpcio python3-grpc-tools                               # the Python example
)

# For the rest of deploy/test.
# shellcheck disable=SC2034  # deploy/demo does not need them.
check_packages=(
  git                                                             # what changed
  clang llvm libclang-rt-14-dev clang-format clang-tidy shellcheck  # sanitizers (with names for what they find) and checks
)

# missing_packages NAME...: those that are not installed, one a line.
missing_packages() {
  local name installed
  installed=$(dpkg-query --show --showformat '${db:Status-Abbrev} ${Package}\n' "$@" 2>/dev/null |
    awk '$1 == "ii" { print $2 }') || true
  for name in "$@"; do
    grep -qxF -- "$name" <<<"$installed" || printf '%s\n' "$name"
  done
}

# as_root COMMAND...: runs it as root.
as_root() {
  if ((EUID == 0)); then
    "$@"
  elif [[ -t 0 ]]; then
    sudo -- "$@"
  else
    sudo -n -- "$@"
  fi
}

# why_apt_failed LOG: a few words.
why_apt_failed() {
  if grep -qE 'Temporary failure resolving|Could not (resolve|connect)|Unable to connect|Connection timed out|Network is unreachable' "$1"; then
    echo 'no network'
  elif grep -qiE 'No space left on device|enough free space' "$1"; then
    echo 'no room on the disk'
  elif grep -qE 'Could not get lock' "$1"; then
    echo 'another program is installing packages'
  elif grep -qE 'a password is required|not in the sudoers' "$1"; then
    echo 'sudo asks for a password and there is no terminal to type it'
  else
    local line
    line=$(grep -E '^E: ' "$1" | tail -n 1) || true
    echo "${line:-apt-get failed}"
  fi
}

# ensure_packages LOG NAME...: installs what is missing; apt-get is not called when nothing is.
ensure_packages() {
  local log=$1
  shift
  command -v dpkg-query >/dev/null ||
    fail "cannot check packages: this is no Debian. Build by hand instead: cmake --workflow --preset dev."
  local missing
  mapfile -t missing < <(missing_packages "$@")
  if ((${#missing[@]} == 0)); then
    note "all $# are installed"
    return
  fi
  local again="Packages missing: ${missing[*]}. Install them and call again."
  if ((EUID != 0)) && ! command -v sudo >/dev/null; then
    fail "cannot install packages: you are not root and there is no sudo. $again"
  fi
  note "installing ${#missing[@]} packages and what they need: ${missing[*]}"
  mkdir -p "${log%/*}"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120)
  local install=("${apt[@]}" install -y --no-install-recommends "${missing[@]}")
  : >"$log"
  # The lists on this machine may do; if they are missing or too old, fetch them once.
  if ! as_root "${install[@]}" >>"$log" 2>&1; then
    # Somebody else's broken source is no reason to give up.
    as_root "${apt[@]}" update >>"$log" 2>&1 || true
    if ! as_root "${install[@]}" >>"$log" 2>&1; then
      tail -n 5 "$log" | indent >&2
      fail "cannot install packages: $(why_apt_failed "$log"). $again"
    fi
  fi
}
