#include "worker/fencing.h"

#include <algorithm>
#include <charconv>

#include "fmt/format.h"

namespace penstock {
namespace {

constexpr size_t kDigits = 20;  // of the largest uint64_t

}  // namespace

std::optional<FencingToken> FencingToken::Parse(std::string_view text) {
  if (text.empty() || text.size() > kDigits) return std::nullopt;
  if (text.size() < kDigits && text.size() > 1 && text.front() == '0') return std::nullopt;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return FencingToken(value);
}

std::string FencingToken::ToText() const { return fmt::format("{:020}", value_); }

FencedRegister::FencedRegister(size_t resources_max) : resources_max_(std::max<size_t>(resources_max, 1)) {}

absl::Status FencedRegister::AdmitLocked(std::string_view resource, FencingToken token) {
  const auto found = newest_.find(resource);
  const FencingToken newest = found != newest_.end() ? found->second : floor_;
  if (token < newest) {
    return absl::FailedPreconditionError(
        fmt::format("fencing token {} is stale: {} has seen {}", token.value(), resource, newest.value()));
  }
  if (found != newest_.end()) {
    if (token == newest) return absl::OkStatus();
    by_token_.erase({newest, found->first});
    by_token_.emplace(token, found->first);
    found->second = token;
    return absl::OkStatus();
  }
  newest_.emplace(resource, token);
  by_token_.emplace(token, resource);
  if (newest_.size() > resources_max_) {
    const auto smallest = by_token_.begin();
    floor_ = std::max(floor_, smallest->first);
    newest_.erase(smallest->second);
    by_token_.erase(smallest);
  }
  return absl::OkStatus();
}

absl::Status FencedRegister::Admit(std::string_view resource, FencingToken token) {
  MutexLock lock(mu_);
  return AdmitLocked(resource, token);
}

absl::Status FencedRegister::Write(std::string_view resource, FencingToken token, const std::function<void()>& write) {
  MutexLock lock(mu_);
  absl::Status status = AdmitLocked(resource, token);
  if (status.ok()) write();
  return status;
}

FencingToken FencedRegister::NewestOf(std::string_view resource) const {
  MutexLock lock(mu_);
  const auto found = newest_.find(resource);
  return found != newest_.end() ? found->second : FencingToken();
}

size_t FencedRegister::size() const {
  MutexLock lock(mu_);
  return newest_.size();
}

}  // namespace penstock
