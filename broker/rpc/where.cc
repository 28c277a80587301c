#include "broker/rpc/where.h"

#include <charconv>
#include <optional>
#include <utility>

#include "broker/rpc/where_reader.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool StartsName(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsOfName(char c) { return StartsName(c) || IsDigit(c) || c == '-'; }

std::optional<uint32_t> ParseHex4(std::string_view digits) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) return std::nullopt;
  return value;
}

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out->push_back(static_cast<char>(0xC0 | code >> 6));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else if (code < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | code >> 12));
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | code >> 18));
    out->push_back(static_cast<char>(0x80 | (code >> 12 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  }
}

}  // namespace

// Recursive descent; the depth is that of Where::kDepthMax.
class WhereParser {
 public:
  explicit WhereParser(std::string_view text) : text_(text) {}

  absl::StatusOr<Where> Parse() {
    ASSIGN_OR_RETURN(where_.root_, ParseOr(0));
    SkipBlanks();
    if (at_ < text_.size()) return Wrong("&&, || or the end");
    return std::move(where_);
  }

 private:
  using Literal = Where::Literal;
  using Node = Where::Node;
  using Operator = Where::Operator;
  using Step = Where::Step;
  using Test = Where::Test;

  // What stands there is not what could.
  absl::Status Wrong(std::string_view valid) const {
    std::string found = "the end";
    if (at_ < text_.size()) {
      size_t size = 1;
      // A whole character of UTF-8, or a whole word.
      while (at_ + size < text_.size() && (static_cast<unsigned char>(text_[at_ + size]) & 0xC0) == 0x80) ++size;
      while (IsOfName(text_[at_]) && at_ + size < text_.size() && IsOfName(text_[at_ + size])) ++size;
      found = fmt::format("'{}'", text_.substr(at_, std::min<size_t>(size, 40)));
    }
    return absl::InvalidArgumentError(fmt::format("at {}: {} where {} should be", at_ + 1, found, valid));
  }

  void SkipBlanks() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  char Peek() {
    SkipBlanks();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool Take(std::string_view symbol) {
    SkipBlanks();
    if (text_.substr(at_, symbol.size()) != symbol) return false;
    at_ += symbol.size();
    return true;
  }
  // The word that stands there, without taking it.
  std::string_view Word() {
    SkipBlanks();
    size_t end = at_;
    if (end < text_.size() && StartsName(text_[end])) {
      while (end < text_.size() && IsOfName(text_[end])) ++end;
    }
    return text_.substr(at_, end - at_);
  }
  bool TakeWord(std::string_view word) {
    if (Word() != word) return false;
    at_ += word.size();
    return true;
  }

  size_t Add(Node node) {
    where_.nodes_.push_back(std::move(node));
    return where_.nodes_.size() - 1;
  }

  template <class ParsePart>
  absl::StatusOr<size_t> ParseChain(std::string_view symbol, Node::Kind kind, ParsePart part) {
    Node node;
    node.kind = kind;
    do {
      ASSIGN_OR_RETURN(const size_t child, part());
      node.children.push_back(child);
    } while (Take(symbol));
    return node.children.size() == 1 ? node.children[0] : Add(std::move(node));
  }
  absl::StatusOr<size_t> ParseOr(int depth) {
    return ParseChain("||", Node::Kind::kOr, [&] { return ParseAnd(depth); });
  }
  absl::StatusOr<size_t> ParseAnd(int depth) {
    return ParseChain("&&", Node::Kind::kAnd, [&] { return ParseNot(depth); });
  }

  absl::StatusOr<size_t> ParseNot(int depth) {
    if (depth > Where::kDepthMax) {
      return absl::InvalidArgumentError(
          fmt::format("at {}: more than {} parentheses and negations within each other", at_ + 1, Where::kDepthMax));
    }
    if (Take("!")) {
      Node node;
      node.kind = Node::Kind::kNot;
      ASSIGN_OR_RETURN(const size_t child, ParseNot(depth + 1));
      node.children.push_back(child);
      return Add(std::move(node));
    }
    if (Take("(")) {
      ASSIGN_OR_RETURN(const size_t inner, ParseOr(depth + 1));
      if (!Take(")")) return Wrong("&&, || or )");
      return inner;
    }
    return ParseTest();
  }

  absl::StatusOr<size_t> ParseTest() {
    Test test;
    if (Word() == "has") {
      at_ += 3;
      if (!Take("(")) return Wrong("( and a path");
      RETURN_IF_ERROR(ParsePath("a path: payload.name", &test.path));
      if (!Take(")")) return Wrong("), .name or [index]");
      test.op = Operator::kHas;
    } else {
      RETURN_IF_ERROR(ParsePath("a path (payload.name), has(), ! or (", &test.path));
      RETURN_IF_ERROR(ParseComparison(&test));
    }
    Node node;
    node.test = where_.tests_.size();
    where_.tests_.push_back(std::move(test));
    return Add(std::move(node));
  }

  absl::Status ParsePath(std::string_view valid, std::vector<Step>* path) {
    if (!TakeWord("payload")) return Wrong(valid);
    while (true) {
      Step step;
      if (Take(".")) {
        step.name = std::string(Word());
        if (step.name.empty()) return Wrong("a field's name (of letters, digits, _ and -; others as [\"name\"])");
        at_ += step.name.size();
      } else if (Take("[")) {
        const char next = Peek();
        if (next == '"' || next == '\'') {
          ASSIGN_OR_RETURN(step.name, ParseText());
        } else {
          step.is_index = true;
          const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), step.index);
          if (error != std::errc() || !IsDigit(next)) return Wrong("an index from 0 on, or a name in quotes");
          at_ = static_cast<size_t>(end - text_.data());
        }
        if (!Take("]")) return Wrong("]");
      } else {
        return absl::OkStatus();
      }
      path->push_back(std::move(step));
    }
  }

  absl::Status ParseComparison(Test* test) {
    static constexpr std::pair<std::string_view, Operator> kSymbols[] = {
        {"==", Operator::kEqual},        {"!=", Operator::kUnequal}, {"<=", Operator::kLessEqual},
        {">=", Operator::kGreaterEqual}, {"<", Operator::kLess},     {">", Operator::kGreater}};
    for (const auto& [symbol, op] : kSymbols) {
      if (!Take(symbol)) continue;
      test->op = op;
      return ParseLiteralOf(test);
    }
    if (TakeWord("contains")) {
      test->op = Operator::kContains;
      return ParseLiteralOf(test);
    }
    if (TakeWord("in")) {
      test->op = Operator::kIn;
      if (!Take("[")) return Wrong("[ and a list of values");
      do {
        RETURN_IF_ERROR(ParseLiteralOf(test));
      } while (Take(","));
      return Take("]") ? absl::OkStatus() : Wrong("a comma or ]");
    }
    const char next = Peek();
    if (next != '\0' && next != '&' && next != '|' && next != ')') {
      return Wrong("==, !=, <, <=, >, >=, in, contains, &&, ||, .name or [index]");
    }
    test->op = Operator::kEqual;
    Literal yes;
    yes.kind = Literal::Kind::kBool;
    yes.truth = true;
    test->literals.push_back(std::move(yes));
    return absl::OkStatus();
  }

  absl::Status ParseLiteralOf(Test* test) {
    Literal literal;
    const char next = Peek();
    const size_t begin = at_;
    if (next == '"' || next == '\'') {
      literal.kind = Literal::Kind::kText;
      ASSIGN_OR_RETURN(literal.text, ParseText());
    } else if (IsDigit(next) || next == '-') {
      literal.kind = Literal::Kind::kNumber;
      RETURN_IF_ERROR(ParseNumber(&literal.number));
    } else if (TakeWord("true")) {
      literal.kind = Literal::Kind::kBool;
      literal.truth = true;
    } else if (TakeWord("false")) {
      literal.kind = Literal::Kind::kBool;
    } else if (!TakeWord("null")) {
      return Wrong("a text in quotes, a number, true, false or null");
    }
    const bool ordered = literal.kind == Literal::Kind::kNumber || literal.kind == Literal::Kind::kText;
    const bool needs_order = test->op >= Operator::kLess && test->op <= Operator::kGreaterEqual;
    if (needs_order && !ordered) {
      at_ = begin;
      return Wrong("a number or a text in quotes, which alone have an order,");
    }
    test->literals.push_back(std::move(literal));
    return absl::OkStatus();
  }

  absl::Status ParseNumber(long double* out) {
    // Integers that fit keep all their digits.
    const char* const begin = text_.data() + at_;
    const char* const end = text_.data() + text_.size();
    int64_t integer = 0;
    uint64_t large = 0;
    double real = 0;
    auto result = std::from_chars(begin, end, integer);
    const auto is_real = [end](const std::from_chars_result& r) {
      return r.ec != std::errc() || (r.ptr < end && (*r.ptr == '.' || *r.ptr == 'e' || *r.ptr == 'E'));
    };
    *out = static_cast<long double>(integer);
    if (is_real(result)) {
      result = std::from_chars(begin, end, large);
      *out = static_cast<long double>(large);
    }
    if (is_real(result)) {
      result = std::from_chars(begin, end, real);
      *out = real;
    }
    // Neither "nan" nor "-inf", which from_chars takes.
    const bool digits = IsDigit(*begin) || (*begin == '-' && begin + 1 < end && IsDigit(begin[1]));
    if (result.ec != std::errc() || !digits || (result.ptr < end && IsOfName(*result.ptr))) return Wrong("a number");
    at_ = static_cast<size_t>(result.ptr - text_.data());
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ParseText() {
    const size_t begin = at_;
    const char quote = text_[at_++];
    std::string text;
    while (at_ < text_.size() && text_[at_] != quote) {
      if (text_[at_] == '\\') {
        RETURN_IF_ERROR(ParseEscape(&text));
      } else {
        text.push_back(text_[at_++]);
      }
    }
    if (at_ >= text_.size()) {
      return absl::InvalidArgumentError(
          fmt::format("at {}: the text that begins here has no end: {} is missing", begin + 1, quote));
    }
    ++at_;
    return text;
  }

  absl::Status ParseEscape(std::string* out) {
    static constexpr std::string_view kLetters = "\"'\\/bfnrt";
    static constexpr std::string_view kMeanings = "\"'\\/\b\f\n\r\t";
    const std::string_view rest = text_.substr(at_);
    const size_t letter = rest.size() < 2 ? std::string_view::npos : kLetters.find(rest[1]);
    if (letter != std::string_view::npos) {
      out->push_back(kMeanings[letter]);
      at_ += 2;
      return absl::OkStatus();
    }
    std::optional<uint32_t> code = rest.substr(0, 2) == "\\u" ? ParseHex4(rest.substr(2, 4)) : std::nullopt;
    size_t size = 6;
    if (code && *code >= 0xD800 && *code < 0xE000) {
      // Half of a pair.
      const std::optional<uint32_t> low =
          rest.substr(6, 2) == "\\u" && rest.size() >= 12 ? ParseHex4(rest.substr(8, 4)) : std::nullopt;
      if (*code < 0xDC00 && low && *low >= 0xDC00 && *low < 0xE000) {
        code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
        size = 12;
      } else {
        code.reset();
      }
    }
    if (!code) return Wrong(R"(an escape: \" \' \\ \/ \b \f \n \r \t \u0041)");
    AppendUtf8(*code, out);
    at_ += size;
    return absl::OkStatus();
  }

  const std::string_view text_;
  size_t at_ = 0;
  Where where_;
};

absl::StatusOr<Where> Where::Parse(std::string_view text) {
  if (text.size() > kTextMax) {
    return absl::InvalidArgumentError(fmt::format("must be at most {} bytes, is {}", kTextMax, text.size()));
  }
  return WhereParser(text).Parse();
}

bool Where::Fits(std::string_view payload) const {
  std::vector<bool> results(tests_.size());
  return WhereReader::Read(*this, payload, &results) && Evaluate(root_, results);
}

bool Where::Evaluate(size_t node, const std::vector<bool>& results) const {
  const Node& here = nodes_[node];
  switch (here.kind) {
    case Node::Kind::kTest:
      return results[here.test];
    case Node::Kind::kNot:
      return !Evaluate(here.children[0], results);
    case Node::Kind::kAnd:
      for (size_t child : here.children) {
        if (!Evaluate(child, results)) return false;
      }
      return true;
    case Node::Kind::kOr:
      for (size_t child : here.children) {
        if (Evaluate(child, results)) return true;
      }
      return false;
  }
  return false;
}

}  // namespace penstock::broker
