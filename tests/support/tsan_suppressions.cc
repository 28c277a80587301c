// What ThreadSanitizer cannot see. It calls this at the start of a program that was built for it; others never do.
//
// absl::Status counts its references atomically, but the decrement stands in Debian's library, which is not
// instrumented: the last owner's delete looks as if nothing ordered it after the other owners' use. Only that delete is
// suppressed; races on a Status itself are still reported. Functions have names only where llvm-symbolizer is found:
// deploy/lib/packages.sh installs it.
// The name is the sanitizer's own. NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() { return "race:Unref\n"; }
// NOLINTEND(bugprone-reserved-identifier)
