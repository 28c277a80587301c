#compdef penstock
# Completion of penstock for zsh, made by: penstock completion zsh
# To use it: penstock completion zsh > "${fpath[1]}/_penstock"

_penstock_queues() {
  local -a queues
  queues=(${(f)"$(penstock queue list -o name --limit 0 --timeout 2s 2>/dev/null)"})
  compadd -a queues
}

_penstock() {
  local command='' word
  local -a items everywhere
  everywhere=('-h:This text; of a command - penstock COMMAND --help' '--help:This text; of a command - penstock COMMAND --help' '--version:The version of this program' '-e:The brokers address' '--endpoint:The brokers address' '--broker:The brokers address' '--timeout:How long a call may take. Commands that wait for tasks give up after it; without it they never do' '-o:How to print' '--output:How to print' '--color:Colours; auto - on a terminal, unless NO_COLOR is set' '--no-headers:Tables without titles' '--tls-ca:Talk TLS; trust this authority (PEM)' '--tls-cert:Show this certificate (PEM)' '--tls-key:Its key (PEM)')
  for word in ${words[2,CURRENT-1]}; do
    case "$command $word" in
      ' status' | ' top' | ' enqueue' | ' task' | ' task get' | ' task list' | ' task cancel' | ' task retry' | ' task wait' | ' task result' | ' task tail' | ' task payload' | ' queue' | ' queue list' | ' queue get' | ' queue create' | ' queue update' | ' queue pause' | ' queue resume' | ' queue drain' | ' queue purge' | ' queue delete' | ' dead' | ' dead list' | ' dead show' | ' dead redrive' | ' dead purge' | ' worker' | ' worker list' | ' worker drain' | ' limits' | ' bench' | ' bench enqueue' | ' bench drain' | ' bench both' | ' bench fill' | ' bench idle' | ' bench latency' | ' completion' | ' version') command+=" $word" ;;
    esac
  done
  case "$command|${words[CURRENT-1]}" in
    *'|-e' | *'|--endpoint' | *'|--broker') return ;;
    *'|--timeout') return ;;
    *'|-o' | *'|--output') compadd -- table json jsonl yaml name; return ;;
    *'|--color') compadd -- auto always never; return ;;
    *'|--tls-ca') _files; return ;;
    *'|--tls-cert') _files; return ;;
    *'|--tls-key') _files; return ;;
    ' status|--watch') return ;;
    ' status|--max-queues') return ;;
    ' status|--max-workers') return ;;
    ' top|--every') return ;;
    ' top|--sort') compadd -- oldest available running dead in out name; return ;;
    ' enqueue|--file') _files; return ;;
    ' enqueue|--request-id') return ;;
    ' enqueue|--priority') return ;;
    ' enqueue|--delay') return ;;
    ' enqueue|--run-at') return ;;
    ' enqueue|--expire-at') return ;;
    ' enqueue|--expire-in') return ;;
    ' enqueue|--run-timeout') return ;;
    ' enqueue|--max-attempts') return ;;
    ' enqueue|--initial-backoff') return ;;
    ' enqueue|--multiplier') return ;;
    ' enqueue|--max-backoff') return ;;
    ' enqueue|--jitter') return ;;
    ' enqueue|--unique-key') return ;;
    ' enqueue|--unique-window') return ;;
    ' enqueue|--retention') return ;;
    ' enqueue|--header') return ;;
    ' enqueue|--tag') return ;;
    ' enqueue|--content-type') return ;;
    ' task list|--state') compadd -- scheduled available running retryable completed cancelled dead; return ;;
    ' task list|-q' | ' task list|--queue') _penstock_queues; return ;;
    ' task list|--type') return ;;
    ' task list|--tag') return ;;
    ' task list|--limit') return ;;
    ' task list|--page-token') return ;;
    ' task cancel|--reason') return ;;
    ' task result|--out') _files; return ;;
    ' task payload|--out') _files; return ;;
    ' queue list|--limit') return ;;
    ' queue list|--page-token') return ;;
    ' queue create|--durability') compadd -- sync relaxed; return ;;
    ' queue create|--max-attempts') return ;;
    ' queue create|--initial-backoff') return ;;
    ' queue create|--multiplier') return ;;
    ' queue create|--max-backoff') return ;;
    ' queue create|--jitter') return ;;
    ' queue create|--result-retention') return ;;
    ' queue create|--dead-retention') return ;;
    ' queue create|--run-timeout') return ;;
    ' queue update|--durability') compadd -- sync relaxed; return ;;
    ' queue update|--max-attempts') return ;;
    ' queue update|--initial-backoff') return ;;
    ' queue update|--multiplier') return ;;
    ' queue update|--max-backoff') return ;;
    ' queue update|--jitter') return ;;
    ' queue update|--result-retention') return ;;
    ' queue update|--dead-retention') return ;;
    ' queue update|--run-timeout') return ;;
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
    ' worker list|--limit') return ;;
    ' worker list|--page-token') return ;;
    ' bench enqueue|--tasks') return ;;
    ' bench enqueue|--batch') return ;;
    ' bench enqueue|--in-flight') return ;;
    ' bench enqueue|--callers') return ;;
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
    '') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else items=('status:Is all well? The broker, its queues and workers on one screen' 'top:Queues and workers, live on the whole screen' 'enqueue:Hands over a task, or one for each line of standard input; prints the tasks id' 'task:Tasks - see, find, cancel, retry, wait for, result, log lines, payload' 'queue:Queues - see, create, change, pause, resume, drain, purge, delete' 'dead:Dead tasks - see why, redrive, purge' 'worker:Connected workers' 'limits:The limits in force at the broker, and what each is for' 'bench:Measures a broker, which it loads to the full (not one that others rely on) - tasks a second, latencies, its CPU time a task' 'completion:A script that completes command lines in your shell' 'version:The version of this program'); _describe command items; fi ;;
    ' status') if [[ $PREFIX == -* ]]; then items=($everywhere '--watch:Show it again and again, every 2 s or as said' '--max-queues:Show at most this many queues, those with the oldest waiting tasks' '--max-workers:Show at most this many workers'); _describe option items; else return; fi ;;
    ' top') if [[ $PREFIX == -* ]]; then items=($everywhere '--every:How often to ask the broker' '--sort:Which queues come first; keys change it'); _describe option items; else return; fi ;;
    ' enqueue') if [[ $PREFIX == -* ]]; then items=($everywhere '--file:Take the payload from there; - is standard input' '--stdin-lines:A task for each line of standard input that is not empty, the line its payload' '--wait:Wait until it is finished, at most --timeout, and print its result' '--request-id:Makes repeating this command safe - the same id gives the same task for 10 min' '--priority:9 is most urgent' '--delay:Not before this long from now' '--run-at:Not before this time, for instance 2026-11-22T15 -04 -05Z' '--expire-at:Dead if not begun by then' '--expire-in:The same, from now' '--run-timeout:Longest run of an attempt [the queues, 30m]' '--max-attempts:Runs in all [the queues, 20]' '--initial-backoff:Wait after the first failure [the queues, 1s]' '--multiplier:Growth of the wait from attempt to attempt [the queues, 2]' '--max-backoff:Longest wait [the queues, 1h]' '--jitter:The part of the wait that is random [the queues, 1]' '--unique-key:Enqueue nothing if a task of the queue with this key exists' '--unique-window:For this long, instead of until that task is finished' '--retention:How long the completed task and its result are kept [the queues, 24h]' '--header:For the handler; may be repeated' '--tag:To find it by; may be repeated' '--content-type:What the payload is [application/octet-stream]'); _describe option items; else _penstock_queues; return; fi ;;
    ' task') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else items=('get:A tasks whole story - state, times, every attempt with its error' 'list:Tasks of a queue, or of all' 'cancel:Cancels tasks that wait, asks running ones to stop' 'retry:Runs scheduled or retryable tasks now, redrives dead ones' 'wait:Waits until tasks are finished; exit code 0 - completed, 1 - dead or cancelled, 5 - --timeout passed' 'result:What a completed tasks handler returned' 'tail:Follows a tasks log lines and state until it is finished' 'payload:What a tasks handler gets'); _describe command items; fi ;;
    ' task get') if [[ $PREFIX == -* ]]; then items=($everywhere '--payload:With the payload, as long as it is kept'); _describe option items; else return; fi ;;
    ' task list') if [[ $PREFIX == -* ]]; then items=($everywhere '--state:Only tasks in this state' '-q:Only tasks of this queue' '--queue:Only tasks of this queue' '--type:Only tasks of this type' '--tag:Only tasks with this tag (finished ones have lost theirs)' '--limit:Print at most this many; 0 - all' '--page-token:Go on where an earlier list ended - its next_page_token'); _describe option items; else return; fi ;;
    ' task cancel') if [[ $PREFIX == -* ]]; then items=($everywhere '--reason:Kept with the task'); _describe option items; else return; fi ;;
    ' task retry') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else return; fi ;;
    ' task wait') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else return; fi ;;
    ' task result') if [[ $PREFIX == -* ]]; then items=($everywhere '--out:Write it there instead of to standard output' '--wait:Wait until it is finished, at most --timeout'); _describe option items; else return; fi ;;
    ' task tail') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else return; fi ;;
    ' task payload') if [[ $PREFIX == -* ]]; then items=($everywhere '--out:Write it there instead of to standard output'); _describe option items; else return; fi ;;
    ' queue') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else items=('list:Queues in the order of their names' 'get:One queue - its tasks, rates and settings' 'create:Creates a queue with settings; without them, enqueueing is enough' 'update:Changes settings, for tasks from now on' 'pause:Hands out no more tasks; enqueues are accepted, running tasks go on' 'resume:Ends a pause and a drain' 'drain:Takes no more tasks; those it has are run' 'purge:Deletes the tasks that wait; running, finished and dead ones stay' 'delete:Deletes a queue and its settings'); _describe command items; fi ;;
    ' queue list') if [[ $PREFIX == -* ]]; then items=($everywhere '--limit:Print at most this many; 0 - all' '--page-token:Go on where an earlier list ended - its next_page_token'); _describe option items; else return; fi ;;
    ' queue get') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else _penstock_queues; return; fi ;;
    ' queue create') if [[ $PREFIX == -* ]]; then items=($everywhere '--durability:When an enqueue is acknowledged. sync - when it survives a power cut; relaxed - when it survives a crash of the broker, and a power cut may lose the last 100 ms' '--max-attempts:Runs in all of tasks that do not say their own' '--initial-backoff:Wait after the first failure' '--multiplier:Growth of the wait from attempt to attempt' '--max-backoff:Longest wait' '--jitter:The part of the wait that is random' '--result-retention:How long completed tasks are kept' '--dead-retention:How long dead tasks are kept' '--run-timeout:Longest run of an attempt'); _describe option items; else _penstock_queues; return; fi ;;
    ' queue update') if [[ $PREFIX == -* ]]; then items=($everywhere '--durability:When an enqueue is acknowledged. sync - when it survives a power cut; relaxed - when it survives a crash of the broker, and a power cut may lose the last 100 ms' '--max-attempts:Runs in all of tasks that do not say their own' '--initial-backoff:Wait after the first failure' '--multiplier:Growth of the wait from attempt to attempt' '--max-backoff:Longest wait' '--jitter:The part of the wait that is random' '--result-retention:How long completed tasks are kept' '--dead-retention:How long dead tasks are kept' '--run-timeout:Longest run of an attempt'); _describe option items; else _penstock_queues; return; fi ;;
    ' queue pause') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else _penstock_queues; return; fi ;;
    ' queue resume') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else _penstock_queues; return; fi ;;
    ' queue drain') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else _penstock_queues; return; fi ;;
    ' queue purge') if [[ $PREFIX == -* ]]; then items=($everywhere '--yes:Do not ask for the queues name'); _describe option items; else _penstock_queues; return; fi ;;
    ' queue delete') if [[ $PREFIX == -* ]]; then items=($everywhere '--yes:Do not ask for the queues name' '--force:Also if it has waiting or dead tasks - they are deleted first'); _describe option items; else _penstock_queues; return; fi ;;
    ' dead') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else items=('list:Dead tasks of a queue, or of all' 'show:Why tasks are dead - every attempt with its error, and the payload' 'redrive:Makes dead tasks available again, their attempts counted from 0' 'purge:Deletes dead tasks for ever'); _describe command items; fi ;;
    ' dead list') if [[ $PREFIX == -* ]]; then items=($everywhere '-q:Only tasks of this queue' '--queue:Only tasks of this queue' '--type:Only tasks of this type' '--tag:Only tasks with this tag (finished ones have lost theirs)' '--limit:Print at most this many; 0 - all' '--page-token:Go on where an earlier list ended - its next_page_token'); _describe option items; else return; fi ;;
    ' dead show') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else return; fi ;;
    ' dead redrive') if [[ $PREFIX == -* ]]; then items=($everywhere '-q:Of this queue, oldest first' '--queue:Of this queue, oldest first' '--type:Only tasks of this type' '--all:All of them' '--limit:At most this many'); _describe option items; else return; fi ;;
    ' dead purge') if [[ $PREFIX == -* ]]; then items=($everywhere '-q:Of this queue, oldest first' '--queue:Of this queue, oldest first' '--type:Only tasks of this type' '--all:All of them' '--limit:At most this many' '--yes:Do not ask for the queues name'); _describe option items; else return; fi ;;
    ' worker') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else items=('list:Connected workers, and those within their grace' 'drain:Lets workers finish what they run and leave'); _describe command items; fi ;;
    ' worker list') if [[ $PREFIX == -* ]]; then items=($everywhere '--limit:Print at most this many; 0 - all' '--page-token:Go on where an earlier list ended - its next_page_token'); _describe option items; else return; fi ;;
    ' worker drain') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else return; fi ;;
    ' limits') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else return; fi ;;
    ' bench') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else items=('enqueue:How fast tasks are stored' 'drain:How fast a backlog is worked off by handlers that do nothing' 'both:Enqueuing and working at the same time' 'fill:As enqueue, and leaves the queue as it is - a backlog to look at' 'idle:What connected workers cost while there is nothing to do' 'latency:From enqueue to the handlers start, at a rate'); _describe command items; fi ;;
    ' bench enqueue') if [[ $PREFIX == -* ]]; then items=($everywhere '--tasks:How many' '--batch:Tasks of a call, stored all or none' '--in-flight:Tasks that may wait for their acknowledgement, over all producers; 1 - one at a time' '--callers:Instead - threads that call and wait, over all producers' '--payload:Of a task' '--producers:Connections that enqueue' '--queues:Spread the tasks over so many queues, whose names are numbered' '--relaxed:Acknowledge before fsync, which follows within 100 ms' '--retention:How long results are kept, also after the benchmark; the brokers default otherwise' '--queue:The queue, which is made and deleted' '--force:If the queue exists, delete it with everything in it' '--fsync-dir:Measure fdatasync there; name a folder on the data folders disk'); _describe option items; else return; fi ;;
    ' bench drain') if [[ $PREFIX == -* ]]; then items=($everywhere '--tasks:How many' '--batch:Tasks of a call, stored all or none' '--in-flight:Tasks that may wait for their acknowledgement, over all producers; 1 - one at a time' '--callers:Instead - threads that call and wait, over all producers' '--payload:Of a task' '--producers:Connections that enqueue' '--workers:Connections that take tasks' '--slots:Tasks that a worker runs at once' '--queues:Spread the tasks over so many queues, whose names are numbered' '--relaxed:Acknowledge before fsync, which follows within 100 ms' '--retention:How long results are kept, also after the benchmark; the brokers default otherwise' '--queue:The queue, which is made and deleted' '--force:If the queue exists, delete it with everything in it' '--fsync-dir:Measure fdatasync there; name a folder on the data folders disk'); _describe option items; else return; fi ;;
    ' bench both') if [[ $PREFIX == -* ]]; then items=($everywhere '--tasks:How many' '--batch:Tasks of a call, stored all or none' '--in-flight:Tasks that may wait for their acknowledgement, over all producers; 1 - one at a time' '--callers:Instead - threads that call and wait, over all producers' '--payload:Of a task' '--producers:Connections that enqueue' '--workers:Connections that take tasks' '--slots:Tasks that a worker runs at once' '--queues:Spread the tasks over so many queues, whose names are numbered' '--relaxed:Acknowledge before fsync, which follows within 100 ms' '--retention:How long results are kept, also after the benchmark; the brokers default otherwise' '--queue:The queue, which is made and deleted' '--force:If the queue exists, delete it with everything in it' '--fsync-dir:Measure fdatasync there; name a folder on the data folders disk'); _describe option items; else return; fi ;;
    ' bench fill') if [[ $PREFIX == -* ]]; then items=($everywhere '--tasks:How many' '--batch:Tasks of a call, stored all or none' '--in-flight:Tasks that may wait for their acknowledgement, over all producers; 1 - one at a time' '--callers:Instead - threads that call and wait, over all producers' '--delay:All are due this long after the beginning' '--payload:Of a task' '--producers:Connections that enqueue' '--queues:Spread the tasks over so many queues, whose names are numbered' '--relaxed:Acknowledge before fsync, which follows within 100 ms' '--retention:How long results are kept, also after the benchmark; the brokers default otherwise' '--queue:The queue, which is made and deleted' '--force:If the queue exists, delete it with everything in it' '--fsync-dir:Measure fdatasync there; name a folder on the data folders disk'); _describe option items; else return; fi ;;
    ' bench idle') if [[ $PREFIX == -* ]]; then items=($everywhere '--duration:How long' '--workers:Connections that take tasks' '--slots:Tasks that a worker runs at once' '--queues:Spread the tasks over so many queues, whose names are numbered' '--relaxed:Acknowledge before fsync, which follows within 100 ms' '--retention:How long results are kept, also after the benchmark; the brokers default otherwise' '--queue:The queue, which is made and deleted' '--force:If the queue exists, delete it with everything in it' '--fsync-dir:Measure fdatasync there; name a folder on the data folders disk'); _describe option items; else return; fi ;;
    ' bench latency') if [[ $PREFIX == -* ]]; then items=($everywhere '--rate:Tasks a second, whether the broker keeps up or not; latencies count from when a task was due' '--duration:How long' '--payload:Of a task' '--producers:Connections that enqueue' '--workers:Connections that take tasks' '--slots:Tasks that a worker runs at once' '--queues:Spread the tasks over so many queues, whose names are numbered' '--relaxed:Acknowledge before fsync, which follows within 100 ms' '--retention:How long results are kept, also after the benchmark; the brokers default otherwise' '--queue:The queue, which is made and deleted' '--force:If the queue exists, delete it with everything in it' '--fsync-dir:Measure fdatasync there; name a folder on the data folders disk'); _describe option items; else return; fi ;;
    ' completion') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else compadd -- bash zsh fish; return; fi ;;
    ' version') if [[ $PREFIX == -* ]]; then items=($everywhere ); _describe option items; else return; fi ;;
  esac
}
if [[ $funcstack[1] == _penstock ]]; then _penstock "$@"; else compdef _penstock penstock; fi
