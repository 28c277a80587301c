#include "broker/core/commit_builder.h"

#include <utility>
#include <vector>

#include "common/status.h"

namespace penstock::broker {

std::string CommitBuilder::OverlayKey(Family family, std::string_view key) {
  std::string overlay_key(1, static_cast<char>(family));
  overlay_key += key;
  return overlay_key;
}

void CommitBuilder::Put(Family family, std::string_view key, std::string_view value) {
  batch_.Put(family, key, value);
  if (Shows(family)) current_[OverlayKey(family, key)] = std::string(value);
}

void CommitBuilder::Delete(Family family, std::string_view key) {
  batch_.Delete(family, key);
  if (Shows(family)) current_[OverlayKey(family, key)] = std::nullopt;
}

absl::StatusOr<std::string> CommitBuilder::Get(Family family, std::string_view key) const {
  if (Shows(family) && (!current_.empty() || !in_flight_.empty())) {
    const std::string overlay_key = OverlayKey(family, key);
    auto look = [&](const Overlay& overlay) -> const std::optional<std::string>* {
      auto found = overlay.find(overlay_key);
      return found == overlay.end() ? nullptr : &found->second;
    };
    const std::optional<std::string>* found = look(current_);
    for (auto overlay = in_flight_.rbegin(); found == nullptr && overlay != in_flight_.rend(); ++overlay) {
      found = look(*overlay);
    }
    if (found != nullptr) {
      if (found->has_value()) return **found;
      return absl::NotFoundError("deleted");
    }
  }
  return store_.Get(family, key);
}

absl::Status CommitBuilder::Scan(Family family, std::string_view begin, std::string_view end,
                                 absl::FunctionRef<bool(std::string_view, std::string_view)> visit) const {
  // What the overlays say about the range, the newest winning. They hold a batch or two: a merged copy is cheap.
  absl::btree_map<std::string, std::optional<std::string>> pending;
  const std::string from = OverlayKey(family, begin);
  const std::string to =
      end.empty() ? std::string(1, static_cast<char>(static_cast<int>(family) + 1)) : OverlayKey(family, end);
  auto collect = [&](const Overlay& overlay) {
    for (auto it = overlay.lower_bound(from); it != overlay.end() && it->first < to; ++it) {
      pending[it->first.substr(1)] = it->second;
    }
  };
  for (const Overlay& overlay : in_flight_) collect(overlay);
  collect(current_);
  auto next = pending.begin();
  bool stopped = false;
  // Shows the pending keys before `key`, or all.
  auto show_pending = [&](std::optional<std::string_view> key) {
    while (!stopped && next != pending.end() && (!key || next->first < *key)) {
      if (next->second && !visit(next->first, *next->second)) stopped = true;
      ++next;
    }
  };
  RETURN_IF_ERROR(store_.Scan(family, begin, end, [&](std::string_view key, std::string_view value) {
    show_pending(key);
    if (stopped) return false;
    if (next != pending.end() && next->first == key) {
      if (next->second && !visit(next->first, *next->second)) stopped = true;
      ++next;
    } else if (!visit(key, value)) {
      stopped = true;
    }
    return !stopped;
  }));
  show_pending(std::nullopt);
  return absl::OkStatus();
}

CommitBatch CommitBuilder::Seal() {
  in_flight_.push_back(std::exchange(current_, {}));
  return std::exchange(batch_, {});
}

void CommitBuilder::Committed() { in_flight_.pop_front(); }

}  // namespace penstock::broker
