# shellcheck shell=bash
# Configures and builds a preset of CMakePresets.json, and shows how far it is.

# configure PRESET: only when CMake would not notice by itself that it has to.
configure() {
  local preset=$1 folder="$root/build/$1"
  local log="$root/build/logs/configure-$preset.log" fresh=()
  if [[ -f "$folder/build.ninja" && "$folder/build.ninja" -nt "$root/CMakePresets.json" ]] &&
    grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$folder/CMakeCache.txt"; then
    return
  fi
  # A folder that was copied or moved remembers its old place.
  if [[ -f "$folder/CMakeCache.txt" ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$folder/CMakeCache.txt"; then
    fresh=(--fresh)
  fi
  mkdir -p "$root/build/logs"
  if ! (cd -- "$root" && cmake "${fresh[@]}" --preset "$preset") >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    complain "cannot configure preset $preset: CMake's reason is above, all of it in $log."
    return 1
  fi
}

# build_preset PRESET [TARGET...]: configures and builds; without targets, those of the build preset. Uses $jobs.
build_preset() {
  local preset=$1
  shift
  configure "$preset" || return 1
  local command=(cmake --build --preset "$preset" --parallel "$jobs")
  if (($# > 0)); then
    command+=(--target "$@")
  fi
  local log="$root/build/logs/build-$preset.log" status=0
  if [[ -t 1 ]]; then
    (cd -- "$root" && "${command[@]}") || status=1
  else
    (cd -- "$root" && NINJA_STATUS='[%f/%t] ' "${command[@]}" 2>&1) | tee "$log" | every_tenth || status=1
  fi
  if ((status != 0)); then
    complain "preset $preset does not build: the compiler's reason is above."
  fi
  return "$status"
}

# every_tenth: of ninja's "[done/total]" lines passes on one every 10 %, and of CMake's none; everything else is passed on as it is.
every_tenth() {
  local line tenth last=0 total=0
  while IFS= read -r line; do
    if [[ "$line" =~ ^\[([0-9]+)/([0-9]+)\]\  ]]; then
      # Another total: the first steps were CMake's, run anew.
      if ((BASH_REMATCH[2] != total)); then total=${BASH_REMATCH[2]} last=0; fi
      ((total >= 10)) || continue
      tenth=$((10 * BASH_REMATCH[1] / BASH_REMATCH[2]))
      if ((tenth > last)); then
        note "$((10 * tenth)) % (${BASH_REMATCH[1]} of ${BASH_REMATCH[2]})"
        last=$tenth
      fi
    elif [[ "$line" != 'ninja: no work to do.' && "$line" != '-- '* ]]; then
      printf '%s\n' "$line"
    fi
  done
}
