// Unique keys, changes of waiting tasks, and a queue that takes only so much, from a service's point of view. Needs a
// broker, no worker.
//
//   enqueueing_example 127.0.0.1:7420

#include <iostream>

#include "client/client.h"
#include "common/status_details.h"

namespace {

int Fail(const absl::Status& status) {
  std::cerr << status << std::endl;
  return 1;
}

// A page was edited: it is indexed once it has been left alone for 30 seconds, as it is then.
absl::StatusOr<penstock::EnqueueResult> IndexSoon(penstock::Client& client, const std::string& page,
                                                  const std::string& text) {
  penstock::NewTask task;
  task.queue = "search";
  task.type = "page.index";
  task.payload = text;
  task.options.unique_key = page;
  task.options.unique_while_waiting = true;  // an edit while the page is being indexed has it indexed again
  task.options.unique_conflict = penstock::UniqueConflict::kDebounce;
  task.options.delay = absl::Seconds(30);
  return client.Enqueue(std::move(task));
}

}  // namespace

int main(int argc, char** argv) {
  auto client = penstock::Client::Connect(argc > 1 ? argv[1] : "127.0.0.1:7420");
  if (!client.ok()) return Fail(client.status());

  for (const char* text : {"draft", "better", "good"}) {
    const auto result = IndexSoon(**client, "page-7", text);
    if (!result.ok()) return Fail(result.status());
    std::cout << "task " << result->id.ToString() << (result->replaced ? " has the new text" : " is new") << std::endl;
  }

  // The customer has corrected the address while the mail waits.
  const auto mail = (*client)->Enqueue("mail", "mail.send", "to: an@example.com", {.delay = absl::Minutes(10)});
  if (!mail.ok()) return Fail(mail.status());
  penstock::TaskChange correction;
  correction.payload = "to: ann@example.com";
  correction.priority = 9;
  const auto changed = (*client)->UpdateTask(*mail, correction);
  if (!changed.ok()) return Fail(changed.status());
  std::cout << "task " << mail->ToString() << " is at revision " << changed->revision << std::endl;
  // And has changed his mind.
  if (const absl::Status deleted = (*client)->DeleteTask(*mail); !deleted.ok()) return Fail(deleted);
  const auto gone = (*client)->GetTask(*mail);
  std::cout << "then: " << absl::StatusCodeToString(gone.status().code()) << std::endl;
  return absl::IsNotFound(gone.status()) ? 0 : 1;
}
