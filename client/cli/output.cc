#include "client/cli/output.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_replace.h"
#include "common/units.h"
#include "fmt/format.h"
#include "fmt/ostream.h"
#include "google/protobuf/message.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"
#include "yaml-cpp/yaml.h"

namespace penstock::cli {
namespace {

using Json = nlohmann::ordered_json;

Json ToTree(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  // Fails only for times outside what JSON can hold, which the broker never sends.
  return status.ok() ? Json::parse(text, nullptr, /*allow_exceptions=*/false) : Json::object();
}

// Replaces what is not UTF-8, so that a message never fails to print.
std::string Dump(const Json& tree, int indent) {
  return tree.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

// Every line but the first moved to the right.
std::string Indented(const std::string& text, int by) {
  return absl::StrReplaceAll(text, {{"\n", "\n" + std::string(static_cast<size_t>(by), ' ')}});
}

// Text that no reader of YAML takes for a number, a date, true, or nothing.
bool IsPlainYaml(const std::string& text) {
  static constexpr std::string_view kWords[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
  if (text.empty() || !absl::ascii_isalpha(static_cast<unsigned char>(text[0]))) return false;
  const std::string lower = absl::AsciiStrToLower(text);
  if (std::find(std::begin(kWords), std::end(kWords), lower) != std::end(kWords)) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.' || c == '/';
  });
}

void Emit(const Json& tree, YAML::Emitter* out) {
  if (tree.is_object()) {
    *out << (tree.empty() ? YAML::Flow : YAML::Block) << YAML::BeginMap;
    for (const auto& [key, value] : tree.items()) {
      *out << YAML::Key;
      Emit(Json(key), out);
      *out << YAML::Value;
      Emit(value, out);
    }
    *out << YAML::EndMap;
  } else if (tree.is_array()) {
    *out << (tree.empty() ? YAML::Flow : YAML::Block) << YAML::BeginSeq;
    for (const Json& value : tree) Emit(value, out);
    *out << YAML::EndSeq;
  } else if (tree.is_string()) {
    const std::string text = tree.get<std::string>();
    if (!IsPlainYaml(text)) *out << YAML::DoubleQuoted;
    *out << text;
  } else {
    // Numbers, booleans and null are written alike in both, but for 1e-05: without a point it is text in YAML 1.1.
    std::string text = Dump(tree, -1);
    const size_t exponent = tree.is_number_float() ? text.find('e') : std::string::npos;
    if (exponent != std::string::npos && text.find('.') == std::string::npos) text.insert(exponent, ".0");
    *out << text;
  }
}

std::string YamlOf(const Json& tree) {
  YAML::Emitter out;
  Emit(tree, &out);
  return out.c_str();
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message, bool pretty) {
  return pretty ? Dump(ToTree(message), 2) + "\n" : Dump(ToTree(message), -1);
}

std::string ToYaml(const google::protobuf::Message& message) { return YamlOf(ToTree(message)) + "\n"; }

namespace {

absl::Status PrintTree(CommandContext& context, const std::function<Json()>& tree, std::string_view name,
                       const std::function<std::string()>& table) {
  std::ostream& out = context.console.out;
  switch (context.globals.format) {
    case Format::kTable:
      out << table();
      break;
    case Format::kJson:
      out << Dump(tree(), 2) << "\n";
      break;
    case Format::kJsonl:
      out << Dump(tree(), -1) << "\n";
      break;
    case Format::kYaml:
      // Several objects are several documents.
      if (std::exchange(context.yaml_begun, true)) out << "---\n";
      out << YamlOf(tree()) << "\n";
      break;
    case Format::kName:
      if (name.empty()) return absl::InvalidArgumentError(kHasNoName);
      out << name << "\n";
      break;
  }
  out.flush();
  return absl::OkStatus();
}

}  // namespace

absl::Status PrintMessage(CommandContext& context, const google::protobuf::Message& message, std::string_view name,
                          const std::function<std::string()>& table) {
  return PrintTree(
      context, [&] { return ToTree(message); }, name, table);
}

absl::Status PrintObject(CommandContext& context, const std::string& json, std::string_view name,
                         const std::function<std::string()>& table) {
  return PrintTree(
      context, [&] { return Json::parse(json, nullptr, /*allow_exceptions=*/false); }, name, table);
}

ListPrinter::ListPrinter(CommandContext& context, std::string_view things, std::vector<Column> columns)
    : context_(context), things_(things), table_(std::move(columns)) {}

void ListPrinter::Add(const google::protobuf::Message& item, std::string_view name, std::vector<Cell> cells) {
  std::ostream& out = context_.console.out;
  switch (context_.globals.format) {
    case Format::kTable:
      table_.AddRow(std::move(cells));
      break;
    case Format::kJson:
      out << (any_ ? ",\n    " : "{\n  \"items\": [\n    ") << Indented(Dump(ToTree(item), 2), 4);
      break;
    case Format::kJsonl:
      out << ToJson(item, false) << "\n";
      break;
    case Format::kYaml:
      out << (any_ ? "  - " : "items:\n  - ") << Indented(YamlOf(ToTree(item)), 4) << "\n";
      break;
    case Format::kName:
      out << name << "\n";
      break;
  }
  any_ = true;
}

void ListPrinter::Finish(std::string_view next_page_token) {
  std::ostream& out = context_.console.out;
  const std::string token = Dump(Json(std::string(next_page_token)), -1);
  switch (context_.globals.format) {
    case Format::kTable:
      if (any_)
        out << table_.Render(context_.MakeTableOptions());
      else
        context_.Note(fmt::format("no {}", things_));
      break;
    case Format::kJson:
      out << (any_ ? "\n  ]" : "{\n  \"items\": []") << ",\n  \"next_page_token\": " << token << "\n}\n";
      break;
    case Format::kYaml:
      out << (any_ ? "" : "items: []\n") << "next_page_token: " << token << "\n";
      break;
    case Format::kJsonl:
    case Format::kName:
      break;
  }
  out.flush();
  const bool token_printed = context_.globals.format == Format::kJson || context_.globals.format == Format::kYaml;
  if (!next_page_token.empty() && !token_printed) {
    context_.Note(
        fmt::format("there are more {}: --page-token {} goes on, --limit 0 shows all", things_, next_page_token));
  }
}

absl::Status PrintBytes(CommandContext& context, std::string_view bytes, std::string_view what,
                        std::string_view content_type, const std::string& file) {
  if (!file.empty()) {
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.close();
    if (!out) return absl::UnknownError(fmt::format("cannot write {}: {}", file, std::strerror(errno)));
    context.Note(fmt::format("{} of {} in {}", FormatSize(bytes.size()), what, file));
    return absl::OkStatus();
  }
  if (context.console.out_is_terminal && !IsText(bytes)) {
    return absl::InvalidArgumentError(
        fmt::format("the {} ({} of {}) is no text for a terminal: use --out FILE", what, FormatSize(bytes.size()),
                    content_type.empty() ? "application/octet-stream" : Printable(content_type)));
  }
  context.console.out << bytes;
  if (context.console.out_is_terminal && !bytes.empty() && !bytes.ends_with('\n')) context.console.out << "\n";
  context.console.out.flush();
  return absl::OkStatus();
}

std::string Word(std::string_view enum_name, std::string_view prefix) {
  std::string word(enum_name.starts_with(prefix) ? enum_name.substr(prefix.size()) : enum_name);
  absl::AsciiStrToLower(&word);
  std::replace(word.begin(), word.end(), '_', ' ');
  return word;
}

std::string Relative(absl::Time time, absl::Time now) {
  if (time == absl::UnixEpoch()) return "-";
  const absl::Duration ago = now - time;
  if (absl::AbsDuration(ago) < absl::Seconds(1)) return "now";
  return ago > absl::ZeroDuration() ? penstock::FormatDuration(ago) + " ago" : "in " + penstock::FormatDuration(-ago);
}

std::string RelativeAndExact(absl::Time time, absl::Time now) {
  return fmt::format("{} ({})", Relative(time, now),
                     absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone()));
}

std::string CountOf(uint64_t count, std::string_view thing) {
  return fmt::format("{} {}{}", FormatCount(count), thing, count == 1 ? "" : "s");
}

std::string FormatRate(double per_second) {
  if (per_second > 0 && per_second < 9.95) return fmt::format("{:.1f}", per_second);
  return FormatCount(static_cast<uint64_t>(std::llround(std::max(per_second, 0.0))));
}

}  // namespace penstock::cli
