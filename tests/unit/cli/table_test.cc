#include "client/cli/table.h"

#include "gtest/gtest.h"

namespace penstock::cli {
namespace {

Table TwoRows() {
  Table table({{.title = "NAME", .shrink_to = 4}, {.title = "COUNT", .right = true}, {.title = "NOTE", .optional = 1}});
  table.AddRow({"mail", "1,204", "paused"});
  table.AddRow({"a very long name", "7", ""});
  return table;
}

TEST(TableTest, ColumnsAreAlignedAndLinesHaveNoBlanksAtTheirEnds) {
  EXPECT_EQ(TwoRows().Render({}),
            "NAME              COUNT  NOTE\n"
            "mail              1,204  paused\n"
            "a very long name      7\n");
}

TEST(TableTest, ColumnsShrinkToTheTerminal) {
  EXPECT_EQ(TwoRows().Render({.columns = 24}),
            "NAME       COUNT  NOTE\n"
            "mail       1,204  paused\n"
            "a very l\xe2\x80\xa6      7\n");
}

TEST(TableTest, OptionalColumnsGoWhenShrinkingDoesNotSuffice) {
  EXPECT_EQ(TwoRows().Render({.columns = 12}),
            "NAME   COUNT\n"
            "mail   1,204\n"
            "a ve\xe2\x80\xa6      7\n");
}

TEST(TableTest, OptionalColumnsGoInTheirOrder) {
  Table table({{.title = "A", .optional = 2}, {.title = "B", .optional = 1}, {.title = "C", .optional = 1}});
  table.AddRow({"a", "b", "c"});
  EXPECT_EQ(table.Render({.columns = 7, .headers = false}), "a  b  c\n");
  EXPECT_EQ(table.Render({.columns = 6, .headers = false}), "a  b\n");
  EXPECT_EQ(table.Render({.columns = 3, .headers = false}), "a\n");
}

TEST(TableTest, LinesNeverExceedTheTerminal) {
  EXPECT_EQ(TwoRows().Render({.columns = 6, .headers = false}), "mail \xe2\x80\xa6\na v\xe2\x80\xa6 \xe2\x80\xa6\n");
}

TEST(TableTest, ColoursTakeNoColumns) {
  Table table({{.title = "A"}, {.title = "B"}});
  table.AddRow({Cell("x", Style::kRed), "y"});
  EXPECT_EQ(table.Render({.color = true, .headers = false}), "\x1b[31mx\x1b[0m  y\n");
}

TEST(TableTest, CellsShowWhatATerminalWouldObey) {
  Table table({{.title = "A"}});
  table.AddRow({"\x1b[2J\nsecond"});
  EXPECT_EQ(table.Render({.headers = false}), "\\x1b[2J second\n");
}

TEST(PrintableTest, KeepsTextAndEscapesTheRest) {
  EXPECT_EQ(Printable("gr\xc3\xbc\xc3\x9f Gott"), "gr\xc3\xbc\xc3\x9f Gott");
  EXPECT_EQ(Printable("\xff\xc0\x80"), "\\xff\\xc0\\x80");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m");  // C1: some terminals take it for an escape sequence
  EXPECT_EQ(Printable("a\r\nb"), "a  b");
  EXPECT_EQ(Printable("a\r\nb", /*lines=*/true), "a\nb");
}

TEST(IsTextTest, RefusesControlCharactersAndBrokenUtf8) {
  EXPECT_TRUE(IsText("line\n\ttab \xe2\x82\xac\n"));
  EXPECT_TRUE(IsText(""));
  EXPECT_FALSE(IsText(std::string_view("a\0b", 3)));
  EXPECT_FALSE(IsText("\x1b[2J"));
  EXPECT_FALSE(IsText("\xe2\x82"));
}

TEST(WrapTest, BreaksLinesAtBlanks) {
  EXPECT_EQ(Wrap("  ! one two three", 0, 4), "  ! one two three");
  EXPECT_EQ(Wrap("  ! one two three", 17, 4), "  ! one two three");
  EXPECT_EQ(Wrap("  ! one two three", 12, 4), "  ! one two\n    three");
  EXPECT_EQ(Wrap("averylongword and more", 8, 2), "averylongword\n  and\n  more");
}

TEST(CutTest, CountsCharactersNotBytes) {
  EXPECT_EQ(Cut("\xc3\xa4\xc3\xb6\xc3\xbc", 3), "\xc3\xa4\xc3\xb6\xc3\xbc");
  EXPECT_EQ(Cut("\xc3\xa4\xc3\xb6\xc3\xbc", 2), "\xc3\xa4\xe2\x80\xa6");
  EXPECT_EQ(CutLines("abc\n\x1b[1mdefgh\x1b[0m\n", 3), "abc\n\x1b[1mde\xe2\x80\xa6\x1b[0m\n");
  EXPECT_EQ(CutLines("abc\n", 0), "abc\n");
}

}  // namespace
}  // namespace penstock::cli
