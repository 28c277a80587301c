#include "broker/core/lane.h"

#include "broker/core/lane_head.h"

namespace penstock::broker {
namespace {

// A lane's runs are stored away in pieces of this many.
constexpr size_t kSegmentRuns = 256;

}  // namespace

Lane::Lane() = default;
Lane::~Lane() = default;

LaneRuns::List& LaneRuns::list() {
  if (list_ == nullptr) list_ = std::make_unique<List>();
  return *list_;
}

void LaneRuns::Append(const FreshRun& run) {
  if (empty()) {
    front_ = run;
  } else {
    list().back.push_back(run);
  }
}

bool LaneRuns::ShouldSpill() const { return list_ != nullptr && list_->back.size() >= kSegmentRuns; }

std::vector<FreshRun> LaneRuns::SpillBack() {
  ++list().segment_end;
  return std::exchange(list_->back, {});
}

void LaneRuns::Pop() {
  front_ = FreshRun();
  Advance();
}

void LaneRuns::LoadSegment(std::vector<FreshRun> runs) {
  list_->next = std::move(runs);
  list_->next_index = 0;
  ++list_->segment_begin;
  Advance();
}

void LaneRuns::Advance() {
  if (list_ == nullptr) return;
  if (list_->next_index == list_->next.size()) {
    if (list_->segment_begin < list_->segment_end) return;
    list_->next = std::exchange(list_->back, {});
    list_->next_index = 0;
    if (list_->next.empty()) {
      // A list that was never stored in part leaves no number behind that must not be used again.
      if (list_->segment_end == 0) list_ = nullptr;
      return;
    }
  }
  front_ = list_->next[list_->next_index++];
}

const FreshRun& LaneRuns::newest() const {
  if (list_ != nullptr) {
    if (!list_->back.empty()) return list_->back.back();
    if (list_->next_index < list_->next.size()) return list_->next.back();
  }
  return front_;
}

void LaneRuns::VisitFirst(absl::FunctionRef<void(const FreshRun&)> visit) const {
  if (has_front()) visit(front_);
  if (list_ == nullptr) return;
  for (size_t i = list_->next_index; i < list_->next.size(); ++i) visit(list_->next[i]);
}

void LaneRuns::VisitBack(absl::FunctionRef<void(const FreshRun&)> visit) const {
  if (list_ == nullptr) return;
  for (const FreshRun& run : list_->back) visit(run);
}

void LaneRuns::Restore(std::vector<FreshRun> first, uint64_t segment_begin, uint64_t segment_end,
                       uint64_t segment_deleted, std::vector<FreshRun> back) {
  front_ = FreshRun();
  list_ = nullptr;
  if (first.size() <= 1 && segment_end == 0 && back.empty()) {
    if (!first.empty()) front_ = first.front();
    return;
  }
  list().next = std::move(first);
  list_->segment_begin = segment_begin;
  list_->segment_end = segment_end;
  list_->segment_deleted = segment_deleted;
  list_->back = std::move(back);
  Advance();
}

}  // namespace penstock::broker
