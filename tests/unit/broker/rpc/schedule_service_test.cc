#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/core/schedule.h"
#include "common/status_details.h"
#include "common/status_grpc.h"
#include "gtest/gtest.h"
#include "penstock/v1/schedule_service.grpc.pb.h"
#include "tests/unit/broker/rpc/edge_fixture.h"

namespace penstock::broker {
namespace {

using Stub = v1::ScheduleService::Stub;

class ScheduleServiceTest : public EdgeFixture {
 protected:
  ScheduleServiceTest() {
    auto definition = std::make_shared<ScheduleDefinition>();
    definition->times.interval = 10 * kSecond;
    definition->task.queue = "mail";
    v1::TaskSpec spec;
    spec.set_queue("mail");
    spec.set_payload("p");
    definition->task.spec = spec.SerializeAsString();
    definition_ = std::move(definition);
    door.SetScript([this](const Command& command, Effects* effects) { return Answer(command, effects); });
  }

  ScheduleView View(const std::string& name) const {
    ScheduleView view;
    view.name = name;
    view.definition = definition_;
    view.next = view.anchor = 1'800'000'000 * kSecond;
    return view;
  }

  bool Answer(const Command& command, Effects* effects) {
    if (const auto* schedule = std::get_if<ScheduleCommand>(&command)) {
      command_ = *schedule;
      effects->replies.push_back({schedule->ticket, status_, {}});
      if (status_.ok()) effects->replies.back().value = ScheduleReply{View(schedule->name), TaskId(0, 7, 1)};
    } else if (const auto* list = std::get_if<ListSchedulesCommand>(&command)) {
      SchedulesReply reply;
      for (const char* name : {"a", "b", "c"}) {
        if (std::string(name) <= list->after) continue;
        if (reply.schedules.size() == list->limit) {
          reply.more = true;
          break;
        }
        reply.schedules.push_back(View(name));
      }
      effects->replies.push_back({list->ticket, absl::OkStatus(), std::move(reply)});
    }
    return !effects->empty();
  }

  template <class Request, class Response>
  absl::Status Call(grpc::Status (Stub::*rpc)(grpc::ClientContext*, const Request&, Response*), const Request& request,
                    Response* response) {
    grpc::ClientContext context;
    return FromGrpc(((*stub_).*rpc)(&context, request, response));
  }

  // Calls a method that names a schedule and no more.
  template <class Request, class Response>
  void Steer(grpc::Status (Stub::*rpc)(grpc::ClientContext*, const Request&, Response*), ScheduleVerb verb) {
    Request request;
    Response response;
    EXPECT_EQ(Call(rpc, request, &response).code(), absl::StatusCode::kInvalidArgument);
    request.set_name("nightly");
    EXPECT_TRUE(Call(rpc, request, &response).ok());
    EXPECT_EQ(command_.verb, verb);
    EXPECT_EQ(command_.name, "nightly");
    if constexpr (requires { response.schedule(); }) {
      EXPECT_EQ(response.schedule().name(), "nightly");
      EXPECT_EQ(response.schedule().task().payload(), "p");
      EXPECT_EQ(response.schedule().next_times_size(), 5);
    }
  }

  std::unique_ptr<Stub> stub_ = v1::ScheduleService::NewStub(channel);
  std::shared_ptr<const ScheduleDefinition> definition_;
  ScheduleCommand command_;
  absl::Status status_;
};

TEST_F(ScheduleServiceTest, EachMethodAsksTheCore) {
  Steer(&Stub::GetSchedule, ScheduleVerb::kGet);
  Steer(&Stub::PauseSchedule, ScheduleVerb::kPause);
  Steer(&Stub::ResumeSchedule, ScheduleVerb::kResume);
  Steer(&Stub::DeleteSchedule, ScheduleVerb::kDelete);
  Steer(&Stub::RunScheduleNow, ScheduleVerb::kRunNow);
  v1::RunScheduleNowRequest run;
  run.set_name("nightly");
  v1::RunScheduleNowResponse ran;
  ASSERT_TRUE(Call(&Stub::RunScheduleNow, run, &ran).ok());
  EXPECT_EQ(ran.task_id(), TaskId(0, 7, 1).ToString());
  v1::UpdateScheduleRequest update;
  update.set_name("nightly");
  update.set_note("slower");
  v1::UpdateScheduleResponse updated;
  ASSERT_TRUE(Call(&Stub::UpdateSchedule, update, &updated).ok());
  EXPECT_EQ(command_.verb, ScheduleVerb::kUpdate);
  EXPECT_EQ(command_.change->note, "slower");
  EXPECT_EQ(updated.schedule().name(), "nightly");
}

TEST_F(ScheduleServiceTest, CreateChecksBeforeItAsks) {
  v1::CreateScheduleRequest request;
  v1::CreateScheduleResponse response;
  request.mutable_schedule()->set_name("n");
  request.mutable_schedule()->mutable_times()->set_cron("0 0 30 2 *");
  const absl::Status refused = Call(&Stub::CreateSchedule, request, &response);
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FieldOf(refused), "schedule.times.cron");
  EXPECT_EQ(command_.name, "");
  request.mutable_schedule()->mutable_times()->set_cron("@daily");
  request.mutable_schedule()->mutable_task()->set_queue("mail");
  request.mutable_schedule()->mutable_task()->set_type("send");
  ASSERT_TRUE(Call(&Stub::CreateSchedule, request, &response).ok());
  EXPECT_EQ(command_.verb, ScheduleVerb::kCreate);
  EXPECT_EQ(response.schedule().name(), "n");
}

TEST_F(ScheduleServiceTest, TheCoresRefusalIsTheAnswer) {
  status_ = absl::NotFoundError("there is no schedule x");
  v1::GetScheduleRequest request;
  request.set_name("x");
  v1::GetScheduleResponse response;
  EXPECT_EQ(Call(&Stub::GetSchedule, request, &response), status_);
}

TEST_F(ScheduleServiceTest, ListsArePagedByName) {
  std::vector<std::string> names;
  v1::ListSchedulesRequest request;
  request.set_page_size(2);
  do {
    v1::ListSchedulesResponse response;
    ASSERT_TRUE(Call(&Stub::ListSchedules, request, &response).ok());
    ASSERT_LE(response.schedules_size(), 2);
    for (const v1::Schedule& schedule : response.schedules()) {
      names.push_back(schedule.name());
      EXPECT_EQ(schedule.task().payload(), "");
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(ScheduleServiceTest, APageOfLargeTasksIsShortAndNotTheLast) {
  auto definition = std::make_shared<ScheduleDefinition>(*definition_);
  v1::TaskSpec spec;
  spec.set_payload(std::string(5 << 20, 'p'));
  definition->task.spec = spec.SerializeAsString();
  definition_ = definition;
  v1::ListSchedulesRequest request;
  v1::ListSchedulesResponse response;
  ASSERT_TRUE(Call(&Stub::ListSchedules, request, &response).ok());
  EXPECT_EQ(response.schedules_size(), 1);
  EXPECT_EQ(response.next_page_token(), "a");
}

TEST_F(ScheduleServiceTest, APreviewAsksNobody) {
  door.SetRefusal(absl::UnavailableError("away"));
  v1::PreviewScheduleRequest request;
  request.mutable_times()->mutable_interval()->set_seconds(60);
  request.set_count(3);
  v1::PreviewScheduleResponse response;
  ASSERT_TRUE(Call(&Stub::PreviewSchedule, request, &response).ok());
  ASSERT_EQ(response.ticks_size(), 3);
  EXPECT_EQ(response.ticks(1).seconds() - response.ticks(0).seconds(), 60);
}

}  // namespace
}  // namespace penstock::broker
