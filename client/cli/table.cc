#include "client/cli/table.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "fmt/format.h"

namespace penstock::cli {
namespace {

constexpr std::string_view kEllipsis = "\xe2\x80\xa6";
constexpr int kGap = 2;
constexpr std::string_view kReset = "\x1b[0m";

std::string_view SequenceOf(Style style) {
  switch (style) {
    case Style::kPlain:
      return "";
    case Style::kBold:
      return "\x1b[1m";
    case Style::kDim:
      return "\x1b[2m";
    case Style::kRed:
      return "\x1b[31m";
    case Style::kYellow:
      return "\x1b[33m";
    case Style::kGreen:
      return "\x1b[32m";
  }
  return "";
}

// Bytes of the UTF-8 character that `text` begins with; 0: none does.
size_t CharacterBytes(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto follows = [&](size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = first == 0xed && byte(1) > 0x9f;
    return follows(1) && follows(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool overlong = first == 0xf0 && byte(1) < 0x90;
    const bool beyond = first == 0xf4 && byte(1) > 0x8f;
    return follows(1) && follows(2) && follows(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

// C0, DEL, and C1, which some terminals obey too.
bool IsControl(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  return first < 0x20 || first == 0x7f || (first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0);
}

void AppendPadded(std::string_view text, int width, bool right, Style style, bool color, std::string* line) {
  const auto padding = static_cast<size_t>(std::max(0, width - WidthOf(text)));
  if (right) line->append(padding, ' ');
  *line += Paint(text, style, color);
  if (!right) line->append(padding, ' ');
}

}  // namespace

std::string Paint(std::string_view text, Style style, bool color) {
  if (!color || style == Style::kPlain || text.empty()) return std::string(text);
  return fmt::format("{}{}{}", SequenceOf(style), text, kReset);
}

std::string Printable(std::string_view text, bool lines) {
  std::string result;
  while (!text.empty()) {
    const size_t bytes = CharacterBytes(text);
    const std::string_view character = text.substr(0, std::max<size_t>(bytes, 1));
    if (bytes == 0) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else if (character == "\n" || character == "\t" || character == "\r") {
      if (lines && character != "\r")
        result += character;
      else if (!lines)
        result += ' ';
    } else if (IsControl(character)) {
      for (char c : character) result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      result += character;
    }
    text.remove_prefix(character.size());
  }
  return result;
}

bool IsText(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t size = CharacterBytes(bytes);
    if (size == 0) return false;
    const std::string_view character = bytes.substr(0, size);
    if (IsControl(character) && character != "\n" && character != "\t" && character != "\r") return false;
    bytes.remove_prefix(size);
  }
  return true;
}

int WidthOf(std::string_view text) {
  return static_cast<int>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string Cut(std::string_view text, int columns) {
  if (WidthOf(text) <= columns) return std::string(text);
  if (columns <= 0) return "";
  std::string result;
  for (int i = 0; i + 1 < columns; ++i) {
    const size_t bytes = std::max<size_t>(CharacterBytes(text), 1);
    result += text.substr(0, bytes);
    text.remove_prefix(bytes);
  }
  return result += kEllipsis;
}

std::string CutLines(std::string_view text, int columns) {
  if (columns <= 0) return std::string(text);
  std::string result;
  int at = 0;
  while (!text.empty()) {
    size_t bytes = std::max<size_t>(CharacterBytes(text), 1);
    if (text[0] == '\n') {
      at = 0;
      result += '\n';
    } else if (text[0] == '\x1b') {
      bytes = std::min(text.find('m'), text.size() - 1) + 1;
      result += text.substr(0, bytes);
    } else if (++at < columns) {
      result += text.substr(0, bytes);
    } else if (at == columns) {
      const std::string_view rest = text.substr(bytes, text.find('\n') - bytes);
      // The last column holds the line's last character, or stands for what follows.
      const bool more = !rest.empty() && rest != kReset;
      result += more ? kEllipsis : text.substr(0, bytes);
    }
    text.remove_prefix(bytes);
  }
  return result;
}

std::string Wrap(std::string_view text, int columns, int indent) {
  if (columns <= 0 || WidthOf(text) <= columns) return std::string(text);
  std::string result;
  int at = 0;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(' ', begin + 1), text.size());
    // With the blank before it.
    std::string_view word = text.substr(begin, end - begin);
    if (at > 0 && at + WidthOf(word) > columns) {
      result += '\n' + std::string(static_cast<size_t>(indent), ' ');
      at = indent;
      word.remove_prefix(1);
    }
    result += word;
    at += WidthOf(word);
    if (end == text.size()) break;
    begin = end;
  }
  return result;
}

void Table::AddRow(std::vector<Cell> cells) {
  cells.resize(columns_.size(), Cell(""));
  for (Cell& cell : cells) cell.text = Printable(cell.text);
  rows_.push_back(std::move(cells));
}

std::vector<int> Table::Widths(const TableOptions& options) const {
  std::vector<int> wanted(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (options.headers) wanted[i] = WidthOf(columns_[i].title);
    for (const auto& row : rows_) wanted[i] = std::max(wanted[i], WidthOf(row[i].text));
  }
  while (true) {
    std::vector<int> widths = wanted;
    if (options.columns <= 0 || Shrink(options, &widths)) return widths;
    // What a column leaves when it goes is the others' again.
    size_t dropped = columns_.size();
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (columns_[i].optional == 0 || wanted[i] < 0) continue;
      if (dropped == columns_.size() || columns_[i].optional <= columns_[dropped].optional) dropped = i;
    }
    if (dropped == columns_.size()) return widths;
    wanted[dropped] = -1;
  }
}

bool Table::Shrink(const TableOptions& options, std::vector<int>* widths) const {
  int too_wide = options.indent - kGap - options.columns;
  for (int width : *widths) too_wide += width < 0 ? 0 : width + kGap;
  // The widest of those that may shrink gives a column, until all fits.
  for (; too_wide > 0; --too_wide) {
    int* widest = nullptr;
    for (size_t i = 0; i < columns_.size(); ++i) {
      const int least = std::max(columns_[i].shrink_to, options.headers ? WidthOf(columns_[i].title) : 1);
      int& width = (*widths)[i];
      if (columns_[i].shrink_to > 0 && width > least && (widest == nullptr || width > *widest)) widest = &width;
    }
    if (widest == nullptr) return false;
    --*widest;
  }
  return true;
}

std::string Table::Render(const TableOptions& options) const {
  const std::vector<int> widths = Widths(options);
  std::string result;
  const auto add_line = [&](const auto& cell_of) {
    std::string line;
    size_t end = 0;  // of the last cell that is not blank
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (widths[i] < 0) continue;
      const Cell cell = cell_of(i);
      line.append(line.empty() ? static_cast<size_t>(options.indent) : kGap, ' ');
      const std::string text = Cut(cell.text, widths[i]);
      const size_t before = line.size();
      AppendPadded(text, widths[i], columns_[i].right, cell.style, options.color, &line);
      if (!text.empty()) end = columns_[i].right ? line.size() : before + Paint(text, cell.style, options.color).size();
    }
    line.resize(end);
    result += CutLines(line, options.columns);
    result += '\n';
  };
  if (options.headers) add_line([&](size_t i) { return Cell(columns_[i].title, Style::kBold); });
  for (const auto& row : rows_) {
    add_line([&](size_t i) { return row[i]; });
  }
  return result;
}

}  // namespace penstock::cli
