#include "worker/handlers/report/html_text.h"

#include <cstddef>

#include "common/units.h"
#include "fmt/format.h"
#include "worker/handlers/report/report_model.h"

namespace penstock::report {
namespace {

// The code point of a bidirectional control character (U+202A..U+202E, U+2066..U+2069) at the beginning of `text`, or
// 0.
uint32_t DirectionMark(std::string_view text) {
  if (text.size() < 3 || text[0] != '\xE2') return 0;
  const auto last = static_cast<unsigned char>(text[2]);
  if (text[1] == '\x80' && last >= 0xAA && last <= 0xAE) return 0x2000 | (last & 0x3Fu);
  if (text[1] == '\x81' && last >= 0xA6 && last <= 0xA9) return 0x2040 | (last & 0x3Fu);
  return 0;
}

bool SaysOnlyWhere(std::string_view line) {
  if (line == "unknown file") return true;
  const size_t digits = line.find_last_not_of("0123456789");
  return digits != std::string_view::npos && digits + 1 < line.size() && line[digits] == ':' &&
         line.find(' ') == std::string_view::npos;
}

}  // namespace

std::string EscapeHtml(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size() + text.size() / 8);
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      case '\r':
        break;
      default:
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F) {
          escaped += fmt::format("[U+{:04X}]", static_cast<unsigned char>(c));
        } else if (const uint32_t mark = DirectionMark(text.substr(i)); mark != 0) {
          escaped += fmt::format("[U+{:04X}]", mark);
          i += 2;
        } else {
          escaped += c;
        }
    }
  }
  return escaped;
}

std::string ShowTime(absl::Duration time) {
  const double seconds = absl::ToDoubleSeconds(time);
  // Each bound is where the rounding of its form would reach the next.
  if (seconds <= 0) return "0 ms";
  if (seconds < 0.00995) return seconds < 0.00005 ? "<0.1 ms" : fmt::format("{:.1f} ms", seconds * 1e3);
  if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1e3);
  if (seconds < 9.995) return fmt::format("{:.2f} s", seconds);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const int64_t whole = absl::ToInt64Seconds(time + absl::Milliseconds(500));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", FormatCount(static_cast<uint64_t>(whole / 3600)), whole / 60 % 60);
}

std::string ShowPercent(double part) {
  if (part <= 0) return "0 %";
  if (part >= 1) return "100 %";
  if (part < 0.0005) return "<0.1 %";
  if (part > 0.9995) return ">99.9 %";
  return fmt::format("{:.1f} %", part * 100);
}

std::string ShowCount(uint64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", FormatCount(count), count == 1 ? one : many);
}

std::string OneLine(std::string_view text, size_t size_bytes_max) {
  constexpr std::string_view kSpace = " \t\r\n";
  for (size_t end = text.find('\n'); end != std::string_view::npos && SaysOnlyWhere(text.substr(0, end));
       end = text.find('\n')) {
    text.remove_prefix(end + 1);
  }
  std::string line;
  while (line.size() <= size_bytes_max) {
    const size_t begin = text.find_first_not_of(kSpace);
    if (begin == std::string_view::npos) return line;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kSpace));
    text.remove_prefix(word.size());
    if (!line.empty()) line += ' ';
    line += word;
  }
  line.resize(CutUtf8(line, size_bytes_max).size());
  return line + " …";
}

}  // namespace penstock::report
