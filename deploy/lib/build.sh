# shellcheck shell=bash
# Configures and builds a preset of CMakePresets.json, and shows how far it is.

# require_build_folder: fails unless build/, and what a run leaves at its top, can be written by who calls: somebody else
# may have built there before, root for instance.
require_build_folder() {
  local place="$root/build" owner
  if [[ ! -e "$place" ]]; then
    place=$root
    [[ ! -w "$place" ]] || return 0
  elif [[ -d "$place" ]]; then
    # A file of one's own that is not writable is no hindrance: it is replaced.
    place=$(find -L "$place" -maxdepth 2 \( -type d -o ! -user "$EUID" \) ! -writable -print -quit 2>/dev/null) || true
    [[ -n "$place" ]] || return 0
  else
    fail "$place is in the way: it should be a folder, to build in."
  fi
  owner=$(stat --format=%U -- "$place" 2>/dev/null) || owner='nobody knows whom'
  if [[ -O "$place" ]]; then
    fail "cannot build in $root/build: you may not write $place, though it is yours. Make it writable (chmod u+w) and call again."
  fi
  local hint
  hint="Call again as $owner, or make the folder yours: sudo chown -R $(id -un) $(printf %q "$root/build")"
  if [[ "$place" == "$root" ]]; then
    hint="Call again as $owner, or let the project's folder be yours, or copy it."
  fi
  fail "cannot build in $root/build: $place belongs to $owner. $hint"
}

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
  mkdir -p "$root/build/logs"
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
