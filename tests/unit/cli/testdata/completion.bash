# Completion of penstock for bash, made by: penstock completion bash
# To use it: source <(penstock completion bash)

_penstock_words() { COMPREPLY=($(compgen -W "$1" -- "$cur")); }

# Asks the broker, at the address that the command line or the environment names.
_penstock_queues() {
  local endpoint=() i at
  for ((i = 1; i < COMP_CWORD; i++)); do
    # Bash makes three words of host:port, and one more of the = before it.
    case ${COMP_WORDS[i]} in
      -e | --endpoint | --broker)
        at=$((i + 1))
        if [[ ${COMP_WORDS[at]-} == = ]]; then ((at++)); fi
        if [[ ${COMP_WORDS[at + 1]-} == : ]]; then
          endpoint=(--endpoint "${COMP_WORDS[at]}:${COMP_WORDS[at + 2]-}")
        fi
        ;;
    esac
  done
  _penstock_words "$(penstock queue list -o name --limit 0 --timeout 2s "${endpoint[@]}" 2>/dev/null)"
}

_penstock() {
  local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' i
  local everywhere='-h --help --version -e --endpoint --broker --timeout -o --output --color --no-headers --tls-ca --tls-cert --tls-key'
  # --option=value
  if [[ $cur == = ]]; then cur=''; elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD - 2]}; fi
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$command ${COMP_WORDS[i]}" in
      ' status' | ' top' | ' enqueue' | ' task' | ' task get' | ' task list' | ' task cancel' | ' task retry' | ' task wait' | ' task result' | ' task tail' | ' task payload' | ' explain' | ' queue' | ' queue list' | ' queue get' | ' queue watch' | ' queue create' | ' queue update' | ' queue pause' | ' queue resume' | ' queue drain' | ' queue purge' | ' queue delete' | ' dead' | ' dead list' | ' dead show' | ' dead redrive' | ' dead purge' | ' schedule' | ' schedule list' | ' schedule get' | ' schedule create' | ' schedule update' | ' schedule pause' | ' schedule resume' | ' schedule run' | ' schedule delete' | ' schedule preview' | ' throttle' | ' throttle list' | ' throttle get' | ' throttle create' | ' throttle update' | ' throttle delete' | ' key' | ' key list' | ' key release' | ' worker' | ' worker list' | ' worker drain' | ' backup' | ' backup create' | ' backup list' | ' backup verify' | ' backup delete' | ' limits' | ' bench' | ' bench enqueue' | ' bench drain' | ' bench both' | ' bench fill' | ' bench idle' | ' bench latency' | ' completion' | ' version') command+=" ${COMP_WORDS[i]}" ;;
    esac
  done
  case "$command|$before" in
    *'|-e' | *'|--endpoint' | *'|--broker') return ;;
    *'|--timeout') return ;;
    *'|-o' | *'|--output') _penstock_words 'table json jsonl yaml name'; return ;;
    *'|--color') _penstock_words 'auto always never'; return ;;
    *'|--tls-ca') compopt -o default; return ;;
    *'|--tls-cert') compopt -o default; return ;;
    *'|--tls-key') compopt -o default; return ;;
    ' status|--watch') return ;;
    ' status|--max-queues') return ;;
    ' status|--max-workers') return ;;
    ' top|--every') return ;;
    ' top|--sort') _penstock_words 'oldest available running dead in out name'; return ;;
    ' enqueue|--file') compopt -o default; return ;;
    ' enqueue|--request-id') return ;;
    ' enqueue|--delay') return ;;
    ' enqueue|--run-at') return ;;
    ' enqueue|--expire-at') return ;;
    ' enqueue|--expire-in') return ;;
    ' enqueue|--priority') return ;;
    ' enqueue|--run-timeout') return ;;
    ' enqueue|--max-attempts') return ;;
    ' enqueue|--initial-backoff') return ;;
    ' enqueue|--multiplier') return ;;
    ' enqueue|--max-backoff') return ;;
    ' enqueue|--jitter') return ;;
    ' enqueue|--unique-key') return ;;
    ' enqueue|--unique-window') return ;;
    ' enqueue|--key') return ;;
    ' enqueue|--group') return ;;
    ' enqueue|--cost') return ;;
    ' enqueue|--retention') return ;;
    ' enqueue|--header') return ;;
    ' enqueue|--worker-label') return ;;
    ' enqueue|--tag') return ;;
    ' enqueue|--content-type') return ;;
    ' task list|--state') _penstock_words 'scheduled available running retryable completed cancelled dead'; return ;;
    ' task list|-q' | ' task list|--queue') _penstock_queues; return ;;
    ' task list|--type') return ;;
    ' task list|--tag') return ;;
    ' task list|--limit') return ;;
    ' task list|--page-token') return ;;
    ' task cancel|--reason') return ;;
    ' task result|--out') compopt -o default; return ;;
    ' task payload|--out') compopt -o default; return ;;
    ' queue list|--limit') return ;;
    ' queue list|--page-token') return ;;
    ' queue watch|--type') return ;;
    ' queue watch|--state') _penstock_words 'completed cancelled dead'; return ;;
    ' queue create|--durability') _penstock_words 'sync relaxed'; return ;;
    ' queue create|--max-attempts') return ;;
    ' queue create|--initial-backoff') return ;;
    ' queue create|--multiplier') return ;;
    ' queue create|--max-backoff') return ;;
    ' queue create|--jitter') return ;;
    ' queue create|--result-retention') return ;;
    ' queue create|--dead-retention') return ;;
    ' queue create|--run-timeout') return ;;
    ' queue create|--dead-key-policy') _penstock_words 'release block'; return ;;
    ' queue create|--group-weight') return ;;
    ' queue update|--durability') _penstock_words 'sync relaxed'; return ;;
    ' queue update|--max-attempts') return ;;
    ' queue update|--initial-backoff') return ;;
    ' queue update|--multiplier') return ;;
    ' queue update|--max-backoff') return ;;
    ' queue update|--jitter') return ;;
    ' queue update|--result-retention') return ;;
    ' queue update|--dead-retention') return ;;
    ' queue update|--run-timeout') return ;;
    ' queue update|--dead-key-policy') _penstock_words 'release block'; return ;;
    ' queue update|--group-weight') return ;;
    ' dead list|-q' | ' dead list|--queue') _penstock_queues; return ;;
    ' dead list|--type') return ;;
    ' dead list|--tag') return ;;
    ' dead list|--limit') return ;;
    ' dead list|--page-token') return ;;
    ' dead redrive|-q' | ' dead redrive|--queue') _penstock_queues; return ;;
    ' dead redrive|--type') return ;;
    ' dead redrive|--limit') return ;;
    ' dead purge|-q' | ' dead purge|--queue') _penstock_queues; return ;;
    ' dead purge|--type') return ;;
    ' dead purge|--limit') return ;;
    ' schedule list|--limit') return ;;
    ' schedule list|--page-token') return ;;
    ' schedule create|--file') compopt -o default; return ;;
    ' schedule create|--cron') return ;;
    ' schedule create|--zone') return ;;
    ' schedule create|--every') return ;;
    ' schedule create|--start') return ;;
    ' schedule create|--end') return ;;
    ' schedule create|--start-within') return ;;
    ' schedule create|--catch-up') _penstock_words 'none one all'; return ;;
    ' schedule create|--overlap') _penstock_words 'allow skip cancel'; return ;;
    ' schedule create|--note') return ;;
    ' schedule create|--priority') return ;;
    ' schedule create|--run-timeout') return ;;
    ' schedule create|--max-attempts') return ;;
    ' schedule create|--initial-backoff') return ;;
    ' schedule create|--multiplier') return ;;
    ' schedule create|--max-backoff') return ;;
    ' schedule create|--jitter') return ;;
    ' schedule create|--unique-key') return ;;
    ' schedule create|--unique-window') return ;;
    ' schedule create|--key') return ;;
    ' schedule create|--group') return ;;
    ' schedule create|--cost') return ;;
    ' schedule create|--retention') return ;;
    ' schedule create|--header') return ;;
    ' schedule create|--worker-label') return ;;
    ' schedule create|--tag') return ;;
    ' schedule create|--content-type') return ;;
    ' schedule update|--cron') return ;;
    ' schedule update|--zone') return ;;
    ' schedule update|--every') return ;;
    ' schedule update|--start') return ;;
    ' schedule update|--end') return ;;
    ' schedule update|--start-within') return ;;
    ' schedule update|--catch-up') _penstock_words 'none one all'; return ;;
    ' schedule update|--overlap') _penstock_words 'allow skip cancel'; return ;;
    ' schedule update|--note') return ;;
    ' schedule update|--queue') _penstock_queues; return ;;
    ' schedule update|--type') return ;;
    ' schedule update|--payload') return ;;
    ' schedule update|--file') compopt -o default; return ;;
    ' schedule preview|--cron') return ;;
    ' schedule preview|--zone') return ;;
    ' schedule preview|--every') return ;;
    ' schedule preview|--start') return ;;
    ' schedule preview|--end') return ;;
    ' schedule preview|--count') return ;;
    ' schedule preview|--after') return ;;
    ' throttle list|--limit') return ;;
    ' throttle list|--page-token') return ;;
    ' throttle create|--queue') _penstock_queues; return ;;
    ' throttle create|--type') return ;;
    ' throttle create|--per') _penstock_words 'all queue type group key'; return ;;
    ' throttle create|--rate') return ;;
    ' throttle create|--burst') return ;;
    ' throttle create|--note') return ;;
    ' throttle create|--max-running') return ;;
    ' throttle update|--queue') _penstock_queues; return ;;
    ' throttle update|--type') return ;;
    ' throttle update|--per') _penstock_words 'all queue type group key'; return ;;
    ' throttle update|--rate') return ;;
    ' throttle update|--burst') return ;;
    ' throttle update|--note') return ;;
    ' throttle update|--max-running') return ;;
    ' key list|--limit') return ;;
    ' key list|--page-token') return ;;
    ' worker list|--limit') return ;;
    ' worker list|--page-token') return ;;
    ' backup create|--folder') return ;;
    ' backup create|--label') return ;;
    ' backup create|--keep') return ;;
    ' backup list|--folder') return ;;
    ' backup verify|--folder') return ;;
    ' backup delete|--folder') return ;;
    ' bench enqueue|--tasks') return ;;
    ' bench enqueue|--batch') return ;;
    ' bench enqueue|--in-flight') return ;;
    ' bench enqueue|--callers') return ;;
    ' bench enqueue|--keys') return ;;
    ' bench enqueue|--groups') return ;;
    ' bench enqueue|--payload') return ;;
    ' bench enqueue|--producers') return ;;
    ' bench enqueue|--queues') return ;;
    ' bench enqueue|--retention') return ;;
    ' bench enqueue|--queue') _penstock_queues; return ;;
    ' bench enqueue|--fsync-dir') return ;;
    ' bench drain|--tasks') return ;;
    ' bench drain|--batch') return ;;
    ' bench drain|--in-flight') return ;;
    ' bench drain|--callers') return ;;
    ' bench drain|--keys') return ;;
    ' bench drain|--groups') return ;;
    ' bench drain|--payload') return ;;
    ' bench drain|--producers') return ;;
    ' bench drain|--workers') return ;;
    ' bench drain|--slots') return ;;
    ' bench drain|--queues') return ;;
    ' bench drain|--retention') return ;;
    ' bench drain|--queue') _penstock_queues; return ;;
    ' bench drain|--fsync-dir') return ;;
    ' bench both|--tasks') return ;;
    ' bench both|--batch') return ;;
    ' bench both|--in-flight') return ;;
    ' bench both|--callers') return ;;
    ' bench both|--keys') return ;;
    ' bench both|--groups') return ;;
    ' bench both|--payload') return ;;
    ' bench both|--producers') return ;;
    ' bench both|--workers') return ;;
    ' bench both|--slots') return ;;
    ' bench both|--queues') return ;;
    ' bench both|--retention') return ;;
    ' bench both|--queue') _penstock_queues; return ;;
    ' bench both|--fsync-dir') return ;;
    ' bench fill|--tasks') return ;;
    ' bench fill|--batch') return ;;
    ' bench fill|--in-flight') return ;;
    ' bench fill|--callers') return ;;
    ' bench fill|--delay') return ;;
    ' bench fill|--keys') return ;;
    ' bench fill|--groups') return ;;
    ' bench fill|--payload') return ;;
    ' bench fill|--producers') return ;;
    ' bench fill|--queues') return ;;
    ' bench fill|--retention') return ;;
    ' bench fill|--queue') _penstock_queues; return ;;
    ' bench fill|--fsync-dir') return ;;
    ' bench idle|--duration') return ;;
    ' bench idle|--workers') return ;;
    ' bench idle|--slots') return ;;
    ' bench idle|--queues') return ;;
    ' bench idle|--retention') return ;;
    ' bench idle|--queue') _penstock_queues; return ;;
    ' bench idle|--fsync-dir') return ;;
    ' bench latency|--rate') return ;;
    ' bench latency|--duration') return ;;
    ' bench latency|--keys') return ;;
    ' bench latency|--groups') return ;;
    ' bench latency|--payload') return ;;
    ' bench latency|--producers') return ;;
    ' bench latency|--workers') return ;;
    ' bench latency|--slots') return ;;
    ' bench latency|--queues') return ;;
    ' bench latency|--retention') return ;;
    ' bench latency|--queue') _penstock_queues; return ;;
    ' bench latency|--fsync-dir') return ;;
  esac
  case $command in
    '') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_words 'status top enqueue task explain queue dead schedule throttle key worker backup limits bench completion version'; fi ;;
    ' status') if [[ $cur == -* ]]; then _penstock_words "$everywhere --watch --max-queues --max-workers"; else return; fi ;;
    ' top') if [[ $cur == -* ]]; then _penstock_words "$everywhere --every --sort"; else return; fi ;;
    ' enqueue') if [[ $cur == -* ]]; then _penstock_words "$everywhere --file --stdin-lines --wait --request-id --delay --run-at --expire-at --expire-in --priority --run-timeout --max-attempts --initial-backoff --multiplier --max-backoff --jitter --unique-key --unique-window --key --group --cost --retention --header --worker-label --tag --content-type"; else _penstock_queues; return; fi ;;
    ' task') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_words 'get list cancel retry wait result tail payload'; fi ;;
    ' task get') if [[ $cur == -* ]]; then _penstock_words "$everywhere --payload"; else return; fi ;;
    ' task list') if [[ $cur == -* ]]; then _penstock_words "$everywhere --state -q --queue --type --tag --limit --page-token"; else return; fi ;;
    ' task cancel') if [[ $cur == -* ]]; then _penstock_words "$everywhere --reason"; else return; fi ;;
    ' task retry') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' task wait') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' task result') if [[ $cur == -* ]]; then _penstock_words "$everywhere --out --wait"; else return; fi ;;
    ' task tail') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' task payload') if [[ $cur == -* ]]; then _penstock_words "$everywhere --out"; else return; fi ;;
    ' explain') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' queue') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_words 'list get watch create update pause resume drain purge delete'; fi ;;
    ' queue list') if [[ $cur == -* ]]; then _penstock_words "$everywhere --limit --page-token"; else return; fi ;;
    ' queue get') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_queues; return; fi ;;
    ' queue watch') if [[ $cur == -* ]]; then _penstock_words "$everywhere --type --state"; else _penstock_queues; return; fi ;;
    ' queue create') if [[ $cur == -* ]]; then _penstock_words "$everywhere --durability --max-attempts --initial-backoff --multiplier --max-backoff --jitter --result-retention --dead-retention --run-timeout --dead-key-policy --group-weight"; else _penstock_queues; return; fi ;;
    ' queue update') if [[ $cur == -* ]]; then _penstock_words "$everywhere --durability --max-attempts --initial-backoff --multiplier --max-backoff --jitter --result-retention --dead-retention --run-timeout --dead-key-policy --group-weight"; else _penstock_queues; return; fi ;;
    ' queue pause') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_queues; return; fi ;;
    ' queue resume') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_queues; return; fi ;;
    ' queue drain') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_queues; return; fi ;;
    ' queue purge') if [[ $cur == -* ]]; then _penstock_words "$everywhere --yes"; else _penstock_queues; return; fi ;;
    ' queue delete') if [[ $cur == -* ]]; then _penstock_words "$everywhere --yes --force"; else _penstock_queues; return; fi ;;
    ' dead') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_words 'list show redrive purge'; fi ;;
    ' dead list') if [[ $cur == -* ]]; then _penstock_words "$everywhere -q --queue --type --tag --limit --page-token"; else return; fi ;;
    ' dead show') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' dead redrive') if [[ $cur == -* ]]; then _penstock_words "$everywhere -q --queue --type --all --limit"; else return; fi ;;
    ' dead purge') if [[ $cur == -* ]]; then _penstock_words "$everywhere -q --queue --type --all --limit --yes"; else return; fi ;;
    ' schedule') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_words 'list get create update pause resume run delete preview'; fi ;;
    ' schedule list') if [[ $cur == -* ]]; then _penstock_words "$everywhere --limit --page-token"; else return; fi ;;
    ' schedule get') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' schedule create') if [[ $cur == -* ]]; then _penstock_words "$everywhere --file --cron --zone --every --start --end --start-within --catch-up --overlap --note --paused --priority --run-timeout --max-attempts --initial-backoff --multiplier --max-backoff --jitter --unique-key --unique-window --key --group --cost --retention --header --worker-label --tag --content-type"; else _penstock_queues; return; fi ;;
    ' schedule update') if [[ $cur == -* ]]; then _penstock_words "$everywhere --cron --zone --every --start --end --start-within --catch-up --overlap --note --queue --type --payload --file"; else return; fi ;;
    ' schedule pause') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' schedule resume') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' schedule run') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' schedule delete') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' schedule preview') if [[ $cur == -* ]]; then _penstock_words "$everywhere --cron --zone --every --start --end --count --after"; else return; fi ;;
    ' throttle') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_words 'list get create update delete'; fi ;;
    ' throttle list') if [[ $cur == -* ]]; then _penstock_words "$everywhere --limit --page-token"; else return; fi ;;
    ' throttle get') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' throttle create') if [[ $cur == -* ]]; then _penstock_words "$everywhere --queue --type --per --rate --burst --note --max-running"; else return; fi ;;
    ' throttle update') if [[ $cur == -* ]]; then _penstock_words "$everywhere --queue --type --per --rate --burst --note --max-running --no-rate --all-queues --all-types"; else return; fi ;;
    ' throttle delete') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' key') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_words 'list release'; fi ;;
    ' key list') if [[ $cur == -* ]]; then _penstock_words "$everywhere --limit --page-token"; else _penstock_queues; return; fi ;;
    ' key release') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_queues; return; fi ;;
    ' worker') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_words 'list drain'; fi ;;
    ' worker list') if [[ $cur == -* ]]; then _penstock_words "$everywhere --limit --page-token"; else return; fi ;;
    ' worker drain') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' backup') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_words 'create list verify delete'; fi ;;
    ' backup create') if [[ $cur == -* ]]; then _penstock_words "$everywhere --folder --label --keep"; else return; fi ;;
    ' backup list') if [[ $cur == -* ]]; then _penstock_words "$everywhere --folder"; else return; fi ;;
    ' backup verify') if [[ $cur == -* ]]; then _penstock_words "$everywhere --folder"; else return; fi ;;
    ' backup delete') if [[ $cur == -* ]]; then _penstock_words "$everywhere --folder --yes"; else return; fi ;;
    ' limits') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
    ' bench') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_words 'enqueue drain both fill idle latency'; fi ;;
    ' bench enqueue') if [[ $cur == -* ]]; then _penstock_words "$everywhere --tasks --batch --in-flight --callers --keys --groups --payload --producers --queues --relaxed --retention --queue --force --fsync-dir"; else return; fi ;;
    ' bench drain') if [[ $cur == -* ]]; then _penstock_words "$everywhere --tasks --batch --in-flight --callers --keys --groups --payload --producers --workers --slots --queues --relaxed --retention --queue --force --fsync-dir"; else return; fi ;;
    ' bench both') if [[ $cur == -* ]]; then _penstock_words "$everywhere --tasks --batch --in-flight --callers --keys --groups --payload --producers --workers --slots --queues --relaxed --retention --queue --force --fsync-dir"; else return; fi ;;
    ' bench fill') if [[ $cur == -* ]]; then _penstock_words "$everywhere --tasks --batch --in-flight --callers --delay --keys --groups --payload --producers --queues --relaxed --retention --queue --force --fsync-dir"; else return; fi ;;
    ' bench idle') if [[ $cur == -* ]]; then _penstock_words "$everywhere --duration --workers --slots --queues --relaxed --retention --queue --force --fsync-dir"; else return; fi ;;
    ' bench latency') if [[ $cur == -* ]]; then _penstock_words "$everywhere --rate --duration --keys --groups --payload --producers --workers --slots --queues --relaxed --retention --queue --force --fsync-dir"; else return; fi ;;
    ' completion') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else _penstock_words 'bash zsh fish'; return; fi ;;
    ' version') if [[ $cur == -* ]]; then _penstock_words "$everywhere "; else return; fi ;;
  esac
}
complete -F _penstock penstock
