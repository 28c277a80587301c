#include "tests/support/recount.h"

#include "broker/core/audit.h"

namespace penstock::broker {
namespace {

bool IsEmpty(const StoreReader& store) {
  bool empty = true;
  for (int family = 0; family < kFamilyCount; ++family) {
    const absl::Status scanned =
        store.Scan(static_cast<Family>(family), "", "", [&](std::string_view, std::string_view) {
          empty = false;
          return false;
        });
    if (!scanned.ok()) return false;
  }
  return empty;
}

}  // namespace

std::string Recount(const CoreOptions& options, const StoreReader& store) {
  std::string problems;
  const AuditReport report = AuditStore(options, store);
  // A broker that died before its first commit leaves nothing at all.
  if (report.applied.sequence == 0 && !IsEmpty(store)) problems += "nothing is applied\n";
  for (const AuditFinding& finding : report.findings) problems += finding.what + "\n";
  return problems;
}

}  // namespace penstock::broker
