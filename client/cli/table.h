#ifndef PENSTOCK_CLIENT_CLI_TABLE_H_
#define PENSTOCK_CLIENT_CLI_TABLE_H_

// Text for terminals: colours, widths, tables.

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::cli {

enum class Style { kPlain, kBold, kDim, kRed, kYellow, kGreen };

// `text` between the escape sequences of `style`, if `color`.
std::string Paint(std::string_view text, Style style, bool color);

// `text` with everything made visible that a terminal would obey or garble: control characters and bytes that are not
// UTF-8 are written \x1b. What others wrote (names, errors, log lines) is never printed otherwise. Line breaks become
// spaces, or stay with `lines`.
std::string Printable(std::string_view text, bool lines = false);

// Valid UTF-8 without control characters other than line breaks and tabs.
bool IsText(std::string_view bytes);

// Columns that `text` takes: one for each character. (Of wide characters, which take two, names hardly have any.)
int WidthOf(std::string_view text);
// The first `columns` columns of printable `text`; what is cut off leaves an ellipsis.
std::string Cut(std::string_view text, int columns);
// Every line cut to `columns` (0: none is). Escape sequences of colours take no column and are never cut.
std::string CutLines(std::string_view text, int columns);

// Printable `text` broken at blanks into lines of `columns` at most (0: one line), all but the first indented.
std::string Wrap(std::string_view text, int columns, int indent);

struct Cell {
  // Implicit: a row is written as its texts. NOLINTNEXTLINE(google-explicit-constructor)
  Cell(std::string cell_text, Style cell_style = Style::kPlain) : text(std::move(cell_text)), style(cell_style) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Cell(const char* cell_text) : text(cell_text) {}
  std::string text;
  Style style = Style::kPlain;
};

struct Column {
  std::string title;
  bool right = false;
  // When the table is too wide: cut its cells down to this many columns. 0: never.
  int shrink_to = 0;
  // When that does not suffice: leave it out, those with 1 first, of equals the rightmost. 0: never.
  int optional = 0;
};

struct TableOptions {
  int columns = 0;  // 0: any width
  bool color = false;
  bool headers = true;
  int indent = 0;
};

// Rows under titles, two spaces between columns, no blanks at the ends of lines. Used by one thread.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // One cell for each column. Their texts are made printable.
  void AddRow(std::vector<Cell> cells);
  bool empty() const { return rows_.empty(); }
  std::string Render(const TableOptions& options) const;

 private:
  // How wide each column is; -1: left out.
  std::vector<int> Widths(const TableOptions& options) const;
  // Takes columns from `widths` until all fits; false if it cannot.
  bool Shrink(const TableOptions& options, std::vector<int>* widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_TABLE_H_
