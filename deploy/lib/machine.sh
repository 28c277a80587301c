# shellcheck shell=bash
# What this machine has to have: Debian 12 (or what resembles it) and room on the disk.

# check_system: warns where the package names may not fit.
check_system() {
  local name
  # shellcheck source=/dev/null
  name=$(. /etc/os-release 2>/dev/null && printf '%s %s' "${ID:-unknown}" "${VERSION_ID:-}") || name='unknown '
  if [[ "$name" != 'debian 12' ]]; then
    warn "this is made for Debian 12, and this machine is \"${name% }\": packages may have other names or versions. Going on."
  fi
}

# check_disk FOLDER MEGABYTES: fails unless FOLDER's file system has room. What its build folder holds already counts as room.
check_disk() {
  local folder=$1 needed=$2 free built=0
  free=$(($(df --output=avail -k -- "$folder" | tail -n 1) / 1024))
  if [[ -d "$folder/build" ]]; then
    built=$(du -sm -- "$folder/build" | cut -f 1)
  fi
  if ((free + built < needed)); then
    fail "not enough disk: $folder has $free MB free, and this needs about $((needed - built)) MB. Free some and call again."
  fi
}

# default_jobs: how many compilers may run at once: one a core, and 1 GB of memory each.
default_jobs() {
  local cores memory_gb
  cores=$(nproc)
  memory_gb=$(awk '/^MemAvailable:/ { print int($2 / 1024 / 1024) }' /proc/meminfo)
  if ((memory_gb < 1)); then memory_gb=1; fi
  echo $((cores < memory_gb ? cores : memory_gb))
}
