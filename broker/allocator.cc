// What jemalloc reads at its start: jemalloc(3), "TUNING". MALLOC_CONF in the environment goes before it.

// Threads of its own give back what has not been used for ten seconds, also while the broker is idle.
extern "C" const char* malloc_conf;
const char* malloc_conf = "background_thread:true";
