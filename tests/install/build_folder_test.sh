#!/usr/bin/env bash
# build_folder_test.sh SOURCE_FOLDER: deploy/test and deploy/demo say in a sentence that they cannot write build/, or what is
# in it, and do nothing else.
set -euo pipefail

source_folder=$1
folder=$(mktemp -d -- "${TMPDIR:-/tmp}/penstock build folder.XXXXXX")
trap 'chmod -R u+w -- "$folder" && rm -rf -- "$folder"' EXIT
project="$folder/project"
mkdir -- "$project"
cp -r -- "$source_folder/deploy" "$project/deploy"
chmod -R a+rX -- "$folder"

# Root may write everything, so it is somebody else who calls.
as_other=()
if ((EUID == 0)); then
  as_other=(setpriv --reuid=65534 --regid=65534 --clear-groups)
fi

# expect WORDS: both scripts end with code 1 and one line of standard error, which has the words.
expect() {
  local command status errors
  for command in "$project/deploy/demo" "$project/deploy/test"; do
    status=0
    (cd / && "${as_other[@]}" "$command" --jobs 1 >"$folder/out" 2>"$folder/errors") || status=$?
    # On another system than Debian 12 the first line says so.
    errors=$(grep -v 'this is made for Debian 12' "$folder/errors") || true
    if ((status != 1)) || [[ "$errors" != deploy/*": cannot build in $project/build: "*"$1"* || "$errors" == *$'\n'* || -s "$folder/out" ]]; then
      printf '%s ended with %d and said:\n%s\n%s\nexpected: %s\n' "$command" "$status" "$(<"$folder/out")" "$errors" "$1" >&2
      exit 1
    fi
  done
}

if ((EUID == 0)); then
  words='belongs to root'
else
  words='though it is yours'
fi
chmod a-w -- "$project"
expect "$words"
chmod u+w -- "$project"
mkdir -p -- "$project/build/logs"
chmod a-w -- "$project/build"
expect "$words"
if ((EUID == 0)); then
  # The folder is the caller's, but what an earlier run left in it is not.
  chown 65534 -- "$project/build" "$project/build/logs"
  chmod u+w -- "$project/build"
  echo old >"$project/build/logs/configure-dev.log"
  expect 'build/logs/configure-dev.log belongs to root. Call again as root, or make the folder yours: sudo chown -R nobody '
fi
echo 'both scripts say what keeps them from building'
