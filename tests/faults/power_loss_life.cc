#include "tests/faults/power_loss_life.h"

#include "fmt/format.h"
#include "rocksdb/env.h"

namespace penstock::broker {

PowerLossLife::PowerLossLife(uint64_t seed, bool lying_disk)
    : random_(seed),
      fs_(std::make_shared<penstock::testing::PowerLossFs>()),
      env_(penstock::testing::NewPowerLossEnv(fs_)),
      workload_(seed + 1, &ledger_, &clock_) {
  fs_->LieAboutSyncs(lying_disk);
  // Small, so that everything happens often: blocks of several sizes, evictions, checkpoints.
  options_.block_bytes = 1'000 << Below(10);
  options_.checkpoint_bytes = 1'000 << Below(6);
  options_.block_cache_bytes = 50'000;
  options_.max_tasks_per_worker = 30;
  options_.session_grace = 20 * kMilli;
  options_.reclaim_window = 50 * kMilli;
}

PowerLossLife::~PowerLossLife() = default;

absl::Status PowerLossLife::Open() {
  RocksDbStoreOptions options;
  options.path = folder_ / "db";
  // Often written out and compacted, so that logs are switched and become obsolete.
  options.memtable_bytes = size_t{1} << 20;
  options.wal_bytes = uint64_t{1} << 20;
  options.env = env_.get();
  auto opened = OpenRocksDbStore(options, &report_);
  if (!opened.ok()) return opened.status();
  store_ = *std::move(opened);
  return absl::OkStatus();
}

void PowerLossLife::CutWhereItMatters(uint64_t nth_max) {
  static constexpr const char* kNames[] = {"MANIFEST", "MANIFEST", ".dbtmp", ".sst"};
  fs_->CutPowerInAppendTo(kNames[Below(std::size(kNames))], 1 + Below(nth_max), Below(257));
}

std::string PowerLossLife::Check() { return ledger_.Check(options_, *store_, ToMicros(clock_.Read().wall)); }

std::string PowerLossLife::Work(bool drain) {
  EngineOptions options;
  options.core = options_;
  options.seal_after = absl::Milliseconds(Below(3) == 0 ? 1 : 100);
  Inbox inbox;
  Engine engine(options, *store_, inbox, clock_, [&](const absl::Status&) { inbox.Fail(); });
  inbox.Attach(&engine);
  if (absl::Status started = engine.Start(); !started.ok()) return "the engine does not start: " + started.ToString();
  workload_.Attach(&engine, &inbox);
  if (drain) {
    if (!workload_.Drain()) return "a commit failed though the power was on\n";
  } else {
    // Long lives switch and outlive logs; short ones die in the first pages of one.
    if (Below(3) == 0) {
      fs_->CutPowerAfter(4'000'000);
      CutWhereItMatters(/*nth_max=*/4);
    } else {
      fs_->CutPowerAfter(Below(Below(3) == 0 ? 3'000'000 : 200'000));
    }
    // What a background thread writes may have met the end; the engine hears of it at its next commit.
    while (workload_.Turn()) {
    }
  }
  engine.Stop();
  ledger_.PowerCut(engine.commit_stats().syncs);
  workload_.Detach();
  return workload_.problems();
}

std::string PowerLossLife::Run(int cuts, PowerLossCounts* counts) {
  ++counts->lives;
  for (int cut = 0; cut < cuts; ++cut) {
    // In the middle of opening.
    switch (Below(8)) {
      case 0:
        fs_->CutPowerAfter(Below(5'000));
        break;
      case 1:
        CutWhereItMatters(/*nth_max=*/6);
        break;
      default:
        break;
    }
    const absl::Status opened = Open();
    if (opened.ok()) {
      if (report_.step == 3) ++counts->tails_cut;
      if (report_.manifest_dropped_bytes > 0) ++counts->manifests_cut;
      const bool off = fs_->power_is_off();
      if (std::string wrong = Check(); !wrong.empty()) {
        return fmt::format("cut {}: after it (log read in step {}, {} bytes dropped from {})\n{}", cut, report_.step,
                           report_.dropped_bytes, report_.dropped_from, wrong);
      }
      if (off) ++counts->cuts_while_opening;
      if (!off) {
        if (std::string wrong = Work(/*drain=*/false); !wrong.empty()) return fmt::format("cut {}: {}", cut, wrong);
      }
    } else if (fs_->power_is_off()) {
      ++counts->cuts_while_opening;
    } else {
      return fmt::format("cut {}: a wrong refusal: {}", cut, opened.ToString());
    }
    store_.reset();
    fs_->LoseUnsynced(random_());
    ++counts->cuts;
  }
  // The end: nothing fails any more, everything is run.
  if (absl::Status opened = Open(); !opened.ok()) return "a wrong refusal: " + opened.ToString();
  if (std::string wrong = Check(); !wrong.empty()) return "after the last cut\n" + wrong;
  if (std::string wrong = Work(/*drain=*/true); !wrong.empty()) return "while everything is run: " + wrong;
  store_.reset();
  if (absl::Status opened = Open(); !opened.ok()) return "a wrong refusal: " + opened.ToString();
  if (std::string wrong = Check(); !wrong.empty()) return "when everything was run\n" + wrong;
  for (const auto& [serial, task] : ledger_.tasks()) {
    if (task.fates == kUnfinished) return fmt::format("task {} never ended", serial);
  }
  store_.reset();
  counts->tasks += workload_.counts().tasks_acknowledged;
  counts->outcomes += workload_.counts().outcomes_acknowledged;
  counts->deliveries += workload_.counts().deliveries;
  counts->relaxed_undone += ledger_.undone();
  return "";
}

}  // namespace penstock::broker
