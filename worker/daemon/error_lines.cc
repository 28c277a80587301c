#include "worker/daemon/error_lines.h"

#include <algorithm>
#include <charconv>

#include "common/text.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock {
namespace {

constexpr size_t kTailBytes = 4 << 10;
constexpr size_t kLineBytes = 4 << 10;

// Takes `prefix` and the spaces behind it off `text`.
bool TakePrefix(std::string_view prefix, std::string_view* text) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  while (text->starts_with(' ')) text->remove_prefix(1);
  return true;
}

std::string LastBytes(std::string_view text) {
  return std::string(text.substr(text.size() - std::min(text.size(), kTailBytes)));
}

std::optional<CoolScope> ParseScope(std::string_view word) {
  if (word.empty()) return CoolScope::kTask;
  if (word == "queue") return CoolScope::kQueue;
  if (word == "type") return CoolScope::kType;
  if (word == "group") return CoolScope::kGroup;
  if (word == "key") return CoolScope::kKey;
  return std::nullopt;
}

}  // namespace

void ErrorLines::Add(std::string_view text) {
  for (char c : text) {
    if (c == '\n') {
      Flush();
    } else if (line_.size() < kLineBytes) {
      line_.push_back(c);
    }
  }
}

void ErrorLines::Flush() {
  if (line_.empty()) return;
  std::string_view rest = line_;
  if (TakePrefix("penstock-progress:", &rest)) {
    TakeProgress(rest);
  } else if (TakePrefix("penstock-retry-after:", &rest)) {
    TakeWait(rest, false);
  } else if (TakePrefix("penstock-snooze:", &rest)) {
    TakeWait(rest, true);
  } else {
    last_ = line_;
    tail_ += line_ + '\n';
    // The last line is at most as long as what is told of those before it.
    if (tail_.size() > 4 * kTailBytes) tail_.erase(0, tail_.size() - 2 * kTailBytes);
    context_.Log(line_);
  }
  line_.clear();
}

std::string ErrorLines::tail() const { return LastBytes(tail_); }

std::string ErrorLines::tail_before_last() const {
  const size_t last = std::min(tail_.size(), last_.size() + 1);
  return LastBytes(std::string_view(tail_).substr(0, tail_.size() - last));
}

void ErrorLines::TakeProgress(std::string_view text) {
  double percent = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), percent);
  if (error != std::errc()) return;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  while (text.starts_with(' ') || text.starts_with('%')) text.remove_prefix(1);
  context_.Progress(percent, std::string(text));
}

void ErrorLines::TakeWait(std::string_view text, bool snooze) {
  while (text.ends_with(' ') || text.ends_with('\r')) text.remove_suffix(1);
  const size_t space = text.find(' ');
  const std::string_view time = text.substr(0, space);
  std::string_view word = space == std::string_view::npos ? std::string_view() : text.substr(space);
  while (word.starts_with(' ')) word.remove_prefix(1);
  const absl::StatusOr<absl::Duration> delay = ParseDuration(time);
  const std::optional<CoolScope> scope = ParseScope(word);
  if (!delay.ok() || !scope) {
    context_.Log(line_);
    context_.Log(fmt::format(
        "the line above is ignored: {}",
        delay.ok() ? fmt::format("'{}' is none of queue, type, group, key", word) : ToStd(delay.status().message())));
    return;
  }
  wait_ = {*delay, *scope, snooze};
}

}  // namespace penstock
