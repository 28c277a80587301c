#include "client/cli/status_screen.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_join.h"
#include "client/cli/estimate_text.h"
#include "client/cli/output.h"
#include "client/cli/proto_time.h"
#include "client/cli/table.h"
#include "common/units.h"
#include "fmt/format.h"
#include "penstock/v1/admin_service.pb.h"

namespace penstock::cli {
namespace {

// A worker that was not heard for this long has missed a renewal of its lease (30 s, renewed every 10 s).
constexpr absl::Duration kQuiet = absl::Seconds(15);

Cell Count(uint64_t count, Style style = Style::kPlain) {
  return {FormatCount(count), count == 0 ? Style::kDim : style};
}
Cell Rate(double rate) { return {FormatRate(rate), FormatRate(rate) == "0" ? Style::kDim : Style::kPlain}; }

class Screen {
 public:
  Screen(const v1::GetStatusResponse& status, const ScreenOptions& options) : status_(status), options_(options) {
    for (const v1::Queue& queue : status.queues()) queues_.push_back(&queue);
    Sort();
  }

  std::string Render() {
    AddHealth();
    AddWarnings();
    AddFacts();
    const std::string top = std::exchange(text_, "");
    const std::string totals = Totals();
    FitRows(
        static_cast<int>(std::count(top.begin(), top.end(), '\n') + std::count(totals.begin(), totals.end(), '\n')));
    AddQueues();
    AddWorkers();
    return CutLines(top + text_, options_.columns);
  }

 private:
  void Line(std::string_view text) {
    text_ += text;
    text_ += '\n';
  }
  std::string Painted(std::string_view text, Style style) const { return Paint(text, style, options_.color); }
  TableOptions MakeTableOptions() const {
    return {.columns = options_.columns, .color = options_.color, .headers = options_.headers, .indent = 2};
  }

  void Sort() {
    const auto by = [this](auto key) {
      std::stable_sort(queues_.begin(), queues_.end(),
                       [&](const v1::Queue* a, const v1::Queue* b) { return key(*a) > key(*b); });
    };
    switch (options_.order) {
      case QueueOrder::kOldest:
        break;
      case QueueOrder::kName:
        std::stable_sort(queues_.begin(), queues_.end(),
                         [](const v1::Queue* a, const v1::Queue* b) { return a->name() < b->name(); });
        break;
      case QueueOrder::kAvailable:
        return by([](const v1::Queue& queue) { return queue.stats().available(); });
      case QueueOrder::kRunning:
        return by([](const v1::Queue& queue) { return queue.stats().running(); });
      case QueueOrder::kDead:
        return by([](const v1::Queue& queue) { return queue.stats().dead(); });
      case QueueOrder::kIn:
        return by([](const v1::Queue& queue) { return queue.stats().enqueue_rate(); });
      case QueueOrder::kOut:
        return by([](const v1::Queue& queue) { return queue.stats().finish_rate(); });
    }
  }

  // What is left of the screen after `used` rows goes to queues and workers, to workers a third at least if there are
  // so many.
  void FitRows(int used) {
    queues_max_ = status_.queues_size();
    workers_max_ = status_.workers_size();
    if (options_.rows <= 0) return;
    const int left = std::max(2, options_.rows - used - 6);  // 6: blank lines, headings, titles
    workers_max_ = std::min(workers_max_, std::max(left / 3, left - queues_max_));
    queues_max_ = std::min(queues_max_, left - workers_max_);
  }

  void AddHealth() {
    const v1::BrokerStatus& broker = status_.broker();
    std::string health = Painted("healthy", Style::kGreen);
    if (HasProblems())
      health = Painted("PROBLEMS", Style::kRed);
    else if (!IsHealthy(status_))
      health = Painted("degraded", Style::kYellow);
    Line(fmt::format("{}  penstock-broker {} at {}, up {}", health, Painted(Printable(broker.version()), Style::kBold),
                     options_.endpoint, penstock::FormatDuration(options_.now - ToTime(broker.start_time()))));
  }

  bool HasProblems() const { return status_.broker().problems_size() > 0 || status_.broker().enqueues_refused(); }

  void AddWarnings() {
    for (const std::string& problem : status_.broker().problems()) Warn(Printable(problem), Style::kRed);
    if (status_.broker().enqueues_refused() && status_.broker().problems_size() == 0) {
      Warn("enqueues are refused: the disk is below its watermark", Style::kRed);
    }
    for (const v1::Queue* queue : queues_) {
      const auto& types = queue->stats().unhandled_types();
      if (types.empty()) continue;
      Warn(fmt::format("queue {}: no connected worker handles {}; its tasks wait until one does", queue->name(),
                       Printable(absl::StrJoin(types, ", "))),
           Style::kYellow);
    }
    for (const v1::Worker& worker : status_.workers()) {
      if (worker.stuck_task_ids_size() == 0) continue;
      Warn(fmt::format("worker {}: handlers ignore their timeout and hold slots: {}", Printable(worker.name()),
                       absl::StrJoin(worker.stuck_task_ids(), ", ")),
           Style::kYellow);
    }
  }
  void Warn(std::string_view text, Style style) {
    Line(Painted(Wrap(fmt::format("  ! {}", text), options_.columns, 4), style));
  }

  void AddFacts() {
    const v1::BrokerStatus& broker = status_.broker();
    const bool low = broker.disk_free_bytes() <= broker.disk_watermark_bytes();
    Line("");
    Line(fmt::format("  disk     {} free, enqueues stop below {}",
                     Painted(FormatSize(broker.disk_free_bytes()), low ? Style::kRed : Style::kPlain),
                     FormatSize(broker.disk_watermark_bytes())));
    Line(fmt::format("  data     {} in {}", FormatSize(broker.data_bytes()),
                     broker.data_dir().empty() ? "memory" : Printable(broker.data_dir())));
    Line(fmt::format("  memory   {}, of it {} of commands waiting", FormatSize(broker.memory_bytes()),
                     FormatSize(broker.mailbox_bytes())));
    Line(fmt::format("  commits  {} with {} fsyncs, the last ones {} (median) and {} (p99)",
                     FormatCount(broker.commit_count()), FormatCount(broker.sync_count()),
                     penstock::FormatDuration(ToDuration(broker.commit_latency_p50())),
                     penstock::FormatDuration(ToDuration(broker.commit_latency_p99()))));
    if (broker.throttles_waiting() > 0) {
      Line(fmt::format("  held     tasks wait for {}: penstock throttle list",
                       CountOf(broker.throttles_waiting(), "throttle")));
    }
    if (broker.cooled_waiting() > 0) {
      Line(fmt::format("  cooled   {} with tasks that wait, left alone for a while since a handler asked for it",
                       broker.cooled_waiting() == 1
                           ? "1 queue, type, group or key"
                           : FormatCount(broker.cooled_waiting()) + " queues, types, groups or keys"));
    }
    if (broker.bulk_jobs_running() > 0) {
      Line(fmt::format("  bulk     {} under way: penstock bulk list", CountOf(broker.bulk_jobs_running(), "job")));
    }
  }

  // What follows QUEUES.
  std::string Totals() const {
    static constexpr std::string_view kTitle = "QUEUES";
    const v1::QueueStats& totals = status_.totals();
    const std::string text =
        fmt::format("{} {}: {} available, {} scheduled, {} running, {} retryable, {} dead; {}/s in, {}/s out", kTitle,
                    FormatCount(static_cast<uint64_t>(status_.queue_count())), FormatCount(totals.available()),
                    FormatCount(totals.scheduled()), FormatCount(totals.running()), FormatCount(totals.retryable()),
                    FormatCount(totals.dead()), FormatRate(totals.enqueue_rate()), FormatRate(totals.finish_rate()));
    return Wrap(text, options_.columns, 2).substr(kTitle.size());
  }

  static Cell NoteOf(const v1::Queue& queue) {
    const std::string flags = FlagsOf(queue);
    if (!flags.empty() || !queue.stats().has_drained_in()) return {flags, Style::kYellow};
    return {"drained in " + EstimateText(queue.stats().drained_in()), Style::kDim};
  }

  void AddQueues() {
    Line("");
    Line(Painted("QUEUES", Style::kBold) + Totals());
    if (status_.queue_count() == 0) {
      Line(
          "  none yet: a queue appears when the first task is enqueued, for instance: penstock enqueue mail mail.send "
          "hello");
      return;
    }
    Table table({{.title = "NAME", .shrink_to = 12},
                 {.title = "AVAILABLE", .right = true},
                 {.title = "OLDEST", .right = true},
                 {.title = "RUNNING", .right = true},
                 {.title = "SCHEDULED", .right = true, .optional = 1},
                 {.title = "RETRYABLE", .right = true, .optional = 3},
                 {.title = "DEAD", .right = true},
                 {.title = "IN/S", .right = true, .optional = 2},
                 {.title = "OUT/S", .right = true, .optional = 2},
                 {.title = "NOTES"}});
    for (int i = 0; i < queues_max_; ++i) {
      const v1::Queue& queue = *queues_[static_cast<size_t>(i)];
      const v1::QueueStats& stats = queue.stats();
      const Style name_style = stats.unhandled_types_size() > 0 ? Style::kYellow : Style::kBold;
      table.AddRow({Cell(queue.name(), name_style), Count(stats.available()),
                    stats.available() > 0 ? Cell(penstock::FormatDuration(ToDuration(stats.oldest_age())))
                                          : Cell("-", Style::kDim),
                    Count(stats.running()), Count(stats.scheduled()), Count(stats.retryable(), Style::kYellow),
                    Count(stats.dead(), Style::kRed), Rate(stats.enqueue_rate()), Rate(stats.finish_rate()),
                    NoteOf(queue)});
    }
    text_ += table.Render(MakeTableOptions());
    if (queues_max_ < status_.queue_count()) {
      Line(fmt::format("  and {} more: penstock queue list",
                       FormatCount(static_cast<uint64_t>(status_.queue_count() - queues_max_))));
    }
  }

  void AddWorkers() {
    int slots = 0;
    int used = 0;
    for (const v1::Worker& worker : status_.workers()) {
      slots += worker.concurrency();
      used += worker.started() + worker.stuck_task_ids_size();
    }
    const bool all = status_.workers_size() == status_.worker_count();
    Line("");
    Line(fmt::format("{} {}{}", Painted("WORKERS", Style::kBold),
                     FormatCount(static_cast<uint64_t>(status_.worker_count())),
                     all && slots > 0 ? fmt::format(": {} of {} slots in use", used, slots) : ""));
    if (status_.worker_count() == 0) {
      Line("  none: nothing runs until one connects, for instance: penstock-worker --config worker.yaml");
      return;
    }
    Table table({{.title = "NAME", .shrink_to = 12},
                 {.title = "ID"},
                 {.title = "SLOTS", .right = true},
                 {.title = "HEARD", .right = true},
                 {.title = "HOST:PID", .shrink_to = 10, .optional = 1},
                 {.title = "QUEUES", .shrink_to = 10},
                 {.title = "TYPES", .shrink_to = 10},
                 {.title = "NOTES"}});
    for (int i = 0; i < workers_max_; ++i) AddWorker(status_.workers(i), &table);
    text_ += table.Render(MakeTableOptions());
    if (workers_max_ < status_.worker_count()) {
      Line(fmt::format("  and {} more: penstock worker list",
                       FormatCount(static_cast<uint64_t>(status_.worker_count() - workers_max_))));
    }
  }

  void AddWorker(const v1::Worker& worker, Table* table) {
    const absl::Duration silence = ToDuration(worker.silence());
    const int stuck = worker.stuck_task_ids_size();
    std::vector<std::string> notes;
    if (!worker.connected()) notes.push_back("disconnected");
    if (worker.draining()) notes.push_back("draining");
    if (stuck > 0) notes.push_back(fmt::format("{} stuck", stuck));
    // Tasks that were delivered ahead of time.
    if (worker.running() > worker.started())
      notes.push_back(fmt::format("{} prefetched", worker.running() - worker.started()));
    const bool odd = !worker.connected() || worker.draining() || stuck > 0;
    table->AddRow({Cell(worker.name(), Style::kBold), worker.worker_id(),
                   Cell(fmt::format("{}/{}", worker.started() + stuck, worker.concurrency())),
                   Cell(penstock::FormatDuration(silence) + " ago", silence > kQuiet ? Style::kYellow : Style::kPlain),
                   Cell(fmt::format("{}:{}", worker.host(), worker.pid())), Cell(absl::StrJoin(worker.queues(), ",")),
                   Cell(absl::StrJoin(worker.types(), ",")),
                   Cell(absl::StrJoin(notes, ", "), odd ? Style::kYellow : Style::kDim)});
  }

  const v1::GetStatusResponse& status_;
  const ScreenOptions& options_;
  std::vector<const v1::Queue*> queues_;
  int queues_max_ = 0;
  int workers_max_ = 0;
  std::string text_;
};

}  // namespace

std::string RenderStatus(const v1::GetStatusResponse& status, const ScreenOptions& options) {
  return Screen(status, options).Render();
}

bool IsHealthy(const v1::GetStatusResponse& status) {
  return status.broker().problems_size() == 0 && !status.broker().enqueues_refused() &&
         std::all_of(status.queues().begin(), status.queues().end(),
                     [](const v1::Queue& queue) { return queue.stats().unhandled_types_size() == 0; });
}

std::string FlagsOf(const v1::Queue& queue) {
  std::vector<std::string> flags;
  if (queue.paused()) flags.push_back("paused");
  if (queue.draining()) flags.push_back("draining");
  const v1::QueueSettings& settings = queue.settings();
  const v1::QueueStats& stats = queue.stats();
  const uint64_t waiting = stats.available() + stats.scheduled() + stats.retryable();
  if ((settings.max_waiting() != 0 && waiting >= settings.max_waiting()) ||
      (settings.max_waiting_bytes() != 0 && stats.waiting_bytes() >= settings.max_waiting_bytes())) {
    flags.push_back("full");
  }
  if (settings.durability() == v1::DURABILITY_RELAXED) flags.push_back("relaxed");
  return absl::StrJoin(flags, ", ");
}

}  // namespace penstock::cli
