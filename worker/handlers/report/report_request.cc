#include "worker/handlers/report/report_request.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/crc32c.h"
#include "common/status.h"
#include "fmt/format.h"
#include "worker/handlers/report/report_model.h"

namespace penstock::report {
namespace {

using Json = nlohmann::json;

absl::Status Wrong(std::string_view field, std::string_view what) {
  return absl::InvalidArgumentError(fmt::format("{}: {}", field, what));
}

absl::StatusOr<Json> ParseObject(std::string_view what, std::string_view text,
                                 std::initializer_list<std::string_view> fields) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    std::string why = error.what();  // It quotes the payload, which may be anything.
    std::replace_if(
        why.begin(), why.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
    return Wrong(what, fmt::format("is no valid JSON: {}", why));
  }
  if (!json.is_object()) return Wrong(what, fmt::format("must be a JSON object, not {}", json.type_name()));
  for (const auto& item : json.items()) {
    bool known = false;
    std::string names;
    for (const std::string_view field : fields) {
      known = known || field == item.key();
      names += names.empty() ? "" : ", ";
      names += field;
    }
    if (!known) return Wrong(CutUtf8(item.key(), 100), fmt::format("unknown field; known are {}", names));
  }
  return json;
}

// Leaves `value` as it is when the field is absent.
absl::Status ReadText(const Json& json, const char* field, size_t size_bytes_max, std::string* value) {
  const auto found = json.find(field);
  if (found == json.end()) return absl::OkStatus();
  if (!found->is_string()) return Wrong(field, fmt::format("must be a string, not {}", found->type_name()));
  *value = found->get<std::string>();
  if (value->size() > size_bytes_max) return Wrong(field, fmt::format("must have at most {} bytes", size_bytes_max));
  return absl::OkStatus();
}

absl::Status ReadTexts(const Json& json, const char* field, size_t count_max, std::vector<std::string>* values) {
  const auto found = json.find(field);
  if (found == json.end()) return absl::OkStatus();
  if (!found->is_array()) return Wrong(field, fmt::format("must be a list of strings, not {}", found->type_name()));
  if (found->size() > count_max) return Wrong(field, fmt::format("must have at most {} elements", count_max));
  for (size_t i = 0; i < found->size(); ++i) {
    const Json& element = (*found)[i];
    if (!element.is_string()) {
      return Wrong(fmt::format("{}[{}]", field, i), fmt::format("must be a string, not {}", element.type_name()));
    }
    values->push_back(element.get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status CheckPath(std::string_view field, std::string_view path) {
  constexpr size_t kPathBytesMax = 4095;
  if (path.empty() || path[0] != '/') return Wrong(field, fmt::format("must be an absolute path, not '{}'", path));
  if (path.size() > kPathBytesMax) return Wrong(field, fmt::format("must have at most {} bytes", kPathBytesMax));
  if (path.find('\0') != std::string_view::npos) return Wrong(field, "must not contain a zero byte");
  return absl::OkStatus();
}

absl::Status CheckPaths(std::string_view field, const std::vector<std::string>& paths) {
  for (size_t i = 0; i < paths.size(); ++i) {
    RETURN_IF_ERROR(CheckPath(fmt::format("{}[{}]", field, i), paths[i]));
  }
  return absl::OkStatus();
}

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// A file's name made of a title: letters and digits stay, spaces become dashes. When more than that is lost, a checksum
// keeps the names of two titles apart.
std::string FileNameOf(std::string_view title) {
  constexpr size_t kNameBytesMax = 100;
  std::string name;
  bool exact = title.size() <= kNameBytesMax;
  for (const char c : title.substr(0, kNameBytesMax)) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || (c == '.' && !name.empty())) {
      name += c;
      continue;
    }
    exact = exact && (c == ' ' || c == '-');
    if (!name.empty() && name.back() != '-') name += '-';
  }
  while (!name.empty() && (name.back() == '-' || name.back() == '.')) name.pop_back();
  if (name.empty()) name = "report";
  if (!exact) name += fmt::format("-{:08x}", Crc32c(title));
  return name + ".html";
}

}  // namespace

std::string ReportRequest::OutputPath() const {
  if (EndsWith(output, ".html") || EndsWith(output, ".htm")) return output;
  return output + (output.back() == '/' ? "" : "/") + FileNameOf(title);
}

absl::StatusOr<ReportRequest> ParseReportRequest(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, ParseObject("payload", text, {"title", "files", "inline", "suite", "output"}));
  ReportRequest request;
  RETURN_IF_ERROR(ReadText(json, "title", ReportRequest::kTitleBytesMax, &request.title));
  RETURN_IF_ERROR(ReadText(json, "suite", ReportRequest::kSuiteBytesMax, &request.suite));
  RETURN_IF_ERROR(ReadText(json, "output", SIZE_MAX, &request.output));
  RETURN_IF_ERROR(ReadTexts(json, "files", ReportRequest::kDocumentsMax, &request.files));
  RETURN_IF_ERROR(ReadTexts(json, "inline", ReportRequest::kDocumentsMax, &request.inline_documents));
  RETURN_IF_ERROR(CheckPaths("files", request.files));
  if (request.files.empty() && request.inline_documents.empty()) {
    return Wrong("files", "name at least one JUnit XML file, or give one in inline");
  }
  if (request.output.empty()) return Wrong("output", "is required: the folder or the .html file to write");
  RETURN_IF_ERROR(CheckPath("output", request.output));
  if (request.title.empty()) request.title = request.suite.empty() ? "Test report" : request.suite;
  return request;
}

absl::StatusOr<ReportOptions> ParseReportOptions(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, ParseObject("options", text, {"folders"}));
  ReportOptions options;
  RETURN_IF_ERROR(ReadTexts(json, "folders", 1'000, &options.folders));
  RETURN_IF_ERROR(CheckPaths("folders", options.folders));
  return options;
}

}  // namespace penstock::report
