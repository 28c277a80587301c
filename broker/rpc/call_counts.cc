#include "broker/rpc/call_counts.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "grpc/grpc.h"
#include "grpc/support/alloc.h"
#include "nlohmann/json.hpp"

namespace penstock::broker {
namespace {

using Json = nlohmann::json;

// Takes over the text. Null: there is no such thing any more.
Json Parse(char* text) {
  if (text == nullptr) return nullptr;
  Json json = Json::parse(text, nullptr, false);
  gpr_free(text);
  return json;
}

const Json& Member(const Json& json, const char* name) {
  static const Json kNone;
  if (!json.is_object()) return kNone;
  const auto found = json.find(name);
  return found != json.end() ? *found : kNone;
}

std::string_view Text(const Json& json) {
  return json.is_string() ? std::string_view(json.get_ref<const std::string&>()) : std::string_view();
}

// A number of 64 bits stands as text; 0 is left out.
uint64_t Number(const Json& json) {
  const std::string_view text = Text(json);
  uint64_t number = 0;
  return absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &number) ? number : 0;
}

intptr_t Id(const Json& ref, const char* name) { return static_cast<intptr_t>(Number(Member(ref, name))); }

// Calls `visit` with every element of all pages. `read` gets the id to begin with, `next` tells that of an element.
template <class Read, class Next, class Visit>
void Walk(const char* elements, Read read, Next next, Visit visit) {
  for (intptr_t from = 0;;) {
    const Json page = Parse(read(from));
    const Json& found = Member(page, elements);
    if (!found.is_array() || found.empty()) return;
    for (const Json& element : found) {
      visit(element);
      from = next(element) + 1;
    }
    if (Member(page, "end").is_boolean()) return;  // it is only there when it is true
  }
}

intptr_t ServerId(const Json& server) { return Id(Member(server, "ref"), "serverId"); }

template <class Visit>
void WalkServers(Visit visit) {
  Walk("server", grpc_channelz_get_servers, ServerId, visit);
}

}  // namespace

uint64_t GrpcCallCounts::Started() {
  uint64_t started = 0;
  WalkServers([&](const Json& server) { started += Number(Member(Member(server, "data"), "callsStarted")); });
  return started;
}

std::map<Peer, CallsOfConnection> GrpcCallCounts::Of(const std::vector<Peer>& peers) {
  std::map<Peer, CallsOfConnection> calls;
  const auto ask = [&](const Peer& peer) {
    const auto found = sockets_.find(peer);
    if (found == sockets_.end()) return false;
    const Json socket = Parse(grpc_channelz_get_socket(found->second));
    const Json& data = Member(Member(socket, "socket"), "data");
    if (!data.is_object()) return false;
    const uint64_t started = Number(Member(data, "streamsStarted"));
    const uint64_t answered = Number(Member(data, "streamsSucceeded"));
    const uint64_t ended = answered + Number(Member(data, "streamsFailed"));
    const uint64_t asked = Number(Member(data, "messagesReceived"));
    calls[peer] = {started - std::min(started, ended), started - std::min(started, std::max(answered, asked))};
    return true;
  };
  std::vector<Peer> unknown;
  for (const Peer& peer : peers) {
    if (!ask(peer)) unknown.push_back(peer);
  }
  if (unknown.empty()) return calls;
  FindSockets();
  for (const Peer& peer : unknown) ask(peer);
  return calls;
}

void GrpcCallCounts::FindSockets() {
  sockets_.clear();
  WalkServers([this](const Json& server) {
    const intptr_t id = ServerId(server);
    const auto socket_id = [](const Json& ref) { return Id(ref, "socketId"); };
    Walk(
        "socketRef", [id](intptr_t from) { return grpc_channelz_get_server_sockets(id, from, 0); }, socket_id,
        [&](const Json& ref) {
          // "chttp2 ipv4:127.0.0.1:49591"
          const std::string_view name = Text(Member(ref, "name"));
          const size_t space = name.rfind(' ');
          if (const auto peer = Peer::FromUri(name.substr(space == std::string_view::npos ? 0 : space + 1))) {
            sockets_[*peer] = socket_id(ref);
          }
        });
  });
}

}  // namespace penstock::broker
