# shellcheck shell=bash
# Who listens on a TCP port of this machine: read from /proc, as a fresh Debian has no tool for it.

# listener_inodes PORT: the sockets that listen on it.
listener_inodes() {
  local hex files=(/proc/net/tcp)
  if [[ -r /proc/net/tcp6 ]]; then
    files+=(/proc/net/tcp6)
  fi
  printf -v hex '%04X' "$1"
  awk -v port=":$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { print $10 }' "${files[@]}"
}

# port_owner PORT: "nginx (process 123)", or nothing when the port is free.
port_owner() {
  local inodes inode fd process
  inodes=$(listener_inodes "$1")
  [[ -n "$inodes" ]] || return 0
  while IFS= read -r inode; do
    for fd in /proc/[0-9]*/fd/*; do
      if [[ "$(readlink -- "$fd" 2>/dev/null)" == "socket:[$inode]" ]]; then
        process=${fd#/proc/}
        process=${process%%/*}
        printf '%s (process %s)\n' "$(<"/proc/$process/comm")" "$process"
        return
      fi
    done
  done <<<"$inodes"
  echo "another user's program"
}

# require_free_port PORT HINT: fails with who has it.
require_free_port() {
  local owner
  owner=$(port_owner "$1")
  if [[ -n "$owner" ]]; then
    fail "port $1 is taken by $owner. $2" 69
  fi
}
